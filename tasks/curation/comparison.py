"""The exact Jaccard index of proposed pairs of texts, with the texts' shingles on disk and not in memory."""

from __future__ import annotations

import os
import tempfile
from typing import IO

import numpy as np
import pyarrow as pa

from tasks.curation.blocks import Blocks
from tasks.curation.shingles import contains, normalise, shingle


class _Sets:
    """The distinct shingles of some rows: those that count, sorted, then the boilerplate, sorted; in a file."""

    def __init__(self, file: IO[bytes], texts: Blocks, rows: np.ndarray, boilerplate: np.ndarray) -> None:
        self._file = file
        self._place = np.full(len(texts), -1, np.int32)
        self._place[rows] = np.arange(len(rows), dtype=np.int32)
        self._starts = np.zeros(len(rows) + 1, np.int64)
        self._counting = np.zeros(len(rows), np.int32)
        row = done = size = 0
        for block in texts.blocks(["text"]):
            here = np.flatnonzero(self._place[row : row + len(block)] >= 0)
            row += len(block)
            chosen = block["text"].combine_chunks().take(pa.array(here))
            hashes, first = shingle(normalise(chosen)).distinct()
            text = np.repeat(np.arange(len(here)), np.diff(first))
            known = contains(boilerplate, hashes)
            if known.any():
                hashes = hashes[np.argsort(2 * text + known, kind="stable")]
            self._file.write(hashes.data)
            ends = slice(done, done + len(here))
            self._counting[ends] = np.bincount(text[~known], minlength=len(here))
            self._starts[done + 1 : done + len(here) + 1] = size + first[1:]
            done, size = done + len(here), size + len(hashes)
        self._file.flush()

    def sizes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many shingles each row has, and how many of them count."""
        places = self._place[rows]
        return self._starts[places + 1] - self._starts[places], self._counting[places]

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """(the shingles that count, the boilerplate) of a row."""
        place = self._place[row]
        start, end = self._starts[place], self._starts[place + 1]
        data = np.frombuffer(os.pread(self._file.fileno(), int(end - start) * 8, int(start) * 8), np.uint64)
        return data[: self._counting[place]], data[self._counting[place] :]


def compare(texts: Blocks, pairs: np.ndarray, boilerplate: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """For each pair of rows (P, 2): the Jaccard index of their shingles, and that of those which are no boilerplate.

    Where neither row holds anything but boilerplate the two are the same. A pair that cannot reach `floor` has 0, 0.
    """
    similarity, distinctive = np.zeros(len(pairs)), np.zeros(len(pairs))
    if len(pairs) == 0:
        return similarity, distinctive
    involved = np.flatnonzero(np.bincount(pairs.ravel(), minlength=len(texts)))
    with tempfile.TemporaryFile(prefix="gristmill-shingles-") as file:
        sets = _Sets(file, texts, involved, boilerplate)
        (all_a, own_a), (all_b, own_b) = sets.sizes(pairs[:, 0]), sets.sizes(pairs[:, 1])
        # The index cannot exceed the ratio of the sizes.
        hopeful = np.minimum(all_a, all_b) >= floor * np.maximum(all_a, all_b)
        hopeful &= np.minimum(own_a, own_b) >= floor * np.maximum(own_a, own_b)
        last, one = -1, None
        for at in np.flatnonzero(hopeful).tolist():
            row, other_row = pairs[at].tolist()
            if row != last:
                last, one = row, sets.read(row)
            assert one is not None
            other = sets.read(other_row)
            shared, banal = _shared(one[0], other[0]), _shared(one[1], other[1])
            own = int(own_a[at] + own_b[at]) - shared
            similarity[at] = (shared + banal) / (int(all_a[at] + all_b[at]) - shared - banal)
            distinctive[at] = shared / own if own else similarity[at]
    return similarity, distinctive


def _shared(a: np.ndarray, b: np.ndarray) -> int:
    """How many values two sets have in common."""
    if len(a) == 0 or len(b) == 0:
        return 0
    both = np.sort(np.concatenate([a, b]), kind="stable")  # merges two sorted runs
    return int(np.count_nonzero(both[1:] == both[:-1]))
