"""Quality measures: named sets of numbers over a text, each set from one source. They measure; a policy's bounds
decide.

To add a set: its names and languages in data_policies/measures.py, a function from a `Batch` of texts to one array a
name, and a line in `SETS`. What several sets need (words, lines) belongs into `Tokenised`, so that it is made once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from data_policies.measures import MEASURES
from tasks.curation import web_rules
from tasks.curation.tokenised import Tokenised
from tasks.curation.words import VERSION as WORDS_VERSION
from tasks.errors import UserError

PIECE_TEXTS, PIECE_CHARACTERS = 256, 1_000_000  # measured together

#: Letters a word, on average, in scripts that put no blank between words: (first, last code point, letters, class).
_UNSPACED = (
    (0x0E00, 0x0EFF, "T"), (0x1000, 0x109F, "T"), (0x1780, 0x17FF, "T"), (0x1950, 0x19DF, "T"), (0x1A20, 0x1AAF, "T"),
    (0xA9E0, 0xA9FF, "T"), (0xAA60, 0xAADF, "T"),  # Thai, Lao, Burmese, Khmer, Tai: about 5 letters a word
    (0x3005, 0x3007, "H"), (0x3040, 0x30FF, "H"), (0x31F0, 0x31FF, "H"), (0x3400, 0x9FFF, "H"), (0xF900, 0xFAFF, "H"),
    (0xFF66, 0xFF9F, "H"), (0x20000, 0x3FFFF, "H"),  # Han and kana: about 2 characters a word
)  # fmt: skip
HAN_PER_WORD, THAI_PER_WORD = 2, 5
_ORDINARY = frozenset(".,;:!?'\"()-…‘’“”«»¡¿。、，；：！？「」『』（）·–—")


class _Classes(dict[int, str]):
    """Code point -> class: L letter, M mark, N number, blank, P sentence punctuation, S other sign, H or T unspaced
    letter; "" for an invisible one."""

    def __missing__(self, point: int) -> str:
        sign = chr(point)
        category = unicodedata.category(sign)
        kind = "S"
        if sign.isspace() or category in ("Zs", "Cc", "Cf"):
            kind = " " if sign.isspace() or category == "Cc" else ""
        elif sign in _ORDINARY:
            kind = "P"
        elif category[0] == "L":
            kind = next((kind for first, last, kind in _UNSPACED if first <= point <= last), "L")
        elif category[0] in "MN":
            kind = category[0]
        self[point] = kind
        return kind


_CLASSES = _Classes()
_UNSPACED_RUN = re.compile("[HT]M*")


class Text:
    """A text and what is computed of it once, whichever sets ask.

    `classes`: the class of each character, invisible ones left out. `letters`: with the marks on them (a Thai vowel or
    an Indic sign is a mark). `visible`: characters other than blanks and controls. `spaced_words`: how many words stand
    between blanks, punctuation and signs taken out, and `spaced_length`, their characters together. `unspaced`: letters
    of scripts without blanks between words, and `unspaced_words`, the words that they make by estimate. `lines`:
    stripped, not empty.
    """

    __slots__ = (
        "text", "classes", "letters", "visible", "symbols", "spaced_words", "spaced_length", "unspaced",
        "unspaced_words", "lines",
    )  # fmt: skip

    def __init__(self, text: str) -> None:
        self.text = text
        self.classes = classes = text.translate(_CLASSES)
        self.visible = len(classes) - classes.count(" ")
        self.symbols = classes.count("S")
        self.letters = classes.count("L")
        self.unspaced, self.unspaced_words = 0, 0.0
        bare = classes.replace("P", "").replace("S", "")
        if not text.isascii():
            han, thai = classes.count("H"), classes.count("T")
            self.unspaced, self.unspaced_words = han + thai, han / HAN_PER_WORD + thai / THAI_PER_WORD
            self.letters += classes.count("M") + self.unspaced
            # What stands between unspaced letters ends there; a mark on one is part of it and no word of its own.
            bare = _UNSPACED_RUN.sub(" ", bare) if self.unspaced else bare
        self.spaced_words = len(bare.split())
        self.spaced_length = len(bare) - bare.count(" ")
        self.lines = [stripped for line in text.split("\n") if (stripped := line.strip())]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def basic(text: Text) -> tuple[float, ...]:
    """For any language. An empty text has 0 everywhere.

    ``words``: runs between blanks that hold a letter or number; Chinese and Japanese count a word for 2 characters,
    Thai, Lao, Burmese and Khmer one for 5 letters. ``letter_ratio``, ``symbol_ratio``: share of letters with their
    marks, and of signs that are neither letter, number nor sentence punctuation, among the visible characters.
    ``mean_word_length``: letters and numbers a word between blanks; where there is none, of the estimated words.
    ``duplicate_line_ratio``: share of the lines (stripped, not empty) that repeat an earlier line.
    """
    words = text.spaced_words + text.unspaced_words
    mean = _share(text.spaced_length, text.spaced_words) or _share(text.unspaced, text.unspaced_words)
    lines = text.lines
    return (
        float(words),
        _share(text.letters, text.visible),
        mean,
        _share(len(lines) - len(set(lines)), len(lines)),
        _share(text.symbols, text.visible),
    )


@dataclass(frozen=True)
class MeasureSet:
    """How a set is measured: one number a text for each of its names in `data_policies.measures`, in that order."""

    measure: Callable[[Batch], Sequence[np.ndarray]]
    version: int = 1


class Batch:
    """Texts that are measured together; cut into words once, and only when a set asks for words."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    @cached_property
    def words(self) -> Tokenised:
        return Tokenised(self.texts)


