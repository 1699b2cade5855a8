"""Indexed random access to WebDataset shards in a keyed global order: exactly once an epoch, resumable at any document.

The order of epoch e is a sort by hash of (seed, e, sample key): removing a document moves no other, so every batch
before its first appearance stays as it was. The stream is endless; its whole state is the number of documents read.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ssl_models.keys import fold, sample_words, stream

SHARDS, INDEX = "shards", "index"


@dataclass(frozen=True, slots=True)
class Document:
    """One sample: `position` counts documents read since the run began; `epoch` how often its key came before."""

    position: int
    epoch: int
    key: str
    word: int
    text: str


class Index:
    """Where each sample of a split lies: parallel arrays over samples sorted by key.

    `keys` list of S strings, `words` uint64 [S], `shard` int32 [S], `start` and `length` int64 [S] (bytes of the member
    with `extension`'s data inside its tar).
    """

    def __init__(self, folder: Path, split: str, extension: str = "txt") -> None:
        self.paths = sorted((folder / SHARDS).glob(f"{split}-*.tar"))
        if not self.paths:
            raise ValueError(f"{folder / SHARDS}: there are no {split}-*.tar")
        tables = []
        for number, path in enumerate(self.paths):
            table = _read_index(folder / INDEX / f"{path.stem}.idx", path, extension)
            tables.append(table.append_column("shard", pa.array([number] * len(table), pa.int32())))
        whole = pa.concat_tables(tables).sort_by("key")
        self.keys: list[str] = whole["key"].to_pylist()
        if len(set(self.keys)) != len(self.keys):
            raise ValueError(f"{folder / SHARDS}: two samples of {split} have one key")
        if not self.keys:
            raise ValueError(f"{folder / SHARDS}: the shards of {split} are empty")
        self.words = sample_words(self.keys)
        self.shard = whole["shard"].to_numpy()
        self.start = whole["start"].to_numpy()
        self.length = whole["length"].to_numpy()

    def __len__(self) -> int:
        return len(self.keys)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Sample numbers in the order of `epoch` (int64 [S]); equal hashes are told apart by key."""
        return np.argsort(fold(self.words, stream("order", seed, epoch)), kind="stable")


def _read_index(path: Path, tar: Path, extension: str) -> pa.Table:
    """key, start, length of the members with `extension`; from the Arrow index, or from the tar where there is none."""
    if not path.is_file():
        return scan_tar(tar, extension)
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
        wanted = ["key", f"{extension}.offset", f"{extension}.length"]
        if missing := [name for name in wanted if name not in table.column_names]:
            raise ValueError(f"{path}: the index has no column {missing[0]}")
        types = pa.schema([("key", pa.string()), ("start", pa.int64()), ("length", pa.int64())])
        return pa.Table.from_batches(
            table.select(wanted).rename_columns(["key", "start", "length"]).cast(types).to_batches(), types
        )


def scan_tar(path: Path, extension: str) -> pa.Table:
    """Index a tar by reading its headers: key, start, length of each regular member named KEY.`extension`."""
    keys, starts, lengths = [], [], []
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key, dot, found = member.name.partition(".")
            if member.isreg() and dot and found == extension:
                keys.append(key)
                starts.append(member.offset_data)
                lengths.append(member.size)
    columns = [pa.array(keys, pa.string()), pa.array(starts, pa.int64()), pa.array(lengths, pa.int64())]
    return pa.Table.from_arrays(columns, names=["key", "start", "length"])


class Reader:
    """The endless stream of a split's documents from `position` on; `position` is its whole state.

    Raises ValueError when a shard is shorter than its index says, or a text is no UTF-8.
    """

    def __init__(self, index: Index, seed: int, position: int = 0) -> None:
        self.index, self.seed, self.position = index, seed, position
        self._epoch, self._order = -1, np.empty(0, np.int64)
        self._files: dict[int, int] = {}

    def sample_at(self, position: int) -> tuple[int, int]:
        """(sample number, epoch) of the document at `position`."""
        epoch, offset = divmod(position, len(self.index))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.index.order(self.seed, epoch)
        return int(self._order[offset]), epoch

    def payload(self, position: int) -> bytes:
        """The bytes of the sample at `position`."""
        sample, _ = self.sample_at(position)
        shard, length = int(self.index.shard[sample]), int(self.index.length[sample])
        if shard not in self._files:
            self._files[shard] = os.open(self.index.paths[shard], os.O_RDONLY)
        payload = os.pread(self._files[shard], length, int(self.index.start[sample]))
        if len(payload) != length:
            raise ValueError(f"{self.index.paths[shard]}: the shard is shorter than its index says; verify the corpus")
        return payload

    def read(self, position: int) -> Document:
        """The document at `position`, wherever the stream stands."""
        sample, epoch = self.sample_at(position)
        try:
            text = self.payload(position).decode()
        except UnicodeDecodeError as error:
            path = self.index.paths[int(self.index.shard[sample])]
            raise ValueError(f"{path}: sample {self.index.keys[sample]} is no UTF-8") from error
        return Document(position, epoch, self.index.keys[sample], int(self.index.words[sample]), text)

    def __iter__(self) -> Iterator[Document]:
        return self

    def __next__(self) -> Document:
        document = self.read(self.position)
        self.position += 1
        return document

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
