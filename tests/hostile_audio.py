"""Audio payloads that break readers, made here by hand; each with the rule that must quarantine it ("": made regular).

Run as a program on a folder that `write` has filled it puts all of them through `regularise_audio` in one process and
prints, as JSON, for each the rule, the seconds it took, and how far the peak memory of the process has risen so far.
"""

from __future__ import annotations

import io
import json
import resource
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def tone(seconds: float, rate: int = RATE, channels: int = 1, frequency: float = 440.0) -> np.ndarray:
    """float32 [frames, channels]: a decaying tone, the same on every channel."""
    t = np.arange(int(seconds * rate)) / rate
    wave = 0.4 * np.sin(2 * np.pi * frequency * t) * np.exp(-t / max(seconds, 1e-9))
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


def coded(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
    return stream.getvalue()


def wav(
    data: bytes, *, size: int | None = None, rate: int = RATE, channels: int = 1, code: int = 1, bits: int = 16
) -> bytes:
    """A WAV file with whatever its header is to say."""
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", code, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    size = len(data) if size is None else size
    return (
        b"RIFF"
        + struct.pack("<I", size + 36 & 0xFFFFFFFF)
        + b"WAVEfmt \x10\0\0\0"
        + form
        + b"data"
        + struct.pack("<I", size)
        + data
    )


def _ogg_that_lies() -> bytes:
    """The granule position of the last page says 2**62 samples; the check sum is made to fit."""
    payload = bytearray(coded(tone(1), kind="OGG", subtype="VORBIS"))
    start = payload.rfind(b"OggS")
    payload[start + 6 : start + 14] = struct.pack("<q", 2**62)
    payload[start + 22 : start + 26] = bytes(4)
    crc = 0
    for byte in payload[start:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    payload[start + 22 : start + 26] = struct.pack("<I", crc)
    return bytes(payload)


def _flac_that_lies() -> bytes:
    """STREAMINFO says 2**36 - 1 samples."""
    payload = bytearray(coded(tone(1), kind="FLAC"))
    payload[21] |= 0x0F
    payload[22:26] = b"\xff\xff\xff\xff"
    return bytes(payload)


def _flac_of_unknown_length(seconds: int) -> bytes:
    """Silence, very well compressed, whose header says that its length is unknown: a bomb in time."""
    payload = bytearray(coded(np.zeros((seconds * RATE, 1), np.int16), kind="FLAC", subtype="PCM_16"))
    payload[21] &= 0xF0
    payload[22:26] = bytes(4)
    return bytes(payload)


def _damaged_flac() -> bytes:
    payload = bytearray(coded(np.random.default_rng(0).uniform(-0.5, 0.5, (40 * RATE, 1)), kind="FLAC"))
    payload[200_000:200_600] = bytes(600)
    return bytes(payload)


def _with_nan() -> bytes:
    samples = tone(1)
    samples[700] = np.nan
    return coded(samples, subtype="FLOAT")


def _with_infinity() -> bytes:
    samples = tone(1)
    samples[700] = np.inf
    return coded(samples, subtype="FLOAT")


def _chunks(count: int) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + 8 * count) + b"WAVE" + b"junk\0\0\0\0" * count


def _big_tag() -> bytes:
    """40 MB of ID3 cover picture before a second of MPEG audio."""
    size = 40 << 20
    syncsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + syncsafe + b"\0" * size + coded(tone(1), kind="MP3")


def _cut(payload: bytes, share: float = 0.5) -> bytes:
    return payload[: int(len(payload) * share)]


def _silence_16(seconds: float) -> bytes:
    return bytes(int(seconds * RATE) * 2)


#: name: (payload, rule)
CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "no bytes": (lambda: b"", "media.empty"),
    "no samples": (lambda: wav(b""), "media.empty"),
    "random bytes": (lambda: np.random.default_rng(1).bytes(5000), "media.undecodable"),
    "a text": (lambda: b"hello world, this is no sound\n" * 50, "media.undecodable"),
    "a PNG named .wav": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(200), "media.mislabelled"),
    "an archive named .flac": (lambda: b"PK\x03\x04" + bytes(200), "media.mislabelled"),
    "a pickle named .wav": (lambda: b"\x80\x04\x95" + bytes(100), "media.mislabelled"),
    "RIFF, but AVI": (lambda: b"RIFF\x24\0\0\0AVI LIST" + bytes(100), "media.mislabelled"),
    "an MPEG-4 container": (lambda: b"\0\0\0\x20ftypM4A " + bytes(200), "media.unsupported"),
    "WAV cut in its samples": (lambda: _cut(coded(tone(1))), "media.truncated"),
    "WAV cut in its header": (lambda: coded(tone(1))[:30], "media.truncated"),
    "WAV without a format": (lambda: b"RIFF\x20\0\0\0WAVEdata\x10\0\0\0" + bytes(16), "media.undecodable"),
    "WAV of 4 GiB by its header": (lambda: wav(_silence_16(1), size=0xFFFFFFF0), "media.truncated"),
    "WAV of 4,097 chunks": (lambda: _chunks(5000), "media.undecodable"),
    "WAV of a million chunks": (lambda: _chunks(1_000_000), "media.undecodable"),
    "FLAC cut": (lambda: _cut(coded(tone(9), kind="FLAC")), "media.truncated"),
    "FLAC damaged": (_damaged_flac, "media.undecodable"),
    "FLAC of 2^36 samples by its header": (_flac_that_lies, "media.too_long"),
    "FLAC bomb of unknown length": (lambda: _flac_of_unknown_length(2 * 3600), "media.too_long"),
    "Ogg cut": (lambda: _cut(coded(tone(9), kind="OGG", subtype="VORBIS")), "media.truncated"),
    "Opus cut": (lambda: _cut(coded(tone(9), kind="OGG", subtype="OPUS")), "media.truncated"),
    "MP3 cut": (lambda: _cut(coded(tone(9), kind="MP3")), "media.truncated"),
    "AIFF cut": (lambda: _cut(coded(tone(1), kind="AIFF")), "media.truncated"),
    "AU cut": (lambda: _cut(coded(tone(1), kind="AU")), "media.truncated"),
    "an hour of WAV": (lambda: wav(_silence_16(3600)), "media.too_long"),
    "an hour of FLAC": (lambda: coded(np.zeros((3600 * RATE, 1), np.int16), kind="FLAC"), "media.too_long"),
    "a sample that is no number": (_with_nan, "media.undecodable"),
    "a sample without bound": (_with_infinity, "media.undecodable"),
    "rate 0": (lambda: wav(_silence_16(1), rate=0), "media.undecodable"),
    "rate 1 Hz": (lambda: wav(_silence_16(0.001), rate=1), "media.unsupported"),
    "rate 2^31 - 1 Hz": (lambda: wav(_silence_16(1), rate=2**31 - 1), "media.unsupported"),
    "0 channels": (lambda: wav(_silence_16(1), channels=0), "media.undecodable"),
    "1,024 channels": (lambda: wav(_silence_16(1), channels=1024), "media.unsupported"),
    "a codec nobody knows": (lambda: wav(_silence_16(1), code=0x4242), "media.undecodable"),
    # Made regular.
    "192 kHz, 8 channels, 20 s": (lambda: coded(tone(20, 192_000, 8), 192_000, subtype="PCM_16"), ""),
    "FLAC of unknown length": (lambda: _flac_of_unknown_length(1), ""),
    "Ogg of 2^62 samples by its last page": (_ogg_that_lies, ""),
    "a stream that never knew its length": (lambda: wav(coded(tone(1))[44:], size=0xFFFFFFFF), ""),
    "MP3 behind a tag of 40 MB": (_big_tag, ""),
    "floats of 16-bit size": (lambda: coded(tone(1) * 32767, subtype="FLOAT"), ""),
    "floats near the largest": (lambda: coded(tone(1) * 1e38, subtype="FLOAT"), ""),
    "a constant": (lambda: coded(np.full((RATE, 1), 0.5)), ""),
    "one sample": (lambda: wav(b"\x10\x10"), ""),
    "8-bit telephone law": (lambda: coded(tone(1, 8000), 8000, subtype="ULAW"), ""),
    "11,025 Hz, 3 channels": (lambda: coded(tone(1, 11_025, 3), 11_025), ""),
    "WAV with a program behind it": (lambda: coded(tone(1)) + b"PK\x03\x04#!/bin/sh\nexit\n", ""),
}


def write(folder: Path) -> None:
    """Every payload as a file, named by its number."""
    for number, (make, _) in enumerate(CASES.values()):
        (folder / str(number)).write_bytes(make())


def main(folder: Path) -> None:
    from tasks.curation.audio import regularise_audio
    from tasks.curation.media import AudioSettings

    settings = AudioSettings(maximum_seconds=60)
    regularise_audio((folder / str(list(CASES).index("11,025 Hz, 3 channels"))).read_bytes(), settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # libraries and weights are loaded
    report: dict[str, dict[str, object]] = {}
    for number, name in enumerate(CASES):
        payload = (folder / str(number)).read_bytes()
        started = time.process_time()
        regular = regularise_audio(payload, settings)
        report[name] = {
            "rule": regular.rule,
            "detail": regular.detail,
            "measures": regular.measures,
            "seconds": time.process_time() - started,
            "mebibytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
            "whole": (regular.data is None) == bool(regular.rule),
        }
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
