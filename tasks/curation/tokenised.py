"""A batch of texts as integers: every distinct chunk between blanks is cut into words once, then only numbers move.

Suffixes name the axes: D texts, L lines, T words (of all texts, one after the other), V distinct words.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from array import array
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.curation.words import cut

MAXIMUM_CHUNKS, MAXIMUM_CHARACTERS = 1_000_000, 100_000_000  # of the table that is kept; then it is begun anew
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
#: A word all of these is a sign and no word. The controls too; from datatrove's description of its set.
_SIGNS = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»" + "".join(
    chr(code) for first, last in ((0, 9), (11, 13), (13, 32), (127, 160)) for code in range(first, last)
)
_PLAIN_PUNCTUATION = "!\"#%&'()*,-./:;?@[\\]_{}"  # of ASCII, Unicode's categories P*
_LETTER = re.compile("[A-Za-z]")
_STOPS = frozenset("!.?։؟۔܀܁܂߹।॥၊။።፧፨᙮‼‽⁇⁈⁉⸮⸼﹒﹖﹗！．？｡。")

SIGN, ALPHABETIC, STOP, PUNCTUATION = 1, 2, 4, 8  # what a word is; bits from 16 on: which stop word


_STOP_KINDS = {word: 1 << (16 + place) for place, word in enumerate(STOP_WORDS)}


class _Growing:
    """Whole numbers that are appended one by one and read as an array: only what is new is copied."""

    def __init__(self, kind: str) -> None:
        self.new = array(kind)
        self.append = self.new.append
        self.held = np.empty(1024, self.new.typecode)
        self.count = 0

    def read(self) -> np.ndarray:
        """All of them. What was read before stays as it is: numbers are never changed."""
        count = self.count + len(self.new)
        if count > len(self.held):
            self.held = np.concatenate([self.held[: self.count], np.empty(2 * count, self.held.dtype)])
        self.held[self.count : count] = self.new
        del self.new[:]
        self.count = count
        return self.held[:count]


class _Table(dict[str, int]):
    """chunk -> its number; a chunk that is not there is cut and entered. Words likewise, with what is known of each."""

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, int] = {}
        self.kind, self.length, self.key = _Growing("i"), _Growing("q"), _Growing("Q")  # of each word
        self.first, self.count, self.cut = _Growing("q"), _Growing("q"), _Growing("q")  # of each chunk: words in `cut`
        self.entered, self.chunks, self.characters = 0, 0, 0
        self.adding = threading.Lock()

    def __missing__(self, chunk: str) -> int:
        pieces = cut(chunk)
        with self.adding:
            known, enter = self.words.get, self.cut.append
            for word in pieces:
                number = known(word)
                enter(self._enter(word) if number is None else number)
            self.first.append(self.entered)
            self.count.append(len(pieces))
            self.entered += len(pieces)
            self.characters += len(chunk)
            self[chunk] = number = self.chunks  # not len(self): another thread may have entered the same chunk
            self.chunks += 1
        return number

    def _enter(self, word: str) -> int:
        if word.isalpha():
            kind = ALPHABETIC | _STOP_KINDS.get(word, 0)
        elif word.isascii():
            kind = ALPHABETIC if _LETTER.search(word) else 0
            if not word.strip(_SIGNS):
                kind |= SIGN | STOP * (word in _STOPS)
            if not word.strip(_PLAIN_PUNCTUATION):
                kind |= PUNCTUATION
        else:
            kind = SIGN * (not word.strip(_SIGNS)) | STOP * (word in _STOPS)
            kind |= ALPHABETIC * any(sign.isalpha() for sign in word)
            kind |= PUNCTUATION * all(unicodedata.category(sign)[0] == "P" for sign in word)
        self.kind.append(kind)
        self.length.append(len(word))
        # Another in every process, but only asked whether it is equal: nothing that is measured depends on its value.
        self.key.append(hash(word) & 0xFFFFFFFFFFFFFFFF)
        self.words[word] = number = len(self.words)
        return number

    def arrays(self) -> tuple[np.ndarray, ...]:
        """kind, length, key of the words; first, count, cut of the chunks."""
        with self.adding:
            return tuple(table.read() for table in (self.kind, self.length, self.key, self.first, self.count, self.cut))


_table = _Table()


def _current() -> _Table:
    global _table
    if len(_table) > MAXIMUM_CHUNKS or _table.characters > MAXIMUM_CHARACTERS:
        _table = _Table()  # another thread that still reads the old one keeps it
    return _table


class Tokenised:
    """`texts` cut into lines (as `str.splitlines`, stripped), and these into words.

    `kind_T`, `length_T` (characters), `key_T` (a 64-bit hash) of each word; `ends_D`, where each text's words end;
    `lines_D`: the stripped lines of each text; `line_ends_L`: where each line's words end; `chunks_L`: how many chunks
    between blanks it has.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        table = _current()
        self.texts = texts
        self.lines_D = [[line.strip() for line in text.splitlines()] for text in texts]
        lines = [line for lines in self.lines_D for line in lines]
        # Arrow cuts at the same blanks as `str.split`, and finds the distinct chunks: only these are looked up.
        cut = pc.utf8_split_whitespace(pa.array([line or "-" for line in lines], pa.large_string()))
        chunks = cut.values.dictionary_encode()
        names = chunks.dictionary.to_pylist()
        number_C = np.fromiter(map(table.__getitem__, names), np.int64, len(names))[chunks.indices.to_numpy()]
        self.chunks_L = np.diff(cut.offsets.to_numpy())
        full_L = np.fromiter(map(bool, lines), bool, len(lines))
        if not full_L.all():  # what stood for an empty line
            number_C, self.chunks_L = number_C[np.repeat(full_L, self.chunks_L)], self.chunks_L * full_L
        kind_V, length_V, key_V, first, count, cut_words = table.arrays()
        words_C = count[number_C]
        word_ends_C = np.concatenate([[0], np.cumsum(words_C)])
        within = np.arange(word_ends_C[-1]) - np.repeat(word_ends_C[:-1], words_C)
        word_T = cut_words[np.repeat(first[number_C], words_C) + within]
        self.kind_T, self.length_T, self.key_T = kind_V[word_T], length_V[word_T], key_V[word_T]
        self.line_ends_L = word_ends_C[np.cumsum(self.chunks_L)]
        lines_D = np.fromiter(map(len, self.lines_D), np.int64, len(texts))
        self.line_numbers_D = np.concatenate([[0], np.cumsum(lines_D)])  # where each text's lines begin and end
        self.ends_D = np.concatenate([[0], self.line_ends_L])[self.line_numbers_D[1:]]
        self.starts_D = np.concatenate([[0], self.ends_D])[:-1].astype(np.int64)
        self.words_D = self.ends_D - self.starts_D

    def total(self, values_T: np.ndarray) -> np.ndarray:
        """The sum of a value over each text's words (D)."""
        sums = np.concatenate([[0], np.cumsum(values_T)])
        return sums[self.ends_D] - sums[self.starts_D]

    def sentences_L(self) -> np.ndarray:
        """The sentences of each line: one begins at its first word, and at each word that is no punctuation after a
        full stop (or another sign that ends sentences) since the last such word. As spaCy's rule-based sentencizer."""
        other_T = (self.kind_T & (STOP | PUNCTUATION)) == 0
        stops_T = np.concatenate([[0], np.cumsum((self.kind_T & STOP) != 0)])
        line_T = np.repeat(np.arange(len(self.chunks_L)), np.diff(self.line_ends_L, prepend=0))
        at = np.flatnonzero(other_T)
        start_L = np.concatenate([[0], self.line_ends_L[:-1]]).astype(np.int64)
        before = np.concatenate([[-1], at[:-1]])  # the last such word, or the line's begin
        since = stops_T[np.maximum(before, start_L[line_T[at]])]
        fresh = stops_T[at] > since
        extra_L = np.bincount(line_T[at[fresh]], minlength=len(self.chunks_L))
        return extra_L + (np.diff(self.line_ends_L, prepend=0) > 0)
