"""Audio clips made regular by libsndfile: judged by the header first, then decoded, mixed, resampled, written anew."""

from __future__ import annotations

import io

import numpy as np

from tasks.curation.media import AudioSettings, Regular, refused

VERSION = 1
FULL_SCALE = 0.999
SILENT_DECIBEL = -50.0
_FRAME_SECONDS = 0.025
_MAXIMUM_CHANNELS = 32
_BLOCK = 1 << 16


def regularise_audio(payload: bytes, settings: AudioSettings) -> Regular:
    """The clip in `payload` as `settings` want it, and its measures; or the rule that quarantines it."""
    import soundfile

    if not payload:
        return refused("empty", "no bytes")
    try:
        with soundfile.SoundFile(io.BytesIO(payload)) as file:
            return _regular(file, settings)
    except soundfile.LibsndfileError as error:
        return refused("undecodable", f"libsndfile error {error.code}")
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        return refused("undecodable", type(error).__name__)


def _regular(file, settings: AudioSettings) -> Regular:
    rate, channels, frames = file.samplerate, file.channels, file.frames
    if not 0 < channels <= _MAXIMUM_CHANNELS or rate <= 0:
        return refused("unsupported", f"{channels} channels at {rate} Hz")
    if frames > settings.maximum_seconds * rate:
        return refused("too_long", f"{frames / rate:.1f} s, limit {settings.maximum_seconds:g} s")
    mono, peak, clipped = _mixed(file, int(settings.maximum_seconds * rate) + 1)
    if len(mono) == 0:
        return refused("empty", "no samples")
    if len(mono) < frames:
        return refused("truncated", f"{len(mono)} of {frames} frames")
    if not np.isfinite(mono).all():
        return refused("undecodable", "samples that are no numbers")
    measures = {
        "seconds": len(mono) / rate,
        "sample_rate": float(rate),
        "channels": float(channels),
        "peak": peak,
        "clipped_share": clipped / (len(mono) * channels),
        "silence_share": silence_share(mono, rate),
    }
    data = encode(resampled(mono, rate, settings.sample_rate), settings.sample_rate)
    return Regular(data, len(mono), measures={name: round(value, 4) for name, value in measures.items()})


def _mixed(file, limit: int) -> tuple[np.ndarray, float, int]:
    """(mean of the channels, peak, samples at full scale) of at most `limit` frames, read a block at a time."""
    parts, total, peak, clipped = [], 0, 0.0, 0
    while total < limit:
        block = file.read(min(_BLOCK, limit - total), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        size = np.abs(block)
        peak, clipped = max(peak, float(size.max())), clipped + int((size >= FULL_SCALE).sum())
        parts.append(block.mean(axis=1))
        total += len(block)
    return (np.concatenate(parts) if parts else np.empty(0, np.float32)), peak, clipped


def silence_share(mono: np.ndarray, rate: int) -> float:
    """The share of frames of 25 ms whose root mean square lies below -50 dB of full scale."""
    size = max(1, int(rate * _FRAME_SECONDS))
    count = max(1, len(mono) // size)
    frames = np.resize(mono, count * size) if len(mono) < size else mono[: count * size]
    power = np.square(frames.reshape(count, size).astype(np.float64)).mean(axis=1)
    return float((power < 10 ** (SILENT_DECIBEL / 10)).mean())


def resampled(mono: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """`mono` at `wanted` Hz, by a polyphase filter."""
    from math import gcd

    from scipy.signal import resample_poly

    if rate == wanted:
        return mono
    common = gcd(rate, wanted)
    return resample_poly(mono.astype(np.float64), wanted // common, rate // common).astype(np.float32)


def encode(mono: np.ndarray, rate: int) -> bytes:
    """FLAC of 16 bits."""
    import soundfile

    samples = np.clip(np.rint(mono.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
