"""WebDataset shards, read exactly once an epoch in a keyed order, endlessly, from any position on.

The order of an epoch is a function of (seed, epoch, sample keys) alone (ssl_models.orders): removing a document moves
no other, so every batch before its first appearance stays as it was. The number of samples read is the whole state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ssl_models.config import Train
from ssl_models.index_files import scan_tar
from ssl_models.orders import BlockedOrder, make_order
from ssl_models.shard_index import INDEX, SHARDS, Index

__all__ = ["INDEX", "SHARDS", "Document", "Index", "Reader", "Samples", "open_reader", "scan_tar"]

AHEAD = 1024  # positions whose samples are looked up at once


@dataclass(frozen=True, slots=True)
class Document:
    """One sample: `position` counts documents read since the run began; `epoch` how often its key came before."""

    position: int
    epoch: int
    key: str
    word: int
    text: str


class Samples(NamedTuple):
    """Consecutive samples: `keys`, `payloads` (bytes of the index's first member) lists of N; `words` uint64, `epochs`
    and `numbers` (in the index) int64 [N]; the first one's `position`."""

    position: int
    numbers: np.ndarray
    epochs: np.ndarray
    words: np.ndarray
    keys: list[str]
    payloads: list[bytes]


class Reader:
    """The endless stream of a split's documents from `position` on; `position` is its whole state.

    `order` global: any sample from anywhere, by `pread`, over local shards (remote ones must all fit into the cache).
    `order` blocked: `group_shards` shards at a time, each read once from front to back into memory, of which at most
    `memory_bytes` are held; the next group's remote shards come meanwhile.
    Raises ValueError when the shards do not fit these bounds, a shard is shorter than its index says, or a text is no
    UTF-8.
    """

    def __init__(
        self,
        index: Index,
        seed: int,
        position: int = 0,
        *,
        order: str = "global",
        group_shards: int = 8,
        memory_bytes: int = 2**30,
    ) -> None:
        self.index, self.seed, self.position = index, seed, position
        self.order = make_order(index, seed, order, group_shards)
        self.memory_bytes = memory_bytes
        self._blocked = isinstance(self.order, BlockedOrder)
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._held_bytes = 0
        self._first = 0
        self._numbers: list[int] = []
        self._epochs: list[int] = []
        self._prefetch = False
        self._announced = range(0)
        if self._blocked or getattr(index, "files", None) is not None and index.files.remote:
            self._require_room(group_shards)

    def _require_room(self, group_shards: int) -> None:
        files = self.index.files
        sizes = sorted((files.size(number) for number in range(len(files))), reverse=True)
        cache = files.cache.maximum_bytes if files.remote and files.cache else None
        if not self._blocked:
            if cache is not None and sum(sizes) > cache:
                raise ValueError(
                    f"the global order reads {sum(sizes):,} bytes of shards at random, and the cache holds {cache:,}: "
                    "give it more, or read in the blocked order"
                )
            return
        group = sum(sizes[:group_shards])
        if group > self.memory_bytes:
            raise ValueError(
                f"a group of {group_shards} shards may have {group:,} bytes, and {self.memory_bytes:,} are allowed in "
                "memory: take fewer shards a group, or allow more"
            )
        if cache is not None and group > cache:
            raise ValueError(
                f"a group of {group_shards} shards may have {group:,} bytes, and the cache holds {cache:,}"
            )
        self._prefetch = cache is not None and sum(sizes[: 2 * group_shards]) <= cache

    def __len__(self) -> int:
        """Samples an epoch."""
        return len(self.index)

    def places(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """(sample numbers, epochs), int64, of the positions from `begin` up to `end`."""
        return self.order.at(begin, end)

    def sample_at(self, position: int) -> tuple[int, int]:
        """(sample number, epoch) of the document at `position`."""
        if not 0 <= position - self._first < len(self._numbers):
            numbers, epochs = self.order.at(position, position + AHEAD)
            self._first, self._numbers, self._epochs = position, numbers.tolist(), epochs.tolist()
        at = position - self._first
        return self._numbers[at], self._epochs[at]

    def payload(self, position: int, extension: str | None = None) -> bytes:
        """The bytes of the sample at `position`: of the index's first member, or of `extension`'s."""
        if self._prefetch and position not in self._announced:
            self._announce(position)
        return self.data(self.sample_at(position)[0], extension)

    def data(self, sample: int, extension: str | None = None) -> bytes:
        """The bytes of sample number `sample`: of the index's first member, or of `extension`'s."""
        index = self.index
        start, length = index.places[extension] if extension else (index.start, index.length)
        return self._bytes(int(index.shard[sample]), int(start[sample]), int(length[sample]))

    def read(self, position: int) -> Document:
        """The document at `position`, wherever the stream stands."""
        sample, epoch = self.sample_at(position)
        try:
            text = self.payload(position).decode()
        except UnicodeDecodeError as error:
            shard = self.index.files.locations[int(self.index.shard[sample])]
            raise ValueError(f"{shard}: sample {self.index.keys[sample]} is no UTF-8") from error
        return Document(position, epoch, self.index.keys[sample], int(self.index.words[sample]), text)

    def take(self, begin: int, end: int) -> Samples:
        """The samples of the positions from `begin` up to `end`, wherever the stream stands."""
        if self._prefetch and begin not in self._announced:
            self._announce(begin)
        index = self.index
        numbers, epochs = self.order.at(begin, end)
        shards, starts = index.shard[numbers].tolist(), index.start[numbers].tolist()
        lengths = index.length[numbers].tolist()
        if self._blocked:
            held, ends = self._held, (index.start[numbers] + index.length[numbers]).tolist()
            where = zip(shards, starts, ends, strict=True)
            payloads = [(held.get(shard) or self._hold(shard))[start:end] for shard, start, end in where]
        else:
            payloads = index.files.preads(shards, lengths, starts)
        if list(map(len, payloads)) != lengths:
            raise self._short(next(s for s, p, n in zip(shards, payloads, lengths, strict=True) if len(p) != n))
        return Samples(begin, numbers, epochs, index.words[numbers], index.keys.take(numbers), payloads)

    def _bytes(self, shard: int, start: int, length: int) -> bytes:
        if self._blocked:
            payload = (self._held.get(shard) or self._hold(shard))[start : start + length]
        else:
            payload = self.index.files.pread(shard, length, start)
        if len(payload) != length:
            raise self._short(shard)
        return payload

    def _short(self, shard: int) -> ValueError:
        location = self.index.files.locations[shard]
        return ValueError(f"{location}: the shard is shorter than its index says; verify the corpus")

    def _hold(self, shard: int) -> bytes:
        """All of a shard, and of those before it the last ones that there is room for."""
        content = self.index.files.whole(shard)
        self.index.files.forget(shard)
        while self._held and self._held_bytes + len(content) > self.memory_bytes:
            self._held_bytes -= len(self._held.popitem(last=False)[1])
        self._held[shard] = content
        self._held_bytes += len(content)
        return content

    def _announce(self, position: int) -> None:
        shards, until = self.order.shards_near(position)
        self._announced = range(position, until)
        self.index.files.prefetch(shard for shard in shards if shard not in self._held)

    def __iter__(self) -> Iterator[Document]:
        return self

    def __next__(self) -> Document:
        document = self.read(self.position)
        self.position += 1
        return document

    def close(self) -> None:
        self._held.clear()
        self._held_bytes = 0
        if (files := getattr(self.index, "files", None)) is not None:
            files.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def open_reader(index: Index, train: Train) -> Reader:
    """The stream that a recipe's train section asks for."""
    return Reader(index, train.seed, order=train.order, group_shards=train.group_shards)
