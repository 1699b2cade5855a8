"""Reading tars that others made: headers only, nothing unpacked, nothing executed, everything bounded.

A shard is data, not a file system. What could escape it (absolute names, `..`, links, devices), run (pickles,
libraries) or exhaust the reader (sparse members, giant extended headers, millions of members, compression bombs) is
named with its reason and skipped; where the archive itself breaks, what follows is one entry of its own. Formats:
POSIX.1-1988 ustar, POSIX.1-2001 pax, GNU (long names, base-256 sizes), as in `man 5 tar`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ssl_models.tar_headers import (
    BLOCK,
    DIRECTORY,
    LONG_LINK,
    LONG_NAME,
    PAX,
    PAX_GLOBAL,
    REFUSED,
    REGULAR,
    SPARSE,
    Broken,
    number,
    padded,
    pax_records,
    split_name,
    verify,
)

TAIL = "#tail"  # the name of the entry for everything behind a break


@dataclass(frozen=True)
class Limits:
    """What one archive may hold; beyond it members are refused, never read."""

    member_bytes: int = 256 * 2**20
    header_bytes: int = 64 * 2**10  # an extended header: pax records, or a GNU long name
    name_bytes: int = 4096
    members: int = 1_000_000


class Member(NamedTuple):
    """One entry. Bytes [offset, start) are its headers, [start, start + length) its data; `extension` is lower-case.

    `reason`: "" when it may be read, else why not (``tar.*``); then key and name are as found and no path to follow.
    """

    name: str
    key: str
    extension: str
    offset: int
    start: int
    length: int
    reason: str


class Bomb(OSError):
    """A compressed stream gives far more than went in."""


class Stream(Protocol):
    """What a tar is read from. Only where it is seekable are `seek` and `tell` called."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seekable(self) -> bool: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class Tar:
    """The members of a tar in order, from a file or any stream with `read`. Entries for directories are passed over.

    A stream is read forward only and must be uncompressed; `read(member)` then works for the member just given.
    """

    def __init__(self, stream: Stream, limits: Limits = Limits()) -> None:
        self.limits, self._stream = limits, stream
        self.seekable = stream.seekable()
        self._position = stream.tell() if self.seekable else 0
        self._size: int | None = None
        if self.seekable:
            self._size = stream.seek(0, 2)
            stream.seek(self._position)
        self._begin = 0  # of the entry being read: its first header
        self._pax: dict[str, str] = {}
        self._long_name: bytes | None = None
        self._doubt = ""  # what was wrong with the extended headers before a member

    def __iter__(self) -> Iterator[Member]:
        count = 0
        while True:
            self._begin, self._pax, self._long_name, self._doubt = self._position, {}, None, ""
            try:
                member = self._next()
                if member is not None and count >= self.limits.members:
                    raise Broken("tar.too_many")
            except Broken as broken:
                yield self._tail(str(broken))
                return
            if member is None:
                return
            if member.reason == "directory":
                self._skip_to(member.start + member.length)
                continue
            count += 1
            yield member
            try:
                self._skip_to(member.start + padded(member.length))
            except Broken as broken:
                yield self._tail(str(broken))
                return

    def read(self, member: Member) -> bytes:
        """The member's data. ValueError when it was refused, is too large, or not all there."""
        if member.reason:
            raise ValueError(f"a member is not read: {member.reason}")
        if self.seekable:
            self._stream.seek(member.start)
            self._position = member.start
        elif self._position != member.start:
            raise ValueError("a stream gives the data of the member that it has just come to, once")
        try:
            data = self._read(member.length)
        except Broken as broken:
            raise ValueError(f"a member is not read: {broken}") from broken
        if len(data) != member.length:
            raise ValueError("a member is shorter than its header says")
        return data

    def _next(self) -> Member | None:
        while True:
            header = self._read(BLOCK)
            if len(header) < BLOCK:  # also where nothing is left: an archive ends with an empty block
                raise Broken("tar.truncated")
            if header.count(0) == BLOCK:
                self._end()
                return None
            verify(header)
            size, kind = number(header[124:136]), header[156:157]
            if kind in (PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK):
                self._extended(kind, size)
                continue
            return self._member(header, size, kind)

    def _member(self, header: bytes, size: int, kind: bytes) -> Member:
        doubt = self._doubt or REFUSED.get(kind, "")
        raw = self._long_name
        if raw is None:
            raw = header[:100].partition(b"\0")[0]
            prefix = header[345:500].partition(b"\0")[0]
            if prefix and header[257:263] == b"ustar\0":
                raw = prefix + b"/" + raw
        try:
            name = self._pax["path"] if "path" in self._pax else raw.decode()
        except UnicodeDecodeError:
            name, doubt = raw.decode(errors="replace"), doubt or "tar.name"
        if "size" in self._pax:
            if not self._pax["size"].isdecimal() or len(self._pax["size"]) > 20:
                raise Broken("tar.pax")
            size = int(self._pax["size"])
        if kind == SPARSE or any(name.startswith("GNU.sparse") for name in self._pax):
            doubt = doubt or "tar.sparse"
            extended = kind == SPARSE and header[482] != 0
            while extended:  # the rest of the map: blocks between header and data
                block = self._read(BLOCK)
                if len(block) < BLOCK:
                    raise Broken("tar.truncated")
                extended = block[504] != 0
        if kind in (b"1", b"2", b"3", b"4", b"6"):
            size = 0  # whatever the header says: such an entry has no data
        start = self._position
        if kind == DIRECTORY or (kind in REGULAR and raw.endswith(b"/")):
            return Member(name, "", "", self._begin, start, 0, "directory")
        if not doubt and kind not in REGULAR:
            doubt = "tar.unknown_type"
        key, extension, wrong = split_name(name, self.limits.name_bytes)
        doubt = doubt or wrong
        if self._size is not None and start + size > self._size:
            raise Broken("tar.truncated")
        if not doubt and size > self.limits.member_bytes:
            doubt = "tar.member_too_large"
        return Member(name, key, extension, self._begin, start, size, doubt)

    def _extended(self, kind: bytes, size: int) -> None:
        end = self._position + padded(size)
        if size > self.limits.header_bytes:
            self._doubt = "tar.header_too_large"
            self._skip_to(end)
            return
        data = self._read(size)
        if len(data) < size:
            raise Broken("tar.truncated")
        self._skip_to(end)
        if kind == LONG_NAME:
            self._long_name = data.rstrip(b"\0")
        elif kind in (PAX, PAX_GLOBAL):
            records = pax_records(data)
            if kind == PAX:
                self._pax.update(records)
            elif any(name in ("path", "size", "linkpath") or name.startswith("GNU.sparse") for name in records):
                raise Broken("tar.pax")  # one name or size for all that follow: no writer does that

    def _end(self) -> None:
        """Behind the first empty block there are only zeros, or what follows is no part of the archive."""
        while block := self._read(2**20):
            if block.count(0) != len(block):
                self._begin = self._position - len(block.lstrip(b"\0"))
                raise Broken("tar.trailing")

    def _tail(self, reason: str) -> Member:
        end = self._size
        if end is None:
            try:
                while self._read(2**20):
                    pass
            except Broken:  # as far as it goes
                pass
            end = self._position
        return Member(TAIL, TAIL, "", self._begin, self._begin, end - self._begin, reason)

    def _read(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except (OSError, EOFError, zlib.error) as error:  # of a compressed stream
            raise Broken("tar.bomb" if isinstance(error, Bomb) else "tar.truncated") from error
        self._position += len(data)
        return data

    def _skip_to(self, position: int) -> None:
        if self.seekable:
            assert self._size is not None
            self._stream.seek(min(position, self._size))
            self._position = position
            return
        while self._position < position:
            if not self._read(min(2**20, position - self._position)):
                raise Broken("tar.truncated")
