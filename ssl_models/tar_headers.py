"""The fields of a tar's header blocks: numbers, check sum, pax records (`man 5 tar`; POSIX.1-2001)."""

from __future__ import annotations

import re

BLOCK = 512
REGULAR, DIRECTORY = (b"0", b"\0", b"7"), b"5"
PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK = b"x", b"g", b"L", b"K"
SPARSE = b"S"
#: Types that carry no data, whatever their size says.
REFUSED = {b"1": "tar.hardlink", b"2": "tar.symlink", b"3": "tar.device", b"4": "tar.device", b"6": "tar.fifo"}


#: What opening such a file may run or load; `npz` and `npy` may hold pickled objects.
EXECUTABLE = frozenset(
    "pyd pkl pickle pth pt joblib dill npy npz py pyc pyo so dll dylib exe com bat cmd sh ps1 js jar class".split()  # noqa: SIM905
)
KEY = re.compile(r"((?:.*/|)[^/.]+)\.([^/]*)")  # webdataset's: up to the first dot of the last part


class Broken(Exception):
    """The archive cannot be followed any further; the reason is the argument."""


def padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def number(raw: bytes) -> int:
    """An octal field, or GNU's base-256 one."""
    if raw[0] == 0x80:
        return int.from_bytes(raw[1:], "big")
    try:
        return int(raw.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise Broken("tar.header") from None


def verify(header: bytes) -> None:
    """The check sum, over unsigned bytes or (old Suns) signed ones."""
    said = number(header[148:156])
    counted = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if said != counted:
        high = sum(1 for byte in header if byte > 127) - sum(1 for byte in header[148:156] if byte > 127)
        if said != counted - 256 * high:
            raise Broken("tar.header")


def pax_records(data: bytes) -> dict[str, str]:
    """`LENGTH NAME=VALUE` lines, strictly."""
    records = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        digits = data[at:space] if space > at else b""
        end = at + int(digits) if digits.isdigit() else 0
        line = data[space + 1 : end]
        if not at < end <= len(data) or not line.endswith(b"\n") or b"=" not in line:
            raise Broken("tar.pax")
        name, _, value = line[:-1].partition(b"=")
        try:
            records[name.decode()] = value.decode()
        except UnicodeDecodeError:
            raise Broken("tar.pax") from None
        at = end
    return records


def split_name(name: str, limit: int) -> tuple[str, str, str]:
    """(key, lower-case extension, reason) of a member called `name`; reason "" when it may be read."""
    while name.startswith("./"):
        name = name[2:]
    if len(name.encode()) > limit:
        return name[:64], "", "tar.name"
    if not name.isprintable() or "\\" in name:
        return name, "", "tar.name"
    if ".." in name and ".." in name.split("/"):
        return name, "", "tar.parent"
    found = KEY.fullmatch(name)
    if not found:
        return name, "", "tar.absolute" if name.startswith("/") else "tar.no_extension"
    key, extension = found[1], found[2].lower()
    if name.startswith("/"):
        return key, extension, "tar.absolute"
    return key, extension, "" if EXECUTABLE.isdisjoint(extension.split(".")) else "tar.executable"
