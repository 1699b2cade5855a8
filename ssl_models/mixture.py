"""Several streams in fixed proportions: which source a position reads depends on (seed, position, weights) alone.

The sources' shares are laid end to end on a circle, and position i falls where i steps of the golden ratio from a
seeded start lead (a Kronecker sequence: L. Kuipers, H. Niederreiter, Uniform Distribution of Sequences, 1974). Any
stretch of n positions holds each source weight * n times up to a few, more evenly than drawing would; and how often a
source came before position i is a sum of floors, which takes O(log) steps, so a mixture resumes anywhere at once. A
source's own position is that count: it runs its own endless stream, exactly once per epoch of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import accumulate
from math import ceil

import numpy as np

from ssl_models.keys import stream
from ssl_models.reader import Document, Reader, Samples

CIRCLE = 1 << 64
STEP = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, odd: every position is another point
_log = logging.getLogger(__name__)


class Mixture:
    """The endless stream of `sources` by `weights` (any positive numbers; shares are weight / sum).

    `position` is the whole state. `repeats`: (source, its epoch, position) of every time a source begins anew while
    this object reads, also logged. Keys, words and epochs are those of the sources; `numbers` too, each in the index of
    its own source. ValueError on weights that are not positive, or not those of the sources.
    """

    def __init__(
        self, sources: Mapping[str, Reader], weights: Mapping[str, float], seed: int, position: int = 0
    ) -> None:
        if not sources or set(sources) != set(weights):
            raise ValueError(f"there are weights of {sorted(weights)} for the sources {sorted(sources)}")
        if wrong := [name for name, weight in weights.items() if not 0 < weight < float("inf")]:
            raise ValueError(f"a weight is a positive number, that of {sorted(wrong)[0]} is none")
        self.names = sorted(sources)
        self.sources = [sources[name] for name in self.names]
        exact = [Fraction(weights[name]) for name in self.names]
        self.shares = [weight / sum(exact) for weight in exact]
        self._ends = [int(end * CIRCLE) for end in accumulate(self.shares)]  # the last is the whole circle
        self._start = (stream("mixture", seed) << 1) % CIRCLE
        self.position = position
        self.repeats: list[tuple[str, int, int]] = []
        self._told: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        """Positions until every source has been through once."""
        return max(ceil(len(source) / share) for source, share in zip(self.sources, self.shares, strict=True))

    def source_at(self, position: int) -> tuple[int, int]:
        """(source number, position in that source's own stream) of `position`."""
        point = (self._start + position * STEP) % CIRCLE
        source = next(number for number, end in enumerate(self._ends) if point < end)
        return source, self.count(source, position)

    def count(self, source: int, position: int) -> int:
        """How many of the positions before `position` read `source`."""
        begin = self._ends[source - 1] if source else 0
        return self._below(self._ends[source], position) - self._below(begin, position)

    def _below(self, bound: int, count: int) -> int:
        """Of the first `count` points, how many are less than `bound`."""
        # [x mod m < b] = floor(x / m) - floor((x - b) / m) for 0 <= b <= m; one circle more keeps it from below zero
        whole = floor_sum(count, CIRCLE, STEP, self._start + CIRCLE)
        return whole - floor_sum(count, CIRCLE, STEP, self._start + CIRCLE - bound)

    def _places(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Source numbers and positions in their own streams, int64, of the positions from `begin` up to `end`."""
        places = np.arange(begin, end, dtype=np.uint64)
        points = places * np.uint64(STEP) + np.uint64(self._start)
        inner = np.array(self._ends[:-1], np.uint64)
        which = np.searchsorted(inner, points, side="right").astype(np.int64)
        own = np.empty(len(which), np.int64)
        for source in range(len(self.sources)):
            here = np.flatnonzero(which == source)
            own[here] = self.count(source, begin) + np.arange(len(here))
        return which, own

    def take(self, begin: int, end: int) -> Samples:
        """The samples of the positions from `begin` up to `end`, wherever the stream stands."""
        which, own = self._places(begin, end)
        size = end - begin
        numbers, epochs, words = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.uint64)
        keys, payloads = [""] * size, [b""] * size
        for source, reader in enumerate(self.sources):
            here = np.flatnonzero(which == source)
            if not len(here):
                continue
            got = reader.take(int(own[here[0]]), int(own[here[-1]]) + 1)
            numbers[here], epochs[here], words[here] = got.numbers, got.epochs, got.words
            for at, key, payload in zip(here.tolist(), got.keys, got.payloads, strict=True):
                keys[at], payloads[at] = key, payload
            for at in np.flatnonzero((own[here] % len(reader) == 0) & (got.epochs > 0)).tolist():
                self._tell(source, int(got.epochs[at]), begin + int(here[at]))
        return Samples(begin, numbers, epochs, words, keys, payloads)

    def read(self, position: int) -> Document:
        """The document at `position`, wherever the stream stands."""
        source, own = self.source_at(position)
        document = self.sources[source].read(own)
        if document.epoch and own % len(self.sources[source]) == 0:
            self._tell(source, document.epoch, position)
        return Document(position, document.epoch, document.key, document.word, document.text)

    def _tell(self, source: int, epoch: int, position: int) -> None:
        if (source, epoch) not in self._told:
            self._told.add((source, epoch))
            self.repeats.append((self.names[source], epoch, position))
            _log.warning("source %s is read for the %d. time from position %d", self.names[source], epoch + 1, position)

    def __iter__(self) -> Iterator[Document]:
        return self

    def __next__(self) -> Document:
        document = self.read(self.position)
        self.position += 1
        return document


def floor_sum(count: int, modulus: int, factor: int, offset: int) -> int:
    """sum of floor((factor * i + offset) / modulus) over i = 0 .. count - 1, of integers >= 0, in O(log modulus) steps.

    (R. Graham, D. Knuth, O. Patashnik, Concrete Mathematics, 3.5: lattice points under a line, as in Euclid's gcd.)
    """
    total = 0
    while count:
        total += (count - 1) * count // 2 * (factor // modulus) + count * (offset // modulus)
        factor, offset = factor % modulus, offset % modulus
        height = factor * count + offset
        if height < modulus:
            break
        count, offset, modulus, factor = height // modulus, height % modulus, factor, modulus
    return total
