"""Bytes -> lines in bounded memory, out of plain, gzipped or zstd streams, whole or broken."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

_CHUNK = 1 << 16  # bytes read at once
_ZSTD_CHUNK = 1 << 9  # a zstd block of 4 bytes can stand for 128 KiB: this bounds one output at 16 MiB
_PIECE = 1 << 20  # bytes that one gzip step may give


class Broken(Exception):
    """A compressed stream ends or breaks here. `rest` bytes of it were not decoded."""

    def __init__(self, reason: str, rest: int) -> None:
        super().__init__(reason)
        self.reason, self.rest = reason, rest


@dataclass(slots=True)
class Line:
    """One line without its line end, or what came after the last whole one.

    Where it is longer than the limit, or part of a broken stream, `data` is empty and `sha256`, `size` are its own.
    """

    number: int  # from 1
    data: bytes
    fault: str = ""  # "", ingest.too_large, ingest.truncated
    detail: str = ""
    sha256: str = ""
    size: int = 0


def decompressed(file: BinaryIO, suffix: str) -> Iterator[bytes]:
    """The stream's bytes in pieces; `suffix` is ".gz", ".zst" or "". Broken where a compressed stream is.

    How much comes out before a break depends on the stream alone.
    """
    size = _ZSTD_CHUNK if suffix == ".zst" else _CHUNK

    def read() -> bytes:
        found = b""
        while len(found) < size and (more := file.read(size - len(found))):  # a remote file may give less at a time
            found += more
        return found

    if suffix == ".gz":
        return _gunzip(read)
    if suffix == ".zst":
        return _unzstd(read)
    return iter(read, b"")


def _gunzip(read: Callable[[], bytes]) -> Iterator[bytes]:
    member = None  # what decodes the current gzip member
    while chunk := read():
        while chunk:
            if member is None:
                chunk = chunk.lstrip(b"\0")  # padding between members is allowed
                if not chunk:
                    break
                member = zlib.decompressobj(wbits=31)
            before = member.copy()
            try:
                piece = member.decompress(chunk, _PIECE)
            except zlib.error:
                rest = len(chunk)
                for byte in chunk:  # step by step to the very byte: the pieces before it are good
                    try:
                        piece = before.decompress(bytes([byte]))
                    except zlib.error:
                        break
                    rest -= 1
                    if piece:
                        yield piece
                raise Broken("corrupt gzip data", rest + _drain(read)) from None
            if piece:
                yield piece
            chunk = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member = None
    if member is not None:
        if piece := member.flush():
            yield piece
        raise Broken("the gzip stream ends too early", 0)


def _unzstd(read: Callable[[], bytes]) -> Iterator[bytes]:
    import zstandard

    frame = None
    while chunk := read():
        while chunk:
            if frame is None:
                frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                piece = frame.decompress(chunk)
            except zstandard.ZstdError:
                raise Broken("corrupt zstd data", len(chunk) + _drain(read)) from None
            if piece:
                yield piece
            chunk = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = None
    if frame is not None:
        raise Broken("the zstd stream ends too early", 0)


def _drain(read: Callable[[], bytes]) -> int:
    count = 0
    while chunk := read():
        count += len(chunk)
    return count


class Hashed:
    """Bytes kept as long as they are at most `limit`, and counted and hashed beyond it."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self._kept: list[bytes] = []
        self._hash: Any = None

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self._hash is None and self.size <= self.limit:
            self._kept.append(data)
            return
        if self._hash is None:
            self._hash = hashlib.sha256(b"".join(self._kept))
            self._kept.clear()
        self._hash.update(data)

    @property
    def overflowed(self) -> bool:
        return self._hash is not None

    def data(self) -> bytes:
        return b"".join(self._kept)

    def sha256(self) -> str:
        return self._hash.hexdigest() if self._hash else hashlib.sha256(self.data()).hexdigest()


def lines(pieces: Iterator[bytes], limit: int) -> Iterator[Line]:
    """The lines of a stream, blank ones too, ended by LF or CRLF; at most about `limit` bytes are held.

    A byte order mark at the start is dropped. What follows the last whole line of a broken stream is one Line.
    """
    number = 1
    rest = Hashed(limit)
    reason = ""
    try:
        for piece in pieces:
            head, *others = piece.split(b"\n")
            rest.add(head)
            for other in others:
                yield _line(number, rest)
                number += 1
                rest = Hashed(limit)
                rest.add(other)
    except Broken as broken:
        reason = f"{broken.reason}: {rest.size} bytes after the last whole line, {broken.rest} compressed bytes unread"
    if reason:
        yield Line(number, b"", "ingest.truncated", reason, rest.sha256(), rest.size)
    elif rest.size:
        yield _line(number, rest)


def _line(number: int, found: Hashed) -> Line:
    if found.overflowed:
        detail = f"a line of {found.size} bytes, limit {found.limit}"
        return Line(number, b"", "ingest.too_large", detail, found.sha256(), found.size)
    data = found.data().removesuffix(b"\r")
    return Line(number, data.removeprefix(b"\xef\xbb\xbf") if number == 1 else data)
