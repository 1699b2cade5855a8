"""Whole licence texts -> SPDX identifiers, by accounting for every word of them.

A text is recognised only when nothing in it is left over besides copyright notices, titles that name the same licence
and a few fixed phrases: one added sentence ("for good, not evil", "no commercial use") and the text is unknown.
Two tables: `templates.txt` (short texts with holders' names in them) and `texts.tsv` (SHA-256 of the normalised words
of the texts on the SPDX list). Normalisation follows the SPDX License List Matching Guidelines: case, punctuation,
white space, list markers, copyright notices and spelling variants do not count.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from data_policies.licence_names import read_name

LONGEST = 200_000  # characters; the GPL has 35,000, and what is longer than this is no licence but a collection
ANCHOR = 8  # words of a text's beginning by which its hash is looked up

_SPELLING = {
    "licence": "license",
    "licences": "licenses",
    "licenced": "licensed",
    "https": "http",
    "sublicence": "sublicense",
    "organisation": "organization",
    "merchantibility": "merchantability",
    "acknowledgment": "acknowledgement",
    "noncommercial": "non commercial",
}
_MARKER = re.compile(r"(?<!\S)(?:\(?[0-9a-h]\)|[0-9a-h]\.|\(?i{1,3}\))(?=\s|$)")
_WORD = re.compile(r"[^\W_]+")
_NOTICE = re.compile(
    r"\W*(?:(?:portions?|parts?|modifications|code)\s+)?(?:"
    r"(?:copyright|copr\.)\W*(?:\(c\)|©|&copy;)|(?:copyright|copr\.)\W{0,3}(?:by\s+|the\s+)?(?:\d{4}|year\b|yyyy\b)"
    r"|(?:©|\(c\))\W{0,3}(?:\d{4}|year\b|yyyy\b)"
    r"|copyright:?\s+(?!(?:holders?|owners?|laws?|notices?|interests?|statements?|act|licen[sc]e|disclaimer|protection|and|or|in|of|to|is)\b)\w)"
)
_RESERVED = re.compile(r"\W*(?:all\s+rights\s+reserved|alle\s+rechte\s+vorbehalten)\W*")
#: A line that says one of these is more than a copyright notice and is never skipped.
_SAYS = re.compile(
    r"\b(?:permi\w+|licen[sc]\w*|use|used|uses|usage|may|must|shall|warrant\w+|grant(?:s|ed|ing)|hereby|terms?|\w*commercial\w*|non|only|prohib\w+"
    r"|restrict\w+|forbid\w+|not|no|except\w*|research|educat\w+|evaluat\w+|confidential|proprietary|secrets?|derivat\w+|modif\w+"
    r"|\w*distribut\w+|reproduc\w+|train\w*|machine|academic|private|internal|personal|cannot|without|provided|governed|agree\w*"
    r"|sell|sold|sale|copy|copies|copying|notice|conditions?|software|free|right\w*)\b"
)
#: A name in a template's slot has none of these.
_NO_NAME = (
    r"(?!(?:not|no|never|nor|except|unless|must|may|shall|can|cannot|prohibited|forbidden|restricted|noncommercial|commercial|only|provided"
    r"|without|fee|fees|use|used|permission|permitted|conditions?|requires?|if|for|but)\b)"
)


@dataclass(frozen=True)
class Match:
    """What a text was recognised as: SPDX identifiers in order, each once (all of them apply); () when unknown.

    `fragments`: identifiers found in a text that has more to say. `leftover`: words not accounted for, as one string.
    """

    licences: tuple[str, ...]
    fragments: tuple[str, ...]
    leftover: str


def tokens(text: str) -> tuple[list[str], list[int]]:
    """The words that count in a licence text, and the line that each stands on. Copyright notices are left out."""
    words: list[str] = []
    lines: list[int] = []
    skipping = False
    for number, line in enumerate(text.splitlines()):
        line = unicodedata.normalize("NFKC", line).lower().strip()
        if not _WORD.search(line):
            skipping = False
            continue
        notice = _NOTICE.match(line)
        skipping = (bool(notice) or skipping) and not _SAYS.search(line.replace("all rights reserved", ""))
        if skipping or _RESERVED.fullmatch(line):
            continue
        found = _WORD.findall(_MARKER.sub(" ", line))
        spelt = " ".join(_SPELLING.get(word, word) for word in found).split()
        words += spelt
        lines += [number] * len(spelt)
    return words, lines


def digest(words: Sequence[str]) -> str:
    """Hex SHA-256 (first 32) of normalised words."""
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:32]


def _table(name: str) -> str:
    return (files("data_policies") / "licence_tables" / name).read_text(encoding="utf-8")


@cache
def templates() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """(SPDX identifier, pattern over words joined by spaces), longest first: X11 before the MIT text in it."""
    blocks = re.split(r"^== *", re.sub(r"^#.*\n", "", _table("templates.txt"), flags=re.M), flags=re.M)[1:]
    made = [(identifier.strip(), body) for identifier, body in (block.split("\n", 1) for block in blocks)]
    return tuple((name, _compile(body)) for name, body in sorted(made, key=lambda item: (-len(item[1]), item[0])))


def _compile(body: str) -> re.Pattern[str]:
    """A template's text as a pattern; its words go through `tokens`, so that both sides are normalised alike."""
    pattern = ""
    for piece in re.split(r"(<<\d+>>|\[\[|\]\]|\(\(|\)\)|\|\|)", body):
        if slot := re.fullmatch(r"<<(\d+)>>", piece):
            pattern += rf"(?:{_NO_NAME}\w+ ){{0,{slot[1]}}}?"
        elif piece in ("[[", "(("):
            pattern += "(?:"
        elif piece in ("]]", "))", "||"):
            pattern += {"]]": ")?", "))": ")", "||": "|"}[piece]
        else:
            pattern += "".join(f"{word} " for word in tokens(piece)[0])
    return re.compile(r"(?<!\S)" + pattern)


