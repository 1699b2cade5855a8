"""Remote shards on local disk: fetched whole, appearing whole, in a folder bounded in bytes that processes share."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: What may be opened. `pipe:` runs a shell elsewhere, and fsspec's chains (`a::b`) open whatever they name.
SCHEMES = frozenset(["file", "s3", "gs", "gcs", "az", "abfs", "http", "https", "hf", "memory"])
CHUNK = 8 * 2**20
DEFAULT_BYTES = 20 * 2**30


def require_safe(url: str) -> str:
    """The URL as it is. ValueError when its scheme is none that is known to only read."""
    scheme, found, _ = url.partition(":")
    if not found or scheme not in SCHEMES or "::" in url or not url.startswith(f"{scheme}://"):
        raise ValueError(f"a shard is a path or one of {', '.join(sorted(SCHEMES))}://...; this is refused: {url[:80]}")
    return url


def file_system(url: str) -> tuple[Any, str]:
    """(fsspec file system, path in it). ValueError for a URL that is refused, or whose client is not installed."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(require_safe(url))
    except ImportError as error:
        raise ValueError(f"{url[:80]}: {error}") from error


def listing(url: str) -> list[str]:
    """Names of what lies in the folder at `url`, sorted; one request then tells sizes and versions of all of it."""
    system, path = file_system(url)
    system.invalidate_cache(path)
    try:
        return sorted(found.rstrip("/").rpartition("/")[2] for found in system.ls(path, detail=False))
    except FileNotFoundError:
        return []


class Cache:
    """Files of at most `maximum_bytes` in all, least recently used out first.

    A file is there whole or not at all: it is written beside its place, its room taken beforehand, and renamed. Its
    name holds the URL and what the store says of the object's version, so a changed object is fetched anew. A process
    that is killed leaves a part that the next one takes over.
    """

    def __init__(self, folder: Path, maximum_bytes: int = DEFAULT_BYTES) -> None:
        self.folder, self.maximum_bytes = Path(folder), maximum_bytes
        self.fetched = 0  # files brought here by this object

    def name(self, url: str) -> str:
        """What the object at `url` is called here, as it is now."""
        system, path = file_system(url)
        try:
            version = str(system.ukey(path))
        except FileNotFoundError as error:
            raise ValueError(f"{url}: there is no such object") from error
        return hashlib.sha256(f"{url}\0{version}".encode()).hexdigest()[:32] + Path(path).suffix

    def fetch(self, url: str, name: str | None = None) -> Path:
        """The local copy. ValueError when it is larger than the whole cache; OSError when the store fails."""
        place = self.folder / (name or self.name(url))
        if place.exists():
            with suppress(FileNotFoundError):
                os.utime(place)  # used: another process may delete it in this moment, and the caller comes back
                return place
        system, path = file_system(url)
        size = int(system.info(path)["size"])
        if size > self.maximum_bytes:
            raise ValueError(f"{url}: {size:,} bytes do not fit into a cache of {self.maximum_bytes:,}")
        self.folder.mkdir(parents=True, exist_ok=True)
        with _owned(place) as descriptor:
            if descriptor is None:
                return place
            part = _part(place)
            with self._room(size, keep=part):
                os.ftruncate(descriptor, size)
            at = 0
            while at < size and (data := system.cat_file(path, start=at, end=min(size, at + CHUNK))):
                os.pwrite(descriptor, data, at)
                at += len(data)
            if at != size:
                raise OSError(f"{url}: {at:,} of {size:,} bytes came")
            os.replace(part, place)
        self.fetched += 1
        return place

    def put(self, name: str, content: bytes) -> Path:
        """A small file of our own beside the shards, whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{name}.{os.getpid()}.tmp"
        temporary.write_bytes(content)
        with self._room(0, keep=temporary):
            os.replace(temporary, self.folder / name)
        return self.folder / name

    @contextmanager
    def _room(self, size: int, keep: Path) -> Iterator[None]:
        """Delete what was used least recently until `size` bytes fit; then take them, before anyone else looks."""
        with open(self.folder / ".lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = []
            for entry in os.scandir(self.folder):
                if entry.name == ".lock" or entry.path == str(keep):
                    continue
                with suppress(FileNotFoundError):
                    stat = entry.stat()
                    entries.append((entry.name.startswith("."), stat.st_mtime_ns, entry.name, stat.st_size))
            total = size + sum(entry[3] for entry in entries)
            for hidden, _, name, held in sorted(entries):
                if total <= self.maximum_bytes:
                    break
                if hidden and not _abandoned(self.folder / name):
                    continue
                with suppress(FileNotFoundError):
                    os.unlink(self.folder / name)
                total -= held
            yield


def _part(place: Path) -> Path:
    return place.with_name(f".{place.name}.part")


@contextmanager
def _owned(place: Path) -> Iterator[int | None]:
    """The part of `place`, locked: one process fetches, others wait, a killed one lets go. None: it is there by now."""
    part = _part(place)
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                ours = os.stat(part).st_ino == os.fstat(descriptor).st_ino
            except FileNotFoundError:
                ours = False
            if place.exists():
                if ours:
                    os.unlink(part)
                yield None
                return
            if ours:
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _abandoned(part: Path) -> bool:
    """Whether no process is fetching into this part."""
    with suppress(OSError), open(part, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
