"""Word 5-grams: the sets that near-duplicates are compared by, and the shingles that are boilerplate.

Similarity is the Jaccard index of the sets of word 5-grams of the text in NFC, lower-cased, split at runs of non-word
characters. Where many texts are compared at once, 64-bit hashes stand for the shingles: that two different shingles of
two texts of a thousand words share one has a chance below 1 in 10^12.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

SHINGLE_WORDS = 5
#: A shingle of more than this share of a source's texts is boilerplate...
BOILERPLATE_SHARE = 0.05
#: ...but for a family of fewer texts than this: a small source is no evidence.
BOILERPLATE_TEXTS = 20
#: Texts of a source that are looked at: the first in the order of record_id, which is a hash, so a random sample. A
#: share of 5 % of so many is known to half a percentage point (one sd); a smaller source is counted whole.
BOILERPLATE_SAMPLE = 2048

_WORD = re.compile(r"\w+")
_ASCII_WORDS = bytes(code if re.match(r"\w", chr(code), re.ASCII) else 32 for code in range(256))
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_BLANK = 32
# Of a byte of ASCII what it is in a word, lower-cased, or a blank; others belong to words that are normal already.
_LOWERED = np.frombuffer(bytes(range(256)).lower().translate(_ASCII_WORDS[:128] + bytes(range(128, 256))), np.uint8)
_IS_BLANK = np.isin(np.arange(256), np.frombuffer(b" \t\n\v\f\r", np.uint8))
_PIECE = 1 << 20  # bytes hashed at once
_BASE = 0xD1342543DE82EF95  # odd, so that it has an inverse
_INVERSE = pow(_BASE, -1, 1 << 64)
_RANDOM = np.random.Generator(np.random.PCG64(5)).integers(0, 1 << 64, 256, np.uint64)


def _powers(count: int, base: int = _BASE) -> np.ndarray:
    return np.cumprod(np.append(np.uint64(1), np.full(count, base, np.uint64)))


_POWERS, _INVERSES = _powers(_PIECE), _powers(_PIECE, _INVERSE)


def words(text: str) -> list[str]:
    """The words of `text` in NFC, lower-cased, split at runs of non-word characters."""
    if text.isascii():  # the same words as below, in a third of the time
        return text.lower().encode().translate(_ASCII_WORDS).decode().split()
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def shingles(text: str) -> frozenset[str]:
    """The set of word 5-grams; a text of 1 to 4 words has one shingle, all its words; one without words has none."""
    tokens = words(text)
    if len(tokens) < SHINGLE_WORDS:
        return frozenset([" ".join(tokens)] if tokens else [])
    return frozenset(map(" ".join, zip(*(tokens[start:] for start in range(SHINGLE_WORDS)), strict=False)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """The Jaccard index; 0 when both are empty."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if shared else 0.0


@dataclass(frozen=True)
class Normal:
    """Texts as their words with single blanks between, UTF-8, one after the other without a gap.

    `data`: the bytes; `ends`: where each text's end (N); `texts`: the same as an Arrow array.
    """

    data: np.ndarray
    ends: np.ndarray

    @property
    def texts(self) -> pa.LargeStringArray:
        offsets = pa.py_buffer(np.concatenate([[0], self.ends]).astype(np.int64))
        return pa.LargeStringArray.from_buffers(len(self.ends), offsets, pa.py_buffer(self.data))


