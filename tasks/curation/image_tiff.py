"""The walk over a TIFF (6.0): its directories, and the sizes of the first."""

from __future__ import annotations

import struct

from tasks.curation.image_headers import MAXIMUM_DIRECTORIES, MAXIMUM_SCANS, Header, Refused

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of a type
_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}  # none, CCITT, LZW, JPEG, deflate, PackBits
_JPEG = 7
_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 322, 323


def tiff(payload: bytes) -> Header:
    """The chain of directories; sizes of the first, every offset inside the file, no directory twice."""
    order = "<" if payload[:2] == b"II" else ">"
    seen: set[int] = set()
    first: dict[int, int] = {}
    (at,) = struct.unpack_from(order + "I", payload.ljust(8, b"\0"), 4)
    while at:
        if at in seen:
            raise Refused("undecodable", "the directories of this TIFF go round")
        if len(seen) >= MAXIMUM_DIRECTORIES:
            raise Refused("bomb", f"more than {MAXIMUM_DIRECTORIES} directories")
        if at + 2 > len(payload):
            raise Refused("truncated", "a directory behind the end of the file")
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", payload, at)
        if at + 6 + 12 * count > len(payload):
            raise Refused("truncated", "a directory behind the end of the file")
        if len(seen) == 1:
            first = _tiff_tags(payload, at + 2, count, order)
        (at,) = struct.unpack_from(order + "I", payload, at + 2 + 12 * count)
    width, height = first.get(_WIDTH, 0), first.get(_HEIGHT, 0)
    compression = first.get(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise Refused("unsupported", f"a TIFF of compression {compression}")
    if compression == _JPEG and payload.count(b"\xff\xda") > MAXIMUM_SCANS + height:
        raise Refused("bomb", "a TIFF of JPEG with more scans than rows")
    tile = first.get(_TILE_WIDTH, 0) * first.get(_TILE_HEIGHT, 0)
    if tile > 4 * max(width * height, 1 << 16):
        raise Refused("bomb", "a tile larger than its picture")
    return Header("TIFF", width, height, len(seen), len(payload))


def _tiff_tags(payload: bytes, at: int, count: int, order: str) -> dict[int, int]:
    """The tags of one short or long; Refused when the values of any lie outside the file."""
    found = {}
    for number in range(count):
        tag, kind, values = struct.unpack_from(order + "HHI", payload, at + 12 * number)
        size = values * _SIZES.get(kind, 1)
        if size > 4:
            (offset,) = struct.unpack_from(order + "I", payload, at + 12 * number + 8)
            if offset + size > len(payload):
                raise Refused("truncated", "the values of a tag behind the end of the file")
        elif values == 1 and kind in (3, 4):
            (found[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), payload, at + 12 * number + 8)
    return found
