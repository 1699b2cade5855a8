"""English words as spaCy's blank English tokenizer cuts them, for the rule sets that were tuned on its words.

A chunk between blanks is cut by rules that look at nothing but the chunk, so each distinct chunk is cut once a process
and then found in a table: a corpus is Zipf's, and most of the work is a look-up. The rules, in the order in which they
are asked: exceptions (contractions, abbreviations, emoticons) whole; signs off the front and off the end, one after the
other, while an exception may still appear; an address on the web stays whole; what is left is cut at inner signs.

spaCy: Honnibal and Montani 2017; the algorithm is described at spacy.io/usage/linguistic-features#how-tokenizer-works.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from tasks.curation.word_exceptions import EXCEPTIONS

VERSION = 1
URL_CHARACTERS = 100_000  # of a chunk that may be an address

_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_SIGNS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪" + _QUOTES
_CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
_BEFORE = _SIGNS + "§%=—–" + _CURRENCY
_AFTER = _SIGNS + "—–"
_MORE_BEFORE = frozenset(".+UCA")  # may begin a longer sign
_POSSESSIVE = ("'s", "'S", "’s", "’S")
#: A dot after one of these ends a sentence: a digit, a sign, or (asked apart) a letter that is not upper case.
_DOT_AFTER = frozenset("%²-+0123456789|(?:)" + _SIGNS)
_UNIT = re.compile(
    r"(?<=[0-9])(?:[kdcm]?m[²³]?|ha|µm|nm|yd|in|ft|k?g|[mµ]g|t|lb|oz|m/s|km/h|kmh|mph|h?Pa|[mkMGgT]b|[MKkGT]B|[TGMK]|%"
    r"|[кдсмн]?м[²³]?|к?г|мг|м/с|км/ч|к?Па|мбар|mbar|[КкМмГгТ]б|тб)\Z"
)
_UNIT_ENDS = frozenset("mdnaitgbzshPBTGMK%²³мгсчПарбh")
_A, _LOWER, _UPPER = r"[^\W\d_]", r"a-zß-öø-ÿα-ωа-яё", r"A-ZÀ-ÖØ-ÞΑ-ΩА-ЯЁ"
_QUOTE = f"[{re.escape(_QUOTES)}]"  # a letter without case counts as lower and as upper
# Each alternative begins with its sign, so that the search skips from sign to sign; what stands before is asked behind.
_AN = r"[^\W_]"
_INFIX = re.compile(
    "|".join(
        [
            r"\.\.+",
            "…",
            *(rf"{sign}(?<=[0-9].)(?=[0-9-])" for sign in (r"\+", "-", r"\*", r"\^")),
            rf"\.(?:(?<={_QUOTE}.)|(?<=[^\W\d_{_UPPER}].))(?={_QUOTE}|[^\W\d_{_LOWER}])",
            rf",(?<={_A}.)(?={_A})",
            rf"-(?<={_AN}.)-{{0,2}}(?={_A})",
            rf"—(?<={_AN}.)—?(?={_A})",
            *(rf"{sign}(?<={_AN}.)(?={_A})" for sign in ("–", "~", ":", "<", ">", "=", "/")),
        ]
    )
)
_HOST = re.compile(
    r"(?:(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.(?:1?\d{1,2}|2[0-4]\d|25[0-5])){2}\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4])"
    r"|(?:(?:[A-Za-z0-9\u00a1-\uffff][A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+"
    rf"[{_LOWER}]{{2,63}})(?::\d{{2,5}})?(?:[/?#]\S*)?\Z"
)
_PRIVATE = re.compile(r"(?:10|127)(?:\.\d{1,3}){3}|(?:169\.254|192\.168)(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])\.")
# A word between signs that are cut off one by one, and a dot after them that ends a sentence: what most chunks are.
_PLAIN = re.compile(
    rf"([{re.escape(_BEFORE)}]*)([A-Za-z](?:[A-Za-z_]*[A-Za-z])?)(?:([{re.escape(_AFTER)}]*)|(?:(?<=[a-z])|([{re.escape(_AFTER)}]+))\.)\Z"
)
_DOMAIN = re.compile(r"\.(?:[^\W\d_A-Z]{2}|\d)")
_MAY_CUT = re.compile(r"[-.,:<>=/+*^~]|[^\x00-\x7f]")
_SCHEME = re.compile(r"[\w+\-.]{2,}://")


@cache
def _icon(sign: str) -> bool:
    return unicodedata.category(sign) == "So"


def _front(text: str) -> int:
    """How many characters of a longer sign, or an icon, are cut off the front."""
    first = text[0]
    if first == ".":
        dots = len(text) - len(text.lstrip("."))
        return dots if dots > 1 else 0
    if first == "+":
        return 0 if text[1:2].isdecimal() and text[1:2].isascii() else 1
    if first in "UCA" and text.startswith(("US$", "C$", "A$")):
        return text.index("$") + 1
    return 1 if first > "~" and _icon(first) else 0


def _end(text: str) -> int:
    """How many characters of a dot, a unit, a possessive or an icon are cut off the end."""
    last = text[-1]
    if last == ".":
        dots = len(text) - len(text.rstrip("."))
        if dots > 1:
            return dots
        before = text[-2:-1]
        if not before:
            return 0
        if before in _DOT_AFTER or (before.isalpha() and not before.isupper()):
            return 1
        if before.isupper() and text[-3:-2].isupper():
            return 1
        return 0
    if last in "sS" and text.endswith(_POSSESSIVE):
        return 2
    if last in _UNIT_ENDS and (unit := _UNIT.search(text)):
        return len(text) - unit.start()
    if (last == "+" or last in _CURRENCY) and text[-2:-1].isdecimal():
        return 1
    return 1 if last > "~" and _icon(last) else 0


def _address(text: str) -> bool:
    """Is it an address on the web, with or without a scheme and a user?"""
    if len(text) > URL_CHARACTERS or not _DOMAIN.search(text):
        return False
    starts, at = [0], text.find("@", 1)
    if scheme := _SCHEME.match(text):
        starts.append(scheme.end())
    while at > 0 and len(starts) < 6:
        starts.append(at + 1)
        at = text.find("@", at + 1)
    return any(_HOST.match(text, at) and not _PRIVATE.match(text, at) for at in starts)


def _inner(text: str) -> list[str]:
    """Cut at inner signs; a sign at the very start stays with what follows."""
    if not _MAY_CUT.search(text) or _address(text):
        return [text]
    spots = [found.span() for found in _INFIX.finditer(text)]
    if not text.isascii():
        spots = sorted({*spots, *((at, at + 1) for at, sign in enumerate(text) if sign > "~" and _icon(sign))})
    cuts, start = [], 0
    for begin, end in spots:
        if begin == 0:
            continue
        if begin != start:
            cuts.append(text[start:begin])
        cuts.append(text[begin:end])
        start = end
    if start < len(text):
        cuts.append(text[start:])
    return cuts


def _cut(chunk: str, exceptions: dict[str, tuple[str, ...]]) -> list[str]:
    """The words of a chunk, before exceptions that were torn apart are joined again."""
    if plain := _PLAIN.match(chunk):
        before, word, after, stop = plain.groups()
        dot = (".",) if chunk[-1] == "." else ()
        return [*before, *exceptions.get(word, (word,)), *(after or stop or ""), *dot]
    words: list[str] = []
    ends: list[str] = []
    text = chunk
    while text and text not in exceptions:
        rest = text.lstrip(_BEFORE)
        words += text[: len(text) - len(rest)]  # one sign a word
        text = rest
        if not text or not (text[0] in _MORE_BEFORE or text[0] > "~") or not (longer := _front(text)):
            break
        words.append(text[:longer])
        text = text[longer:]
    while text and text not in exceptions:
        rest = text.rstrip(_AFTER)
        ends += text[: len(rest) - 1 if rest else None : -1]
        text = rest
        if not text or text in exceptions or not (longer := _end(text)):
            break
        ends.append(text[-longer:])
        text = text[:-longer]
    if text:
        words += exceptions[text] if text in exceptions else _inner(text)
    return words + ends[::-1]


@cache
def _torn() -> dict[tuple[str, str], list[tuple[list[str], tuple[str, ...]]]]:
    """Exceptions that the signs' rules tear apart: by their first two words, (words, words instead), longest first."""
    found: dict[tuple[str, str], list[tuple[list[str], tuple[str, ...]]]] = {}
    for text, instead in EXCEPTIONS.items():
        pieces = _cut(text, {})
        if len(pieces) > 1:
            found.setdefault((pieces[0], pieces[1]), []).append((pieces, instead))
    for options in found.values():
        options.sort(key=lambda option: -len(option[0]))
    return found


def cut(chunk: str) -> list[str]:
    """The words of a chunk without blanks; joined they are the chunk."""
    if chunk.isalpha():
        return list(EXCEPTIONS.get(chunk, (chunk,)))
    last, word = chunk[-1:], chunk[:-1]
    # What most chunks are, without the search: a word, and a sign that ends nothing but a sentence or a clause.
    if word.isalpha() and (last in ",;)!?" or (last == "." and word[-1].islower() and chunk not in EXCEPTIONS)):
        return [*EXCEPTIONS.get(word, (word,)), last]
    words = _cut(chunk, EXCEPTIONS)
    torn = _torn()
    pairs = list(zip(words, words[1:], strict=False))
    if torn.keys().isdisjoint(pairs):
        return words
    joined: list[str] = []
    at = 0
    for spot in [place for place, pair in enumerate(pairs) if pair in torn]:
        for pieces, instead in torn[pairs[spot]] if spot >= at else ():
            if words[spot : spot + len(pieces)] == pieces:
                joined += [*words[at:spot], *instead]
                at = spot + len(pieces)
                break
    return joined + words[at:]


def words(text: str) -> list[str]:
    """The words of a text, blanks left out."""
    return [word for chunk in text.split() for word in cut(chunk)]
