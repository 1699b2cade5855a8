"""What an encoded image says of itself, read from its bytes before any decoder sees them.

Decoders allocate what a header asks for, so the header is asked first: kind by its signature, pixels, frames, passes,
where the image ends and what lies behind. Six kinds are understood (PNG, JPEG, GIF, WebP, BMP, TIFF); the others that
are known by name are refused by it, none is handed to a program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

KINDS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
BOMB_PIXELS = 178_956_970  # twice a quarter of 1 GiB at 3 bytes a pixel: where Pillow refuses, too
MAXIMUM_SEGMENTS = 1_000  # a JPEG's markers, a PNG's chunks besides its data: a photo has tens
MAXIMUM_CHUNKS = 500_000  # of data; written with 255 bytes each they hold more than any image that is admitted
MAXIMUM_SCANS = 64  # of a progressive JPEG; encoders write about ten
MAXIMUM_DIRECTORIES = 10_000  # of a TIFF


class Refused(ValueError):
    """This payload cannot be made regular: the name of the `media` rule that says so, and evidence without content."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule, self.detail = rule, detail


@dataclass(frozen=True)
class Header:
    """`width`, `height`: the canvas, in pixels as stored; `passes`: how often a decoder goes over it.

    `end`: the offset behind the image's last byte; what follows is no part of it. `data`: bytes that the compressed
    data must come to, where that is known (PNG).
    """

    kind: str
    width: int
    height: int
    frames: int
    end: int
    passes: int = 1
    data: int = 0


_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_OTHERS = (
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"v/1\x01", "OpenEXR"),
    (b"qoif", "QOI"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"#!", "a script"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
)
_MARKUP = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<(?:\?xml|!doctype|!--|svg|html)", re.IGNORECASE)
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
#: Scripts have no place in an image, its comments included: a server or a browser may run the file as one.
_SCRIPT = re.compile(rb"<\?php|<script[\s>]", re.IGNORECASE)
_BEHIND = re.compile(rb"PK\x03\x04|Rar!\x1a|7z\xbc\xaf\x27\x1c|\x7fELF|<html|<svg|<!doctype|\*/|#!/", re.IGNORECASE)


def sniff(payload: bytes) -> str:
    """One of KINDS, by the first bytes. Refused: empty, known but unsupported, or unknown."""
    if not payload:
        raise Refused("empty", "no bytes")
    for signature, kind in _SIGNATURES:
        if payload.startswith(signature):
            return kind
    if payload[:4] == b"RIFF" and payload[8:12] == b"WEBP":
        return "WEBP"
    for signature, name in _OTHERS:
        if payload.startswith(signature):
            raise Refused("unsupported", name)
    if payload[4:8] == b"ftyp":
        raise Refused("unsupported", "AVIF, HEIF or MP4")
    if _MARKUP.match(payload) or _SVG.search(payload[:4096]):
        raise Refused("unsupported", "SVG" if _SVG.search(payload[:4096]) else "markup")
    if not payload.strip(b"\0"):
        raise Refused("unsupported", "nothing but zero bytes")
    raise Refused("unsupported", "no image's signature")


def read_header(payload: bytes) -> Header:
    """The header, once the payload's structure has been walked from end to end.

    Refused: `truncated` where it breaks off, `undecodable` where it contradicts itself, `bomb` where
    it asks for more than any image does, `mislabelled` where it is a file of another kind as well.
    """
    from tasks.curation import image_formats, image_tiff

    kind = sniff(payload)
    walk: Callable[[bytes], Header] = image_tiff.tiff if kind == "TIFF" else getattr(image_formats, kind.lower())
    header = walk(payload)
    if header.width < 1 or header.height < 1:
        raise Refused("undecodable", f"{header.width} x {header.height} pixels")
    if header.width * header.height > BOMB_PIXELS:
        raise Refused("bomb", f"{header.width} x {header.height} pixels in {len(payload)} bytes")
    other = polyglot(payload, header)
    if other:
        raise Refused("mislabelled", f"{header.kind} and {other}")
    return header


def polyglot(payload: bytes, header: Header) -> str:
    """What else this file is, besides an image: "" or the name of it.

    A ZIP is read from its end, a PDF from anywhere in its first 1,024 bytes, a script wherever a server finds one.
    """
    if _ends_as_zip(payload):
        return "a ZIP archive"
    if b"%PDF-" in payload[:1024]:
        return "a PDF"
    if header.kind in ("GIF", "BMP") and payload[len("BM") if header.kind == "BMP" else len("GIF89a") :][:2] == b"/*":
        return "a script"
    if _SCRIPT.search(payload):
        return "a script"
    behind = payload.startswith(b"MZ", header.end) or _BEHIND.search(payload, header.end)
    return "what is behind its end" if behind else ""


def _ends_as_zip(payload: bytes) -> bool:
    """Is there an end of central directory (APPNOTE 4.3.16) that could be one, where readers look for it?"""
    start = max(0, len(payload) - 65_557)
    at = payload.rfind(b"PK\x05\x06", start)
    while at >= 0:
        size = int.from_bytes(payload[at + 12 : at + 16], "little")
        offset = int.from_bytes(payload[at + 16 : at + 20], "little")
        if at + 22 <= len(payload) and size + offset <= at:
            return True
        at = payload.rfind(b"PK\x05\x06", start, at)
    return False
