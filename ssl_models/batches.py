"""Batches of a stream over ranks and workers: batch k is positions kB..(k+1)B-1, however many share it out.

Rank r of R takes the r-th slice of B/R positions of each batch; worker w of W makes each W-th batch. Neither number is
part of the state: a run may go on with others, as long as B is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch.utils.data import IterableDataset, get_worker_info

from ssl_models.reader import Samples


class Stream(Protocol):
    """A reader, or a mixture of them."""

    def take(self, begin: int, end: int) -> Samples: ...


class Batches(IterableDataset[Samples]):
    """This rank's part of every batch from number `first` on, endlessly; also as a `DataLoader`'s data set.

    `batch` counts samples over all ranks. In a loader (`batch_size=None`) its workers take turns and batches arrive in
    order. ValueError when the ranks do not divide the batch, or a rank is not one of them.
    """

    def __init__(self, stream: Stream, batch: int, *, rank: int = 0, ranks: int = 1, first: int = 0) -> None:
        if batch < 1 or ranks < 1 or batch % ranks:
            raise ValueError(f"a batch of {batch} cannot be shared out evenly among {ranks} ranks")
        if not 0 <= rank < ranks:
            raise ValueError(f"there is no rank {rank} among {ranks}")
        if first < 0:
            raise ValueError(f"the first batch is number 0, not {first}")
        self.stream, self.batch, self.rank, self.ranks, self.first = stream, batch, rank, ranks, first

    @classmethod
    def at(cls, stream: Stream, batch: int, position: int, *, rank: int = 0, ranks: int = 1) -> Batches:
        """From the batch that begins at `position`; ValueError when none does: then B is another than it was."""
        if position % batch:
            raise ValueError(f"position {position} is between two batches of {batch}: the batch may not change")
        return cls(stream, batch, rank=rank, ranks=ranks, first=position // batch)

    def part(self, number: int) -> Samples:
        """This rank's samples of batch `number`."""
        share = self.batch // self.ranks
        begin = number * self.batch + self.rank * share
        return self.stream.take(begin, begin + share)

    def __iter__(self) -> Iterator[Samples]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        number = self.first + worker
        while True:
            yield self.part(number)
            number += workers
