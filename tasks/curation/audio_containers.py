"""What an audio payload is by its first bytes, and whether its container is whole: before any decoder sees it.

libsndfile opens some thirty formats, several without a signature, and shortens a cut WAV without a word. Only formats
that are allowed here reach it, and a container that promises more bytes than there are is said to be truncated.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

ALLOWED = ("wav", "rf64", "aiff", "au", "caf", "flac", "ogg", "mp3")

_SIGNATURES = ((b"fLaC", "flac"), (b"OggS", "ogg"), (b".snd", "au"), (b"caff", "caf"), (b"RF64", "rf64"))
#: Sound that libsndfile does not open, or that is not opened here.
_UNSUPPORTED = (
    (b"#!AMR", "AMR"), (b"MThd", "MIDI"), (b"wvpk", "WavPack"), (b"MAC ", "Monkey's Audio"), (b"TTA1", "TTA"),
    (b"\x30\x26\xb2\x75", "ASF"), (b"\x1aE\xdf\xa3", "Matroska"), (b"ADIF", "AAC"), (b"riff\x2e\x91", "Wave64"),
    (b"Creative Voice File", "VOC"), (b"NIST_1A", "NIST SPHERE"),
)  # fmt: skip
#: What is no sound at all, whatever its name says.
_FOREIGN = (
    (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF8", "GIF"), (b"%PDF", "PDF"), (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"), (b"\x7fELF", "ELF"), (b"MZ", "an executable"), (b"#!/", "a script"), (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"7z\xbc\xaf", "7-Zip"), (b"<", "markup"), (b"{", "JSON"),
    (b"\x80\x04\x95", "a pickle"), (b"PAR1", "Parquet"), (b"II*\x00", "TIFF"), (b"MM\x00*", "TIFF"),
)  # fmt: skip
_CHUNKS = 4096  # of a RIFF or an IFF; a sane file has a dozen
_UNKNOWN = (0, 0xFFFFFFFF)  # the sizes that a writer leaves which could not seek back: the sound runs to the end


def sniff(payload: bytes) -> tuple[str, str]:
    """(format, "") for what may be decoded, else ("", the `media.*` rule's name and what was found, tab-separated)."""
    head = payload[:64]
    if not payload:
        return "", "empty\tno bytes"
    if head[:4] == b"RIFF":
        return ("wav", "") if head[8:12] == b"WAVE" else ("", "mislabelled\tRIFF of another kind than WAVE")
    if head[:4] == b"FORM":
        return ("aiff", "") if head[8:12] in (b"AIFF", b"AIFC") else ("", "mislabelled\tIFF, but not AIFF")
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name, ""
    if head[4:8] == b"ftyp":
        return "", "unsupported\tan MPEG-4 container"
    for signature, name in _UNSUPPORTED:
        if head.startswith(signature):
            return "", f"unsupported\t{name}"
    for signature, name in _FOREIGN:
        if head.startswith(signature):
            return "", f"mislabelled\tnot sound but {name}"
    if head[:3] == b"ID3" or _mpeg_audio(head):
        return "mp3", ""
    return "", "undecodable\tno known signature"


def _mpeg_audio(head: bytes) -> bool:
    """Does a frame header of MPEG layer I-III stand here? (Sync word; no reserved version, layer, bit rate or rate.)"""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    return version != 1 and layer != 0 and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3


def missing_bytes(payload: bytes, kind: str) -> str:
    """ "" for a whole container, else what it lacks; ValueError when its chunks cannot be walked.

    MPEG audio and FLAC say how many samples they hold, not how many bytes: there the decoder counts.
    """
    if kind in ("wav", "rf64", "aiff"):
        return _missing_data(payload, kind)
    if kind == "au" and len(payload) >= 12:
        offset, size = struct.unpack(">II", payload[4:12])
        return "" if size in _UNKNOWN else _short(offset + size, len(payload))
    if kind == "ogg":
        return _missing_page(payload)
    return ""


def _missing_data(payload: bytes, kind: str) -> str:
    """Is the chunk with the samples there in full?"""
    wanted, order = (b"SSND", ">") if kind == "aiff" else (b"data", "<")
    long_size = 0
    for name, start, size in _chunks(payload, order):
        if name == b"ds64" and len(payload) >= start + 16:
            long_size = struct.unpack("<Q", payload[start + 8 : start + 16])[0]
        if name == wanted:
            size = long_size if kind == "rf64" and size == 0xFFFFFFFF else size
            return "" if size in _UNKNOWN else _short(start + size, len(payload))
    return "the chunk with the samples"


def _chunks(payload: bytes, order: str) -> Iterator[tuple[bytes, int, int]]:
    """(name, where its data starts, size) of each chunk; ValueError when there are too many."""
    position = 12
    for _ in range(_CHUNKS):
        if position + 8 > len(payload):
            return
        size = struct.unpack(f"{order}I", payload[position + 4 : position + 8])[0]
        yield payload[position : position + 4], position + 8, size
        position += 8 + size + size % 2
    raise ValueError(f"more than {_CHUNKS} chunks")


def _missing_page(payload: bytes) -> str:
    """Does the last Ogg page say that the stream ends, and is it whole?"""
    start = payload.rfind(b"OggS")
    header = payload[start : start + 27]
    if len(header) < 27:
        return "the rest of the last page"
    table = payload[start + 27 : start + 27 + header[26]]
    if len(table) < header[26] or start + 27 + len(table) + sum(table) > len(payload):
        return "the rest of the last page"
    return "" if header[5] & 4 else "the page that ends the stream"


def _short(wanted: int, found: int) -> str:
    return f"{wanted - found} of {wanted} bytes" if found < wanted else ""