def _basic(batch: Batch) -> Sequence[np.ndarray]:
    return list(np.array([basic(Text(text)) for text in batch.texts], float).T)


SETS: dict[str, MeasureSet] = {
    "basic": MeasureSet(_basic),
    "c4": MeasureSet(lambda batch: web_rules.c4(batch.words)),
    "fineweb": MeasureSet(lambda batch: web_rules.fineweb(batch.words)),
    "gopher-quality": MeasureSet(lambda batch: web_rules.gopher_quality(batch.words)),
    "gopher-repetition": MeasureSet(lambda batch: web_rules.gopher_repetition(batch.words)),
}


class Quality:
    """Scorer of the named sets: a double column ``quality.SET.NAME`` for each of their numbers; null for a null text.

    UserError when a set is not known.
    """

    name = "quality"
    VERSION = 1
    inputs = ("text",)

    def __init__(self, sets: tuple[str, ...] = ("basic",)) -> None:
        for name in sets:
            if name not in SETS:
                raise UserError(f"unknown quality set '{name}'", where="quality", hint=f"allowed: {', '.join(SETS)}")
        self.sets = tuple(sorted(set(sets)))
        columns = [f"quality.{name}.{measure}" for name in self.sets for measure in MEASURES[name]]
        self.schema = pa.schema([(column, pa.float64()) for column in columns])

    def config(self) -> dict[str, Any]:
        """The sets with their versions, the words', and the Unicode version that says what a letter is."""
        words = {"words": WORDS_VERSION} if set(self.sets) - {"basic"} else {}
        sets = {name: SETS[name].version for name in self.sets}
        return {"sets": sets, "unicode": unicodedata.unidata_version} | words

    def score(self, batch: pa.Table) -> pa.Table:
        """The columns of `schema` for each row of ``text``."""
        texts = batch["text"].to_pylist()
        given = [text for text in texts if text is not None]
        parts = [self._measure(Batch(given[start:end])) for start, end in _pieces(given)]
        measured = np.concatenate(parts, axis=1) if parts else np.zeros((len(self.schema), 0))
        present = np.fromiter((text is not None for text in texts), bool, len(texts))
        columns = []
        for row in measured:
            values = np.zeros(len(texts))
            values[present] = row
            columns.append(pa.array(values, pa.float64(), mask=~present))
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _measure(self, batch: Batch) -> np.ndarray:
        """(measures, texts), in the order of `schema`."""
        return np.concatenate([np.stack(SETS[name].measure(batch)) for name in self.sets])


def _pieces(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Runs of texts that are measured together: small enough for the cache; a long text stands alone."""
    start, size = 0, 0
    for at, text in enumerate(texts):
        if at > start and (at - start >= PIECE_TEXTS or size + len(text) > PIECE_CHARACTERS):
            yield start, at
            start, size = at, 0
        size += len(text)
    if texts:
        yield start, len(texts)
