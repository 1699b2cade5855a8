"""Audio made regular: 16-bit mono FLAC at one rate, or quarantined with its rule; and measured on the way.

The stated rules. Only containers of `audio_containers.ALLOWED` are opened, by libsndfile. Bytes, rate, channels and
declared length are checked before a sample is decoded, decoding stops at the longest length allowed whatever the header
said, and the memory used does not depend on rate or channels. Channels are mixed by their mean; the mix is resampled
(soxr, high quality); a constant offset above 0.001 of full scale is taken out; what exceeds full scale is scaled down
by one gain; the rest is rounded to 16 bits without dither. So 16-bit mono of the settings' rate stays as it was, sample
for sample. Every tag, cover picture and comment is left behind. A sample that is no number, missing samples and errors
of the decoder quarantine: nothing is guessed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.curation import voice_activity
from tasks.curation.audio_containers import missing_bytes, sniff
from tasks.curation.audio_measures import Peaks, measure
from tasks.curation.media import AudioSettings, Regular, refused

VERSION = 2

RATES = 1_000, 384_000  # Hz that are resampled; beyond them a header lies or the clip is no sound
CHANNELS = 8
OFFSET = 1e-3  # of full scale: a smaller mean is the signal's own
_BLOCK = 1 << 18  # samples over all channels that are decoded at a time
_ENDLESS = 1 << 48  # frames: so much libsndfile says where a header gives no number
_SLACK = 2 * 1152  # frames by which the length in the header of an MPEG stream may differ


class Refused(Exception):
    """This payload is quarantined: its rule and what is wrong with it."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule, self.detail = rule, detail


@dataclass
class _Header:
    """What a container says of itself; `frames` may be untrue or 0 (unknown)."""

    kind: str
    frames: int
    sample_rate: int
    channels: int
    subtype: str


@dataclass
class _Mixed:
    """The mean of the channels at the settings' rate, float32, and what was seen in the channels on the way."""

    samples: np.ndarray
    frames: int
    peaks: Peaks = field(default_factory=Peaks)


def models() -> dict[str, str]:
    """SHA-256 of the models whose measures are taken, by name."""
    return {voice_activity.MODEL: voice_activity.weights_sha256()}


def regularise_audio(payload: bytes, settings: AudioSettings) -> Regular:
    """The clip as 16-bit mono FLAC at the settings' rate with its measures, or the rule that quarantines it.

    Measures: `seconds`, `sample_rate` (Hz), `channels`, `peak` and `offset` (of full scale), `rms` (dB of full scale),
    `clipped_share` as found; `silence_share`, `bandwidth` (Hz) and `speech_share` of what is written. A quarantined
    clip has those that its header told.
    """
    known: dict[str, float] = {}
    try:
        header = read_header(payload)
        known = {"sample_rate": float(header.sample_rate), "channels": float(header.channels)}
        if header.frames:
            known["seconds"] = round(header.frames / header.sample_rate, 4)
        if header.frames > settings.maximum_seconds * header.sample_rate:
            raise Refused("too_long", f"{known['seconds']:.1f} s, limit {settings.maximum_seconds:g} s")
        mixed = _decode(payload, header, settings)
    except Refused as problem:
        return refused(problem.rule, problem.detail, known)
    known["seconds"] = round(mixed.frames / header.sample_rate, 4)
    samples = _within_full_scale(mixed.samples)
    if not len(samples):
        return refused("empty", "no sample at the rate that is written", known)
    measures = known | mixed.peaks.measures() | measure(samples, settings.sample_rate)
    return Regular(encode(samples, settings.sample_rate), mixed.frames, measures=measures)


