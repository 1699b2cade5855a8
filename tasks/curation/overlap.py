"""Which n-grams of words a few items and many texts share: hashes in sorted arrays, looked up a block at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.curation.shingles import hash_words, normalise, roll

_BITS = 22
_SHIFT = np.uint64(64 - _BITS)


class Index:
    """hash -> the items that have it: sorted hashes, and for each a run of item numbers. A table of bits in front."""

    def __init__(self, hashes: np.ndarray, items: np.ndarray) -> None:
        order = np.lexsort((items, hashes))
        hashes, items = hashes[order], items[order]
        fresh = np.ones(len(hashes), bool)
        fresh[1:] = (hashes[1:] != hashes[:-1]) | (items[1:] != items[:-1])
        hashes, self.items = hashes[fresh], items[fresh]
        first = np.flatnonzero(np.diff(hashes, prepend=~hashes[:1]))
        self.hashes = hashes[first]
        self.first = np.append(first, len(hashes))
        self.bits = np.zeros(1 << _BITS, bool)
        self.bits[self.hashes >> _SHIFT] = True

    @property
    def frequency(self) -> np.ndarray:
        """How many items have each hash."""
        return np.diff(self.first)

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(places among `hashes`, numbers of the hashes found there)."""
        maybe = np.flatnonzero(self.bits[hashes >> _SHIFT])
        if not len(maybe) or not len(self.hashes):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self.hashes, hashes[maybe]), len(self.hashes) - 1)
        found = self.hashes[at] == hashes[maybe]
        return maybe[found], at[found]

    def pairs(self, rows: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(row, item) for each row and each item that has the hash of that number."""
        counts = np.diff(self.first)[numbers]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        return np.repeat(rows, counts), self.items[np.repeat(self.first[numbers], counts) + within]


@dataclass(frozen=True)
class Words:
    """`hashes`: of each word of some texts; `firsts`: the index of each text's first word, one more at the end."""

    hashes: np.ndarray
    firsts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.firsts)

    def grams(self, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each n-gram, none of which runs over its text's end: its hash, its text, its first word."""
        rolled = roll(self.hashes, width)
        text = np.repeat(np.arange(len(self.firsts) - 1), self.lengths)[: len(rolled)]
        inside = np.flatnonzero(np.arange(len(rolled)) + width <= self.firsts[text + 1])
        return rolled[inside], text[inside], inside

    def at(self, places: np.ndarray, width: int) -> np.ndarray:
        """The hashes of the n-grams that begin at these words."""
        if not len(places):
            return np.empty(0, np.uint64)
        return roll(self.hashes[places[:, None] + np.arange(width)].T, width)[0]


def words_of(texts: pa.Array) -> Words:
    """The words of texts without nulls."""
    hashes, firsts, _, _ = hash_words(normalise(texts))
    return Words(hashes, firsts)


def numbers_of(index: Index, item: int) -> np.ndarray:
    """The numbers of an item's hashes."""
    return np.searchsorted(index.first, np.flatnonzero(index.items == item), "right") - 1


def distinct(values: np.ndarray) -> np.ndarray:
    """The distinct values, sorted."""
    values = np.sort(values)
    fresh = np.ones(len(values), bool)
    fresh[1:] = values[1:] != values[:-1]
    return values[fresh]


def counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values and how often each is there."""
    values = np.sort(values)
    first = np.flatnonzero(np.diff(values, prepend=-1))
    return values[first], np.diff(first, append=len(values))


def most(row: np.ndarray, item: np.ndarray, weight: np.ndarray, rows: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """For each row the largest sum of weights over one item, and that item (of equal ones the first); 0 and -1."""
    best, which = np.zeros(rows), np.full(rows, -1)
    order = np.argsort(row * max(items, 1) + item, kind="stable")
    code = (row * max(items, 1) + item)[order]
    first = np.flatnonzero(np.diff(code, prepend=-1))
    sums = np.add.reduceat(weight[order], first) if len(first) else np.empty(0)
    rows_of, items_of = np.divmod(code[first], max(items, 1))
    order = np.lexsort((items_of, -sums, rows_of))
    rows_of, items_of, sums = rows_of[order], items_of[order], sums[order]
    lead = np.flatnonzero(np.diff(rows_of, prepend=-1))
    best[rows_of[lead]], which[rows_of[lead]] = sums[lead], items_of[lead]
    return best, which