def normalise(texts: pa.Array) -> Normal:
    """`words` of each text (no nulls), joined: by table over all bytes at once; what is not ASCII by `words` itself."""
    strings = texts.cast(pa.large_string())
    offsets = np.frombuffer(strings.buffers()[1], np.int64)[strings.offset : strings.offset + len(strings) + 1]
    data = np.frombuffer(strings.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    data, offsets = _in_ascii(data, offsets - offsets[0])
    lowered = _LOWERED[data]
    word = lowered != _BLANK
    after = np.zeros(len(word), bool)  # the byte before is one of a word, in the same text
    after[1:] = word[:-1]
    full = np.flatnonzero(np.diff(offsets))
    after[offsets[full]] = False
    word |= after  # each run of other bytes becomes one blank, or nothing at the beginning of a text
    lowered *= word
    kept = np.zeros(len(strings), np.int64)
    if len(full):
        kept[full] = np.add.reduceat(word.view(np.uint8), offsets[full], dtype=np.int64)
    data = np.frombuffer(lowered.tobytes().translate(None, b"\0"), np.uint8)
    full = np.flatnonzero(kept)
    last = np.cumsum(kept)[full] - 1
    trailing = data[last] == _BLANK
    kept[full[trailing]] -= 1
    return Normal(np.delete(data, last[trailing]) if trailing.any() else data, np.cumsum(kept))


def _in_ascii(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same texts with every stretch between ASCII blanks that is not ASCII replaced by its words.

    Such a blank composes with nothing and is no part of a word, so the words are those of the whole text.
    """
    high = np.flatnonzero(data >= 128)
    if len(high) == 0:
        return data, offsets
    text = np.searchsorted(offsets, high, "right") - 1
    begins, stops = offsets[text], offsets[text + 1]
    # A text in another script is taken whole: less is done for each of its words.
    dense = np.bincount(text, minlength=len(offsets) - 1)[text] * 10 > stops - begins
    blanks = np.flatnonzero(_IS_BLANK[data])
    edge = np.searchsorted(blanks, high)
    before, behind = np.append(-1, blanks)[edge] + 1, np.append(blanks, len(data))[edge]
    begins = np.where(dense, begins, np.maximum(begins, before))
    stops = np.where(dense, stops, np.minimum(stops, behind))
    begins, firsts = np.unique(begins, return_index=True)
    stops, text = stops[firsts], text[firsts]
    raw, parts, done = data.tobytes(), [], 0
    lengths = np.diff(offsets)
    for begin, stop, owner in zip(begins.tolist(), stops.tolist(), text.tolist(), strict=True):
        said = " ".join(words(raw[begin:stop].decode())).encode()
        parts += [raw[done:begin], said]
        lengths[owner] += len(said) - (stop - begin)
        done = stop
    parts.append(raw[done:])
    return np.frombuffer(b"".join(parts), np.uint8), np.concatenate([[0], np.cumsum(lengths)])


def hash_words(normal: Normal) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(hashes, firsts, begins, stops): a uint64 for each word of all texts; the index of each text's first word (one
    more at the end); where each word's bytes begin and stop.

    A polynomial over the bytes, each stood for by 64 random bits, modulo 2^64; then mixed.
    """
    data, ends = normal.data, normal.ends
    count = len(ends)
    if len(data) == 0:
        empty = np.empty(0, np.int64)
        return np.empty(0, np.uint64), np.zeros(count + 1, np.int64), empty, empty
    starts = np.concatenate([[0], ends[:-1]])
    full = ends > starts
    blanks = np.flatnonzero(data == _BLANK)
    begins = np.sort(np.concatenate([starts[full], blanks + 1]), kind="stable")
    stops = np.sort(np.concatenate([ends[full], blanks]), kind="stable")
    hashes = np.empty(len(begins), np.uint64)
    at = 0
    while at < len(begins):  # pieces of which the powers are at hand; a longer word is a piece of its own
        until = max(at + 1, int(np.searchsorted(stops, begins[at] + _PIECE, "right")))
        low, high = int(begins[at]), int(stops[until - 1])
        powers = _POWERS if high - low <= _PIECE else _powers(high - low)
        sums = np.zeros(high - low + 1, np.uint64)
        np.cumsum(_RANDOM[data[low:high]] * powers[: high - low], out=sums[1:])
        inverse = _INVERSES if high - low <= _PIECE else _powers(high - low, _INVERSE)
        start = begins[at:until] - low
        hashes[at:until] = (sums[stops[at:until] - low] - sums[start]) * inverse[start]
        at = until
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MULTIPLIER
    hashes ^= hashes >> _SHIFT
    return hashes, np.searchsorted(begins, np.append(starts, ends[-1])), begins, stops


def roll(hashes: np.ndarray, width: int) -> np.ndarray:
    """The hash of each run of `width` words, at the place where the run begins; as many less as fit."""
    count = max(len(hashes) - width + 1, 0)
    mixed = np.zeros(count, np.uint64)
    for at in range(width):
        mixed = (mixed ^ hashes[at : at + count]) * _MULTIPLIER
        mixed ^= mixed >> _SHIFT
    return mixed


@dataclass(frozen=True)
class Shingled:
    """`hashes`: a uint64 for each 5-gram in its place, repeats too; `firsts`: the index of each text's first (one more
    at the end; a text of fewer than 5 words has none)."""

    normal: Normal
    hashes: np.ndarray
    firsts: np.ndarray
    begins: np.ndarray  # of each shingle's bytes
    stops: np.ndarray

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """(hashes, firsts) without repeats, sorted within each text."""
        hashes, firsts = self.hashes.copy(), self.firsts
        edges = firsts.tolist()
        for start, end in zip(edges, edges[1:], strict=False):
            hashes[start:end].sort()
        fresh = np.ones(len(hashes), bool)
        fresh[1:] = hashes[1:] != hashes[:-1]
        fresh[firsts[:-1][np.diff(firsts) > 0]] = True
        return hashes[fresh], np.concatenate([[0], np.cumsum(fresh)])[firsts]

    def runs_without(self, boilerplate: np.ndarray) -> tuple[np.ndarray, list[bytes]]:
        """(text of each, stretch): the stretches whose shingles are exactly those of the text that are not marked.

        `boilerplate`: bool, for each of `hashes`. Only of texts that have some and have others besides.
        """
        text = np.repeat(np.arange(len(self.firsts) - 1), np.diff(self.firsts))
        marked = np.bincount(text[boilerplate], minlength=len(self.firsts) - 1)
        mixed = (marked > 0) & (marked < np.diff(self.firsts))
        wanted = ~boilerplate & mixed[text]
        edge = np.diff(text, prepend=-1) != 0
        first = np.flatnonzero(wanted & (edge | ~np.append(False, wanted[:-1])))
        last = np.flatnonzero(wanted & (np.append(edge[1:], True) | ~np.append(wanted[1:], False)))
        raw = self.normal.data.tobytes()
        ends = zip(self.begins[first].tolist(), self.stops[last].tolist(), strict=True)
        return text[first], [raw[begin:stop] for begin, stop in ends]


def shingle(normal: Normal) -> Shingled:
    """The 5-grams of each text, as hashes."""
    hashes, words_first, begins, stops = hash_words(normal)
    mixed = roll(hashes, SHINGLE_WORDS)
    counts = np.maximum(np.diff(words_first) - SHINGLE_WORDS + 1, 0)
    firsts = np.concatenate([[0], np.cumsum(counts)])
    places = np.repeat(words_first[:-1] - firsts[:-1], counts) + np.arange(firsts[-1])
    return Shingled(normal, mixed[places], firsts, begins[places], stops[places + SHINGLE_WORDS - 1])


def frequent(sets: Sequence[np.ndarray]) -> np.ndarray:
    """The hashes, sorted, of the shingles that are boilerplate in a source with these sets of shingles, one a text."""
    least = max(BOILERPLATE_TEXTS, int(BOILERPLATE_SHARE * len(sets)) + 1)
    found = np.sort(np.concatenate([np.empty(0, np.uint64), *sets]))
    if len(sets) < least or len(found) == 0:
        return found[:0]
    ends = np.flatnonzero(np.diff(found, append=~found[-1:]))  # the last of each run of equal hashes
    return found[ends[np.diff(ends, prepend=-1) >= least]]


def contains(sorted_values: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each of `values`: is it among `sorted_values`?"""
    if len(sorted_values) == 0:
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return sorted_values[places] == values