def read_header(payload: bytes) -> _Header:
    """What the container says, checked; Refused when it must not be decoded. `too_long` is the caller's."""
    kind, problem = sniff(payload)
    if problem:
        raise Refused(*problem.split("\t"))
    try:
        missing = missing_bytes(payload, kind)
    except ValueError as error:
        raise Refused("undecodable", str(error)) from None
    if missing:
        raise Refused("truncated", f"{missing} missing")
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(payload)) as file:
            frames = file.frames if 0 < file.frames < _ENDLESS else 0
            header = _Header(kind, frames, file.samplerate, file.channels, file.subtype)
    except (soundfile.LibsndfileError, ValueError, RuntimeError, OverflowError) as error:
        raise Refused("undecodable", _reason(error)) from None
    if not RATES[0] <= header.sample_rate <= RATES[1]:
        raise Refused("unsupported", f"{header.sample_rate} Hz")
    if not 1 <= header.channels <= CHANNELS:
        raise Refused("unsupported", f"{header.channels} channels")
    return header


def _decode(payload: bytes, header: _Header, settings: AudioSettings) -> _Mixed:
    """Decode a block at a time, mix and resample; Refused when samples are missing, no numbers, or too many."""
    import soxr

    limit = int(settings.maximum_seconds * header.sample_rate)
    resampler = None
    if header.sample_rate != settings.sample_rate:
        resampler = soxr.ResampleStream(header.sample_rate, settings.sample_rate, 1, "float32", "HQ")
    parts: list[np.ndarray] = []
    peaks, frames = Peaks(), 0
    for block in decoded_blocks(payload, header):
        frames += len(block)
        if frames > limit:
            raise Refused("too_long", f"limit {settings.maximum_seconds:g} s")
        if not np.isfinite(block).all():
            raise Refused("undecodable", "a sample that is no finite number")
        peaks.add(block)
        mono = block.mean(axis=1, dtype=np.float64).astype(np.float32)
        parts.append(mono if resampler is None else resampler.resample_chunk(mono))
    if frames == 0:
        raise Refused("empty", "no samples")
    slack = _SLACK if header.kind == "mp3" else 0
    if frames + slack < header.frames:
        raise Refused("truncated", f"{frames} of {header.frames} samples")
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    return _Mixed(np.concatenate(parts), frames, peaks)


def decoded_blocks(payload: bytes, header: _Header) -> Iterator[np.ndarray]:
    """float32 [frames, channels], a block after the other; Refused when the decoder fails."""
    import soundfile

    stream = io.BytesIO(payload)
    done = 0
    try:
        with _forward(stream) as file:
            while len(block := file.read(max(1, _BLOCK // header.channels), dtype="float32", always_2d=True)):
                done += len(block)
                yield block
    except (soundfile.LibsndfileError, ValueError, RuntimeError) as error:
        # The decoder had every byte and wanted more: the end is missing. Else the bytes are damaged.
        rule = "truncated" if stream.tell() >= len(payload) else "undecodable"
        raise Refused(rule, f"after {done} of {header.frames} samples: {_reason(error)}") from None


def _forward(stream: io.BytesIO) -> Any:
    """A file that is read from front to back: soundfile seeks after each read, which fails where no length is known."""
    import soundfile

    class Forward(soundfile.SoundFile):
        def seekable(self) -> bool:
            return False

    return Forward(stream)


def _within_full_scale(samples: np.ndarray) -> np.ndarray:
    """Without a constant offset, and scaled down where it exceeds full scale."""
    if not len(samples):
        return samples
    offset = float(samples.mean(dtype=np.float64))
    if abs(offset) > OFFSET:
        samples = (samples - offset).astype(np.float32)
    peak = float(np.abs(samples).max())
    return (samples / peak).astype(np.float32) if peak > 1 else samples


def encode(samples: np.ndarray, sample_rate: int) -> bytes:
    """16-bit FLAC of float samples within full scale: the same bytes for the same samples."""
    import soundfile

    whole = np.clip(np.rint(samples.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, whole, sample_rate, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def decode(payload: bytes) -> tuple[np.ndarray, int]:
    """float32 samples [N] and rate of a regular clip. ValueError when it is none."""
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(payload), dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise ValueError("this is no audio that can be decoded") from error
    if samples.ndim != 1:
        raise ValueError("a regular clip has one channel")
    return samples, int(rate)


def _reason(error: Exception) -> str:
    """libsndfile's own words, without the name of the stream."""
    return str(getattr(error, "error_string", "") or type(error).__name__)[:200]
