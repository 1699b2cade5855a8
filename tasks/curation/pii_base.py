"""What every kind of personal data shares: the pattern, the finding, captions and what may stand behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import regex


class Found(NamedTuple):
    """Code points [start, end) of the scanned text, and the canonical value."""

    start: int
    end: int
    value: str


Confirm = Callable[[regex.Match, bool], Found | None]


@dataclass(frozen=True)
class Pattern:
    """One way to write one type. The order in `PATTERNS` is the priority among overlapping ones: specific first.

    `prefilter`: a Hyperscan expression over the UTF-8 bytes that matches in every text that holds a finding.
    `reach`: a candidate starts at most so many characters before the end of a match of the prefilter and ends at most
    so many behind it; None: the whole text is read. `anchors`: a candidate starts so many characters before the end of
    the prefilter's match, and nowhere else (it looks back at what stands before).
    """

    type: str
    prefilter: str
    candidate: regex.Pattern
    confirm: Confirm
    reach: tuple[int, int] | None = None
    anchors: tuple[int, ...] = ()


def before(match: regex.Match, length: int = 28) -> str:
    """The text in front of a candidate, where captions and versions stand."""
    return match.string[max(0, match.start() - length) : match.start()]


_SEPARATORS = r"[\s_.\-]{0,2}"


def any_case(word: str) -> str:
    """A word as a Hyperscan expression over bytes, in both cases; a blank stands for up to two separators."""
    return "".join(map(_any_case_sign, word))


def _any_case_sign(sign: str) -> str:
    if sign == " ":
        return _SEPARATORS
    both = sorted({sign.lower(), sign.upper()})
    return regex.escape(sign) if both == [sign] and sign.isascii() else _one_of(both)


def _one_of(signs: list[str]) -> str:
    if all(sign.isascii() for sign in signs):
        return f"[{''.join(signs)}]"
    return "(?:" + "|".join("".join(rf"\x{byte:02x}" for byte in sign.encode()) for sign in signs) + ")"


#: Not our own placeholder: ``<PASSPORT>`` and ``<SSN_3f9a12bc>`` are no captions.
NO_PLACEHOLDER = r"(?<!<(?=[A-Z][A-Z_]*(?:_[0-9a-f]{8})?>))"
#: What may stand between a caption and its value: signs and blanks (one new line), and a few words.
FILLER = (
    r"(?:/[A-Z]{2,6}(?![\p{L}\p{N}])|[ \t:=#*_|(\[\"'`>.,;/\\–—-]"
    r"|\r?\n(?![^\n]{0,3}\n)|</?\w{1,12}>"
    r"|(?i:numbers?|num|no|nr|nº|n°|núm(?:ero)?|numéro|numero|número|nummer|code|card|id|identifier)(?![\p{L}\p{N}])"
    r"|号码?|號碼?|番号|번호"
    r"|(?:is|was|are|of|the|a|my|your|his|her|their|our|est|ist|es|é|is:|für|for|and|it|it's)(?![\p{L}\p{N}])){0,12}+"
)


def caption(words: Iterable[str]) -> str:
    """A regex that stands behind a caption and looks back at it (group ``caption``), and passes over the filler.

    Upper-case captions count as they are, others in any case; a blank in one is any separator.
    """

    def one(word: str) -> str:
        spaced = _SEPARATORS.join(regex.escape(part) for part in word.split(" "))
        return spaced if word.isupper() else f"(?i:{spaced})"

    ordered = sorted(set(words), key=lambda word: (-len(word), word))
    spaced, unspaced = [w for w in ordered if not _unspaced(w)], [w for w in ordered if _unspaced(w)]
    # A letter may follow a caption in a script without blanks: 身份证号.
    parts = [rf"(?<!\p{{L}})(?:{'|'.join(map(one, spaced))})(?![\p{{L}}\p{{N}}])"] if spaced else []
    parts += [f"(?:{'|'.join(map(one, unspaced))})"] if unspaced else []
    return rf"(?<={NO_PLACEHOLDER}(?P<caption>{'|'.join(parts)})){FILLER}"


def hint(words: Iterable[str]) -> str:
    """The same captions as a Hyperscan expression."""
    return "|".join(_hint_word(word) for word in sorted(set(words)))


def _hint_word(word: str) -> str:
    spelled = word.replace(" ", _SEPARATORS) if word.isupper() and word.isascii() else any_case(word)
    return spelled + ("" if _unspaced(word) or not word[-1].isascii() else "[^A-Za-z0-9]")


def caption_key(text: str) -> str:
    """A caption without its separators; not case-folded."""
    return regex.sub(r"[\s_.\-]", "", text)


def _unspaced(word: str) -> bool:
    return bool(regex.search(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]", word))


def digits(text: str) -> str:
    """The decimal digits of a text, as they stand."""
    return "".join(sign for sign in text if sign.isdigit())
