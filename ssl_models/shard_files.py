"""The shards of a split as bytes: `pread` anywhere in one, or all of one in a single sequential read."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ssl_models.shard_cache import Cache, file_system


class _Open(dict[int, int]):
    """Descriptors by shard; what is missing is opened."""

    def __init__(self, files: ShardFiles) -> None:
        self._files = files

    def __missing__(self, number: int) -> int:
        return self._files._descriptor(number)


class ShardFiles:
    """`locations`: local paths, or URLs that are brought into `cache` when they are first read.

    A few hundred files are open at a time, the one opened first is closed for the next. Safe to fork and to
    pickle: a copy opens its own. OSError where the system or the store fails.
    """

    def __init__(self, locations: Sequence[Path | str], cache: Cache | None = None) -> None:
        self.locations, self.cache = list(locations), cache
        self.remote = any(isinstance(location, str) for location in self.locations)
        if self.remote and cache is None:
            raise ValueError("shards at a URL want a cache folder")
        self._names: dict[int, str] = {}
        self._fresh()

    def _fresh(self) -> None:
        self._open = _Open(self)
        self._limit = max(16, min(512, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._threads: ThreadPoolExecutor | None = None
        self._asked: set[int] = set()
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self.locations)

    def size(self, number: int) -> int:
        """The size of a shard."""
        location = self.locations[number]
        if isinstance(location, Path):
            return location.stat().st_size
        system, path = file_system(location)
        return int(system.info(path)["size"])

    def name(self, number: int) -> str:
        """What the local copy of a remote shard is called: looked up once, a run reads one version of a shard."""
        assert self.cache is not None
        if number not in self._names:
            self._names[number] = self.cache.name(str(self.locations[number]))
        return self._names[number]

    def path(self, number: int) -> Path:
        """Where the shard lies on this machine, fetched if need be."""
        location = self.locations[number]
        if isinstance(location, Path):
            return location
        assert self.cache is not None
        return self.cache.fetch(location, self.name(number))

    def pread(self, number: int, length: int, offset: int) -> bytes:
        """`length` bytes from `offset`; fewer only at the shard's end."""
        return os.pread(self._open[number], length, offset)

    def preads(self, numbers: list[int], lengths: list[int], offsets: list[int]) -> list[bytes]:
        """`pread` of each, without a step of Python between them."""
        return list(map(os.pread, map(self._open.__getitem__, numbers), lengths, offsets))

    def whole(self, number: int) -> bytes:
        """All bytes, read from front to back, at once."""
        with open(self._descriptor(number, keep=False), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return file.readall()

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Bring remote shards here in the background; what fails is tried again, and told, when it is read."""
        if not self.remote:
            return
        if self._threads is None or self._process != os.getpid():
            self._fresh()
            self._threads = ThreadPoolExecutor(2, thread_name_prefix="shards")
        for number in numbers:
            if number not in self._asked:
                self._asked.add(number)
                self._threads.submit(self.path, number)

    def forget(self, number: int) -> None:
        """The shard may be asked for in advance once more."""
        self._asked.discard(number)

    def _descriptor(self, number: int, keep: bool = True) -> int:
        for attempt in range(3):
            try:
                descriptor = os.open(self.path(number), os.O_RDONLY)
                break
            except FileNotFoundError:  # another process made room in the cache between the two calls
                if not self.remote or attempt == 2:
                    raise
        if keep:
            if len(self._open) >= self._limit:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[number] = descriptor
        return descriptor

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        if self._threads is not None and self._process == os.getpid():
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None
        self._asked.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {"locations": self.locations, "cache": self.cache}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
