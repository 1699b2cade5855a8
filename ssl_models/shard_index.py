"""Where each sample of a split lies: parallel arrays over its samples, from the index files of its shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_models.index_files import open_index, select
from ssl_models.keys import fold, sample_words, stream
from ssl_models.shard_cache import Cache, listing, require_safe
from ssl_models.shard_files import ShardFiles

SHARDS, INDEX = "shards", "index"


class Keys(Sequence[str]):
    """Sample keys in order, kept as Arrow bytes: ten million take 400 MB, not 1 GB of Python strings."""

    def __init__(self, array: pa.LargeStringArray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, at: Any) -> Any:
        return self.array[at].to_pylist() if isinstance(at, slice) else self.array[int(at)].as_py()

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self.array), 2**16):
            yield from self.array.slice(begin, 2**16).to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Keys):
            return self.array.equals(other.array)
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def take(self, numbers: np.ndarray) -> list[str]:
        return self.array.take(pa.array(numbers)).to_pylist()


class Index:
    """Parallel arrays over the S samples of a split, sorted by key.

    `keys` [S], `words` uint64 [S] (BLAKE2b of the key: what orders, masks and views are keyed by), `shard` int32 [S]
    (number into `shard_names` and `files`), and for each of `extensions` where the data of that member lies in its
    shard: `places[extension]` = start, length, int64 [S] (`start` and `length` are those of the first). Samples without
    one of the members are not in it.
    """

    keys: Keys

    def __init__(
        self, folder: Path | str, split: str, extension: str = "txt", *also: str, cache: Cache | None = None
    ) -> None:
        """The corpus at `folder`, a path or a URL (then with a cache). ValueError when it has no such shards, or two
        samples have one key; when an index lacks a member, or a tar to be indexed is broken."""
        if isinstance(folder, Path) or "://" not in folder:
            base = Path(folder)
            tars: list[Path | str] = [*sorted((base / SHARDS).glob(f"{split}-*.tar"))]
            indexes: list[Path | str | None] = [base / INDEX / f"{path.stem}.idx" for path in map(Path, tars)]
        else:
            url = folder.rstrip("/")
            names = [Path(found).stem for found in listing(f"{url}/{SHARDS}") if fnmatch(found, f"{split}-*.tar")]
            there = set(listing(f"{url}/{INDEX}"))
            tars = [f"{url}/{SHARDS}/{name}.tar" for name in names]
            indexes = [f"{url}/{INDEX}/{name}.idx" if f"{name}.idx" in there else None for name in names]
        if not tars:
            raise ValueError(f"{folder}/{SHARDS}: there are no {split}-*.tar")
        self._load(f"{folder}/{SHARDS}", split, tars, indexes, (extension, *also), cache)

    @classmethod
    def of_tars(
        cls,
        tars: Sequence[Path | str],
        index_folder: Path,
        extension: str,
        *also: str,
        cache: Cache | None = None,
    ) -> Index:
        """WebDataset tars from anywhere: their indexes are kept in `index_folder`."""
        self = object.__new__(cls)
        indexes = [Path(index_folder) / f"{Path(str(tar)).stem}.idx" for tar in tars]
        if len(set(indexes)) < len(indexes):
            raise ValueError("two shards have one name")
        checked = [require_safe(tar) if isinstance(tar, str) and "://" in tar else Path(tar) for tar in tars]
        self._load("the tars", "them", checked, list(indexes), (extension, *also), cache)
        return self

    def _load(
        self,
        where: str,
        split: str,
        tars: list[Path | str],
        indexes: Sequence[Path | str | None],
        extensions: tuple[str, ...],
        cache: Cache | None,
    ) -> None:
        self.files = ShardFiles(tars, cache)
        self.shard_names = [Path(str(tar)).stem for tar in tars]
        self.extensions = extensions
        tables = []
        for number, index in enumerate(indexes):
            table = select(open_index(index, self.files, number), extensions, str(index or tars[number]))
            tables.append(table.append_column("shard", pa.array(np.full(len(table), number, np.int32))))
        whole = pa.concat_tables(tables)
        if not len(whole):
            raise ValueError(f"{where}: the shards of {split} are empty")
        keys = whole["key"].combine_chunks()
        by_key = sort_keys(keys)
        self.keys = Keys(keys.take(pa.array(by_key)))
        self.words = whole["word"].to_numpy()[by_key] if whole["word"].null_count == 0 else hash_keys(self.keys.array)
        equal = np.flatnonzero(self.words[1:] == self.words[:-1])
        if any(self.keys[i] == self.keys[i + 1] for i in equal):
            raise ValueError(f"{where}: two samples of {split} have one key")
        self.shard = whole["shard"].to_numpy()[by_key]
        self.places = {
            name: (whole[f"{name}.offset"].to_numpy()[by_key], whole[f"{name}.length"].to_numpy()[by_key])
            for name in extensions
        }
        self.start, self.length = self.places[extensions[0]]

    def __len__(self) -> int:
        return len(self.keys)

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Sample numbers in the global order of `epoch` (int64 [S]); equal hashes are told apart by key."""
        hashed = fold(self.words, stream("order", seed, epoch))
        order = np.argsort(hashed)
        in_order = hashed[order]
        if (in_order[1:] == in_order[:-1]).any():  # of 10 million keys, once in 400,000 epochs
            return np.argsort(hashed, kind="stable")
        return order


def sort_keys(keys: pa.LargeStringArray) -> np.ndarray:
    """The permutation (int64 [S]) that sorts keys by their UTF-8 bytes: integers first, then what they leave equal."""
    ends = np.frombuffer(keys.buffers()[1], np.int64, len(keys) + 1, keys.offset * 8)
    widths = np.diff(ends)
    if not len(keys) or widths.min() != widths.max() or widths[0] < 8 or widths[0] > 256:
        return pc.sort_indices(keys).to_numpy().astype(np.int64)
    width = int(widths[0])
    raw = np.frombuffer(keys.buffers()[2], np.uint8, len(keys) * width, int(ends[0]))
    head = np.ascontiguousarray(raw.reshape(-1, width)[:, :8]).view(">u8").ravel().astype(np.uint64)
    order = np.argsort(head)
    head = head[order]
    same = head[1:] == head[:-1]
    tied = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
    rows = order[tied]
    order[tied] = rows[np.argsort(raw.view(f"S{width}")[rows], kind="stable")]
    return order


def hash_keys(keys: pa.LargeStringArray) -> np.ndarray:
    """`sample_words` of an Arrow array, a slice at a time."""
    slices = [sample_words(keys.slice(i, 2**16).to_pylist()) for i in range(0, len(keys), 2**16)]
    return np.concatenate([np.empty(0, np.uint64), *slices])
