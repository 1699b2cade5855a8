"""Samples of a WebDataset tar, each whole or refused whole, from a file, a gzip, or any stream of bytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ssl_models.tar_headers import padded
from ssl_models.tars import TAIL, Bomb, Limits, Member, Tar

GZIP = b"\x1f\x8b"
SAMPLE_BYTES = 512 * 2**20
#: A gzip may become so many times larger, and so many bytes in any case; deflate's own limit is 1032.
RATIO, FREE_BYTES = 200, 256 * 2**20


@dataclass(slots=True)
class Sample:
    """Consecutive members of one key. `reason`: of the first member that was refused, and with it the sample.

    Bytes [offset, offset + length) of the tar are all its entries. `payloads`: by extension, if they were asked for.
    """

    key: str
    offset: int
    length: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)
    reason: str = ""


class _Inflated:
    """A gzip read forward, giving up on bombs."""

    def __init__(self, file: BinaryIO) -> None:
        self._raw, self._inflated, self._given = file, gzip.GzipFile(fileobj=file), 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._inflated.read(size)
        self._given += len(data)
        if self._given > FREE_BYTES and self._given > RATIO * self._raw.tell():
            raise Bomb("a gzip that grows without bounds")
        return data

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise OSError("a compressed tar is read forward")

    def tell(self) -> int:
        return self._given


@contextmanager
def open_tar(file: Path | BinaryIO, limits: Limits = Limits()) -> Iterator[Tar]:
    """A tar, plain or in gzip by its first bytes; of a path or an open seekable binary file."""
    opened = open(file, "rb", buffering=16 * 2**10) if isinstance(file, Path) else file  # noqa: SIM115
    try:
        begin = opened.tell()
        compressed = opened.read(2) == GZIP
        opened.seek(begin)
        yield Tar(_Inflated(opened) if compressed else opened, limits)
    finally:
        if isinstance(file, Path):
            opened.close()


def samples(tar: Tar, payloads: bool = False, sample_bytes: int = SAMPLE_BYTES) -> Iterator[Sample]:
    """Members grouped by key, each sample whole; with their data when `payloads`.

    A sample is refused with any of its members. An extension twice in a sample, a key that came before, or members of
    more than `sample_bytes` in all are refused too. What follows a break is the sample `#tail`; the sample that the
    break may have cut is refused with it.
    """
    seen: set[str] = set()
    sample: Sample | None = None
    for member in tar:
        if sample is None or member.key != sample.key:
            if sample is not None:
                if member.key == TAIL and member.reason != "tar.trailing":
                    sample.reason = sample.reason or member.reason
                    sample.payloads = {}
                yield sample
            sample = Sample(member.key, member.offset)
            if member.key in seen:
                sample.reason = "tar.duplicate"
            seen.add(member.key)
        _add(sample, member, tar if payloads else None, sample_bytes)
    if sample is not None:
        yield sample


def _add(sample: Sample, member: Member, tar: Tar | None, sample_bytes: int) -> None:
    data = member.length if member.key == TAIL else padded(member.length)
    sample.length = member.start + data - sample.offset
    if member.extension in sample.members:
        sample.reason = sample.reason or "tar.duplicate"
    sample.reason = sample.reason or member.reason
    sample.members.setdefault(member.extension, member)
    if tar is not None and not sample.reason:
        if sum(one.length for one in sample.members.values()) > sample_bytes:
            sample.reason = "tar.member_too_large"
        else:
            try:
                sample.payloads[member.extension] = tar.read(member)
            except ValueError:
                sample.reason = "tar.truncated"
    if sample.reason:
        sample.payloads = {}
