"""One walk a kind of image, from its first byte to its last: never a decoder, time linear in bytes, no allocation.

PNG: W3C PNG 3rd edition. JPEG: ITU T.81 annex B. GIF: GIF89a. WebP: RFC 9649. BMP: Microsoft's DIB headers.
Each takes the payload, returns its `Header` and raises `Refused`.
"""

from __future__ import annotations

import re
import struct
import zlib

from tasks.curation.image_headers import (
    BOMB_PIXELS,
    MAXIMUM_CHUNKS,
    MAXIMUM_SCANS,
    MAXIMUM_SEGMENTS,
    Header,
    Refused,
)

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in entropy-coded data: neither a stuffed byte nor a restart
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
_RLE_BYTES = 1 << 20  # Pillow reads run lengths in Python


def png(payload: bytes) -> Header:
    """Chunk by chunk; the CRC of the image data is checked (Pillow passes over it)."""
    width = height = data = others = bits = 0
    frames, interlaced, at = 1, 0, 8
    while True:
        if at + 12 > len(payload):
            raise Refused("truncated", "a PNG without its end")
        length = int.from_bytes(payload[at : at + 4], "big")
        name = payload[at + 4 : at + 8]
        end = at + 12 + length
        if length >= 1 << 31:
            raise Refused("undecodable", "a chunk of more than 2^31 bytes")
        if end > len(payload):
            raise Refused("truncated", "a PNG without its end")
        if (name == b"IHDR") != (at == 8) or (at == 8 and length != 13):
            raise Refused("undecodable", "a PNG has one header, at its beginning")
        if name == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", payload, at + 8)
            bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
        elif name == b"IEND":
            break
        elif name == b"acTL" and length >= 4:
            frames = max(1, int.from_bytes(payload[at + 8 : at + 12], "big"))
        if name in (b"IDAT", b"fdAT"):
            data += 1
            if zlib.crc32(memoryview(payload)[at + 4 : end - 4]) != int.from_bytes(payload[end - 4 : end], "big"):
                raise Refused("undecodable", "the checksum of the image data does not hold")
        elif name != b"fcTL":
            others += 1
        if data > MAXIMUM_CHUNKS or others > MAXIMUM_SEGMENTS:
            raise Refused("bomb", f"more than {MAXIMUM_SEGMENTS if others > MAXIMUM_SEGMENTS else data} chunks")
        at = end
    if not data:
        raise Refused("undecodable", "a PNG without image data")
    passes = _ADAM7 if interlaced else [(0, 0, 1, 1)]
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes if width > x and height > y]
    rows = sum(high * (1 + (wide * bits + 7) // 8) for wide, high in sizes)
    return Header("PNG", width, height, frames, end, len(passes), rows)


def require_rows(payload: bytes, header: Header) -> None:
    """Refused when a PNG's data ends before its last row: Pillow would leave the rest black, and say nothing."""
    if header.kind != "PNG":
        return
    unpack, left, at = zlib.decompressobj(), header.data, 8
    while left > 0 and at < header.end:
        length = int.from_bytes(payload[at : at + 4], "big")
        piece = payload[at + 8 : at + 8 + length] if payload[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
        while piece and left > 0:
            try:
                left -= len(unpack.decompress(piece, 1 << 20))
            except zlib.error:
                raise Refused("undecodable", "the image data cannot be inflated") from None
            piece = unpack.unconsumed_tail
    if left > 0:
        raise Refused("truncated", f"{left} of {header.data} bytes of rows are missing")


def jpeg(payload: bytes) -> Header:
    """Segment by segment, over the scans' data to the next marker."""
    width = height = scans = segments = 0
    at = 2
    while True:
        while payload[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 2 > len(payload):
            raise Refused("truncated", "a JPEG without its end")
        marker = payload[at + 1]
        if payload[at] != 0xFF:
            raise Refused("undecodable", "a JPEG's segment does not begin with a marker")
        segments += 1
        if segments > MAXIMUM_SEGMENTS:
            raise Refused("bomb", f"more than {MAXIMUM_SEGMENTS} segments")
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        if at + 4 > len(payload):
            raise Refused("truncated", "a JPEG without its end")
        begin, at = at + 4, at + 2 + int.from_bytes(payload[at + 2 : at + 4], "big")
        if at < begin:
            raise Refused("undecodable", "a segment shorter than its length field")
        if at > len(payload):
            raise Refused("truncated", "a JPEG without its end")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if width or at - begin < 6:
                raise Refused("undecodable", "a JPEG has one frame header")
            height, width = struct.unpack_from(">HH", payload, begin + 1)
        elif marker == 0xDA:
            scans += 1
            found = _MARKER.search(payload, at)
            if found is None:
                raise Refused("truncated", "a JPEG without its end")
            at = found.start()
    if scans > MAXIMUM_SCANS:
        raise Refused("bomb", f"{scans} scans")
    if not scans:
        raise Refused("undecodable", "a JPEG without image data")
    return Header("JPEG", width, height, 1, at + 2, scans)


def gif(payload: bytes) -> Header:
    """Block by block; the canvas grows to hold every frame, as it does in Pillow."""
    if len(payload) < 13:
        raise Refused("truncated", "a GIF without its end")
    width, height, flags = struct.unpack_from("<HHB", payload, 6)
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    frames = blocks = 0
    while True:
        block = payload[at : at + 1]
        if block == b";":
            break
        if block == b",":
            if at + 11 > len(payload):
                raise Refused("truncated", "a GIF without its end")
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", payload, at + 1)
            width, height = max(width, left + wide), max(height, top + high)
            frames += 1
            at += 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
        elif block == b"!":
            at += 2
        else:
            rule = "undecodable" if block else "truncated"
            raise Refused(rule, "a GIF without its end" if not block else "a block of no known kind")
        while True:
            if at >= len(payload):
                raise Refused("truncated", "a GIF without its end")
            size = payload[at]
            at += 1 + size
            blocks += 1
            if blocks > MAXIMUM_CHUNKS:
                raise Refused("bomb", f"more than {MAXIMUM_CHUNKS} blocks")
            if not size:
                break
    if not frames:
        raise Refused("undecodable", "a GIF without a picture")
    return Header("GIF", width, height, frames, at + 1)


def webp(payload: bytes) -> Header:
    """Chunk by chunk: the canvas of VP8X, else of the one picture; frames are the ANMF chunks."""
    end = 8 + int.from_bytes(payload[4:8], "little")
    if end > len(payload):
        raise Refused("truncated", "a WebP without its end")
    at, width, height, moving, chunks, pictures = 12, 0, 0, 0, 0, 0
    while at + 8 <= end:
        name, size = payload[at : at + 4], int.from_bytes(payload[at + 4 : at + 8], "little")
        body, at = at + 8, at + 8 + size + (size & 1)
        chunks += 1
        if body + size > end:
            raise Refused("undecodable", "a chunk longer than its WebP")
        if chunks > MAXIMUM_SEGMENTS * 10:
            raise Refused("bomb", f"more than {MAXIMUM_SEGMENTS * 10} chunks")
        wide = high = 0
        if name == b"VP8X" and size >= 10:
            wide = 1 + int.from_bytes(payload[body + 4 : body + 7], "little")
            high = 1 + int.from_bytes(payload[body + 7 : body + 10], "little")
        elif name == b"VP8 " and size >= 10:
            wide, high = (n & 0x3FFF for n in struct.unpack_from("<HH", payload, body + 6))
            pictures += 1
        elif name == b"VP8L" and size >= 5:
            bits = int.from_bytes(payload[body + 1 : body + 5], "little")
            wide, high = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
            pictures += 1
        elif name == b"ANMF":
            moving += 1
        width, height = max(width, wide), max(height, high)
    if not pictures and not moving:
        raise Refused("undecodable", "a WebP without a picture")
    return Header("WEBP", width, height, max(1, moving), end)


def bmp(payload: bytes) -> Header:
    """The DIB header; the rows of an uncompressed one are counted."""
    if len(payload) < 26:
        raise Refused("truncated", "a BMP without its header")
    offset, size = struct.unpack_from("<II", payload, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", payload, 18)
        compression = 0
    elif size in (40, 52, 56, 64, 108, 124) and len(payload) >= 54:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", payload, 18)
        height = abs(height)
    else:
        raise Refused("undecodable", "a BMP's header of no known kind")
    if bits not in (1, 2, 4, 8, 16, 24, 32) or width < 1:
        raise Refused("undecodable", "a BMP of no known depth or width")
    if compression in (1, 2):
        if len(payload) > _RLE_BYTES:
            raise Refused("too_large", f"a BMP with run lengths in {len(payload)} bytes, limit {_RLE_BYTES}")
        return Header("BMP", width, height, 1, len(payload))
    if compression not in (0, 3, 6):
        raise Refused("unsupported", f"a BMP of compression {compression}")
    end = offset + (width * bits + 31) // 32 * 4 * height
    if end > len(payload) and width * height <= BOMB_PIXELS:
        raise Refused("truncated", "a BMP without its last rows")
    return Header("BMP", width, height, 1, max(end, offset))
