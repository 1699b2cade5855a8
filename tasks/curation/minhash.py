"""Candidate pairs from MinHash signatures: bands, each sorted in NumPy; no hash table and no shuffle of text.

Broder 1997, On the resemblance and containment of documents; banding: Leskovec, Rajaraman, Ullman, Mining of Massive
Datasets, chapter 3. Of a signature only what is asked of it again is kept: a 64-bit key for each band, and the low byte
of each hash, from which the Jaccard index is estimated (b-bit minwise hashing, Li and König 2010).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np

HASHES = 120  # its many divisors let `bands_for` choose; the estimate of J from 120 hashes has sd <= 0.046
RECALL = 0.99  # least probability that a pair at the threshold shares a band
ESTIMATE_MARGIN = 0.2  # over 4 sd: fewer than 1 true pair in 20,000 is lost to the estimate
ALL_PAIRS_UP_TO = 256  # members of a bucket; a larger one is compared with its first members and with its neighbours
PIVOTS = 64
CHUNK = 131_072  # pairs whose signatures are compared at once (31 MB)


def bands_for(threshold: float, hashes: int = HASHES) -> tuple[int, int]:
    """(bands, rows): the longest rows with which a pair at `threshold` shares a band with probability >= RECALL.

    That probability is 1 - (1 - threshold^rows)^bands. At 0.8: 20 bands of 6 rows, 0.998.
    """
    for rows in range(hashes, 1, -1):
        if hashes % rows == 0 and 1 - (1 - threshold**rows) ** (hashes // rows) >= RECALL:
            return hashes // rows, rows
    return hashes, 1


class Signatures:
    """What is kept of `count` signatures: 120 bytes each in memory, and at 20 bands 160 in a file. To be closed."""

    def __init__(self, count: int, bands_rows: tuple[int, int]) -> None:
        self.bands, self.rows = bands_rows
        self.count = count
        self.low = np.empty((count, HASHES), np.uint8)  # pages that nobody writes to take no memory
        self._file = tempfile.TemporaryFile(prefix="gristmill-bands-")  # noqa: SIM115 - `close` closes it

    def close(self) -> None:
        """The file is gone."""
        self._file.close()

    def put(self, places: np.ndarray | slice, signatures: np.ndarray) -> None:
        """Take the signatures (N, HASHES) uint32 of the texts at `places` (a slice, or ascending numbers)."""
        self.low[places] = signatures.astype(np.uint8)
        for band in range(self.bands):
            keys = np.zeros(len(signatures), np.uint64)
            for column in range(band * self.rows, (band + 1) * self.rows):  # a colliding key only proposes a pair more
                keys = (keys ^ signatures[:, column]) * np.uint64(0x9E3779B97F4A7C15)
                keys ^= keys >> np.uint64(29)
            if isinstance(places, slice):
                self._write(band, places.start, keys)
            elif len(places):
                start, stop = int(places[0]), int(places[-1]) + 1
                around = self._read(band, start, stop)
                around[places - start] = keys
                self._write(band, start, around)

    def band_keys(self) -> Iterator[np.ndarray]:
        """The keys (uint64, count) of one band after the other."""
        for band in range(self.bands):
            yield self._read(band, 0, self.count)

    def _read(self, band: int, start: int, stop: int) -> np.ndarray:
        keys = np.zeros(stop - start, np.uint64)
        self._file.seek(8 * (band * self.count + start))
        self._file.readinto(keys.view(np.uint8).data)  # short at the end of the file
        return keys

    def _write(self, band: int, start: int, keys: np.ndarray) -> None:
        self._file.seek(8 * (band * self.count + start))
        self._file.write(keys.view(np.uint8).data)


def candidates(signatures: Signatures, members: np.ndarray, floor: float) -> np.ndarray:
    """(P, 2) indices into `members` of the pairs, a < b, that share a band and whose estimated Jaccard index may reach
    `floor`; sorted.

    `members`: places of signatures, in order of election. A bucket of more than ALL_PAIRS_UP_TO of them (boilerplate)
    is not compared squared: each meets the bucket's first PIVOTS members, among which is the one that an election would
    keep, and the PIVOTS that follow it.
    """
    count = len(members)
    seen = np.empty(0, np.int64)
    hopeful = [np.empty(0, np.int64)]
    for keys in signatures.band_keys():
        found = distinct(np.concatenate([seen[:0], *bucket_pairs(keys[members], count)]))
        place = np.searchsorted(seen, found)
        new = found[np.append(seen, -1)[place] != found]
        seen = np.sort(np.concatenate([seen, new]), kind="stable")
        for at in range(0, len(new), CHUNK):
            codes = new[at : at + CHUNK]
            one, other = signatures.low[members[codes // count]], signatures.low[members[codes % count]]
            hopeful.append(codes[(one == other).mean(axis=1) >= floor - ESTIMATE_MARGIN])
    codes = np.sort(np.concatenate(hopeful))
    return np.stack([codes // max(count, 1), codes % max(count, 1)], axis=1)


def distinct(values: np.ndarray) -> np.ndarray:
    """The distinct values, sorted. (Since NumPy 2.3 `np.unique` hashes: 20 times slower on these codes.)"""
    values = np.sort(values)
    return values[np.diff(values, prepend=-1) != 0]


def bucket_pairs(keys: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """The pairs within each run of equal keys, as a * count + b with a < b. Members are in order of position."""
    order = np.argsort(keys, kind="stable")  # stable: by position within a bucket
    starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    sizes = np.diff(starts, append=count)
    for size in np.unique(sizes[sizes > 1]):
        members = order[starts[sizes == size][:, None] + np.arange(size)]  # (buckets, size)
        if size <= ALL_PAIRS_UP_TO:
            first, second = np.triu_indices(size, k=1)
        else:
            first, second = np.divmod(np.arange(size * (2 * PIVOTS)), 2 * PIVOTS)
            second = np.where(second < PIVOTS, second, first + second - PIVOTS + 1)
            wanted = (second < size) & (second != first)
            first, second = first[wanted], second[wanted]
        a, b = members[:, first].ravel(), members[:, second].ravel()
        yield np.minimum(a, b) * count + np.maximum(a, b)