@cache
def _hashes() -> dict[tuple[str, ...], tuple[tuple[int, str, str], ...]]:
    """First words of a text -> (number of words, digest, identifier or ``-`` for an appendix), longest first."""
    found: dict[tuple[str, ...], list[tuple[int, str, str]]] = {}
    for row in _table("texts.tsv").splitlines():
        if row and not row.startswith("#"):
            identifier, count, hashed, anchor = row.split("\t")
            found.setdefault(tuple(anchor.split()), []).append((int(count), hashed, identifier))
    return {anchor: tuple(sorted(rows, reverse=True)) for anchor, rows in found.items()}


def _spans(words: list[str]) -> Iterator[tuple[int, int, str]]:
    """(first word, word after the last, identifier) of every known text inside `words`; they do not overlap."""
    known = _hashes()
    taken = [False] * len(words)
    start = 0
    while start < len(words):
        end = start
        for count, hashed, identifier in known.get(tuple(words[start : start + ANCHOR]), ()):
            if start + count <= len(words) and digest(words[start : start + count]) == hashed:
                end = start + count
                yield start, end, identifier
                break
        taken[start:end] = [True] * (end - start)
        start = max(end, start + 1)
    # Words already accounted for become a sign that no template can match across.
    joined = "".join(("\0" if used else word) + " " for word, used in zip(words, taken, strict=True))
    for identifier, pattern in templates():
        while found := pattern.search(joined):
            first, count = joined.count(" ", 0, found.start()), found[0].count(" ")
            yield first, first + count, identifier
            joined = joined[: found.start()] + "\0 " * count + joined[found.end() :]


def recognise(text: str) -> Match:
    """Which licences a text holds, every word of it accounted for; Match.licences is empty for an unknown text."""
    if len(text) > LONGEST:
        return Match((), (), text)
    words, lines = tokens(text)
    spans = sorted(_spans(words))
    found = tuple(dict.fromkeys(identifier for _, _, identifier in spans if identifier != "-"))
    used = {index for first, last, _ in spans for index in range(first, last)}
    rest: dict[int, list[str]] = {}
    for index, word in enumerate(words):
        if index not in used:
            rest.setdefault(lines[index], []).append(word)
    raw, on_line = text.splitlines(), Counter(lines)
    # A line that is left over whole is judged as it stands: "Apache 2.0" is a name, "apache 2 0" is not.
    leftover = [
        raw[number].strip() if len(line) == on_line[number] else " ".join(line) for number, line in rest.items()
    ]
    left = [line for line in leftover if not _title(line, found)]
    return Match(() if left else found, found, " / ".join(left))


_PHRASES = frozenset(
    {
        "license",
        "the license",
        "copyright",
        "license agreement",
        "software license agreement",
        "copyright notice",
        "copyright and license",
        "legal notice",
        "disclaimer",
        "license terms",
        "software license",
        "license information",
        "license text",
        "the full license text",
        "copyright notice and license",
        "open source license",
        "end of terms and conditions",
        "all rights reserved",
        "redistribution terms",
        "begin license block",
        "end license block",
        "license notice",
        "full license",
        "notice",
        "the",
    }
)


def _title(line: str, found: tuple[str, ...]) -> bool:
    """Is this left-over line a heading: a fixed phrase, or a name of a licence whose text was found?"""
    if " ".join(_WORD.findall(line.lower())) in _PHRASES:
        return True
    readings = read_name(line.strip(" #*=-"))
    return (
        len(readings) == 1
        and readings[0].kind in ("exact", "family")
        and any(readings[0].covers(name) for name in found)
    )
