"""Two orders of an endless stream over a split: which sample is read at which position. Position is all of the state.

Both visit every sample once an epoch, epochs follow each other without a gap, and both are removal-stable: without some
samples, each epoch is the same sequence with those left out, so nothing before the first of them changes.

`global`: a sort by hash of (seed, epoch, key). `blocked`: shards sorted by hash of (seed, epoch, shard name), cut into
groups of a fixed number of shards, samples sorted by hash within their group; so a reader holds one group at a time and
reads each shard once, from front to back. It is removal-stable as long as the shards keep their names. A shard that
has lost all its samples keeps its place: the names `SPLIT-000000` ... are filled up to a power of two, the number that
a corpus keeps for all its versions. (Only if the whole upper half of them were gone would that number seem smaller.)
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssl_models.keys import fold, sample_words, stream

if TYPE_CHECKING:
    from ssl_models.shard_index import Index

NUMBERED = re.compile(r"(.+)-(\d{6})")


class Order(ABC):
    """`at(begin, end)`: sample numbers and epochs (int64) of the positions from `begin` up to `end`."""

    def __init__(self, index: Index, seed: int) -> None:
        self.index, self.seed = index, seed

    def at(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        if begin < 0:
            raise ValueError(f"a position is no less than 0, not {begin}")
        size, samples, epochs = len(self.index), [], []
        while begin < end:
            epoch, first = divmod(begin, size)
            last = min(size, first + end - begin)
            samples.append(self.within(epoch, first, last))
            epochs.append(np.full(last - first, epoch, np.int64))
            begin += last - first
        if len(samples) == 1:
            return samples[0], epochs[0]
        none = np.empty(0, np.int64)
        return np.concatenate([none, *samples]), np.concatenate([none, *epochs])

    @abstractmethod
    def within(self, epoch: int, first: int, last: int) -> np.ndarray:
        """Sample numbers of places `first` up to `last` of one epoch."""

    def shards_near(self, position: int) -> tuple[list[int], int]:
        """Shards that a reader at `position` is about to read and those that come after them, and up to which position
        that stays so."""
        return [], len(self.index)


class GlobalOrder(Order):
    """Two epochs are kept: a reader at a boundary looks back."""

    def __init__(self, index: Index, seed: int) -> None:
        super().__init__(index, seed)
        self._epochs: OrderedDict[int, np.ndarray] = OrderedDict()

    def within(self, epoch: int, first: int, last: int) -> np.ndarray:
        if epoch not in self._epochs:
            if len(self._epochs) == 2:
                self._epochs.popitem(last=False)
            self._epochs[epoch] = self.index.order(self.seed, epoch)
        return self._epochs[epoch][first:last]


class BlockedOrder(Order):
    """`group_shards`: how many shards are shuffled together."""

    def __init__(self, index: Index, seed: int, group_shards: int) -> None:
        super().__init__(index, seed)
        if group_shards < 1:
            raise ValueError(f"a group has at least one shard, not {group_shards}")
        self.group_shards = group_shards
        self._names = fill_up(index.shard_names)
        present = {name: number for number, name in enumerate(index.shard_names)}
        self._numbers = np.array([present.get(name, -1) for name in self._names], np.int64)
        self._words = sample_words(self._names)
        self._by_shard = np.argsort(index.shard, kind="stable")  # within a shard: by key
        counts = np.bincount(index.shard, minlength=len(present)).astype(np.int64)
        self._ends = np.cumsum(counts)
        self._counts = counts
        self._plans: OrderedDict[int, tuple[list[np.ndarray], np.ndarray]] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def plan(self, epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Groups of an epoch, each the numbers of its shards that are there, and where each group ends (int64 [G])."""
        if epoch not in self._plans:
            if len(self._plans) == 3:
                self._plans.popitem(last=False)
            hashed = fold(self._words, stream("shards", self.seed, epoch))
            order = self._numbers[np.lexsort((np.arange(len(hashed)), hashed))]
            groups = [order[i : i + self.group_shards] for i in range(0, len(order), self.group_shards)]
            groups = [group[group >= 0] for group in groups]
            self._plans[epoch] = groups, np.cumsum([int(self._counts[group].sum()) for group in groups])
        return self._plans[epoch]

    def within(self, epoch: int, first: int, last: int) -> np.ndarray:
        groups, ends = self.plan(epoch)
        parts = []
        number = int(np.searchsorted(ends, first, side="right"))
        while first < last:
            begin = int(ends[number - 1]) if number else 0
            stop = min(last, int(ends[number]))
            if stop > first:
                parts.append(self._group(epoch, number, groups[number])[first - begin : stop - begin])
            first, number = max(first, stop), number + 1
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int64), *parts])

    def shards_near(self, position: int) -> tuple[list[int], int]:
        here, until = self._around(position)
        return [*here, *self._around(until)[0]], until

    def _around(self, position: int) -> tuple[list[int], int]:
        """The shards of the group at `position`, and where that ends."""
        epoch, place = divmod(position, len(self.index))
        groups, ends = self.plan(epoch)
        number = int(np.searchsorted(ends, place, side="right"))
        return groups[number].tolist(), position - place + int(ends[number])

    def _group(self, epoch: int, number: int, shards: np.ndarray) -> np.ndarray:
        if (epoch, number) not in self._groups:
            if len(self._groups) == 4:
                self._groups.popitem(last=False)
            each = [self._by_shard[self._ends[s] - self._counts[s] : self._ends[s]] for s in shards]
            samples = np.sort(np.concatenate(each))  # by key, so that equal hashes fall in the order of keys
            hashed = fold(self.index.words[samples], stream("blocked", self.seed, epoch))
            self._groups[epoch, number] = samples[np.argsort(hashed, kind="stable")]
        return self._groups[epoch, number]


def fill_up(names: Sequence[str]) -> list[str]:
    """Names of the form SPLIT-000000, filled up to a power of two; any others as they are, sorted."""
    found = [NUMBERED.fullmatch(name) for name in names]
    splits = {match[1] for match in found if match}
    if len(splits) != 1 or not all(found):
        return sorted(names)
    split, highest = splits.pop(), max(int(match[2]) for match in found if match)
    return [f"{split}-{number:06d}" for number in range(1 << highest.bit_length())]


def make_order(index: Index, seed: int, order: str, group_shards: int) -> Order:
    """`global` or `blocked`; ValueError otherwise."""
    if order == "global":
        return GlobalOrder(index, seed)
    if order == "blocked":
        return BlockedOrder(index, seed, group_shards)
    raise ValueError(f"the order of reading is global or blocked, not {order!r}")
