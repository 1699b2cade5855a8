"""What is measured of a clip: numbers only, each from a stated definition, rounded to 4 decimals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tasks.curation import voice_activity
from tasks.curation.spectra import power_blocks

FLOOR_DB = -120.0  # digital silence: no level is given as minus infinity, which JSON cannot hold
SILENT_DB = -60.0  # of full scale: a frame beneath is silent
BENEATH_DB = 40.0  # and so is one that lies this far beneath the clip's loud frames
_RUN = 3  # equal samples at a channel's extreme: a wave seldom stays for so long, a clipped one does
_BAND_DB = (
    70.0  # beneath the strongest part of the mean spectrum: what lies lower is the floor of resampler and rounding
)


@dataclass
class _Extreme:
    """The largest value of a channel so far, and how many samples lie at it in runs."""

    value: float = -np.inf
    flat: int = 0

    def add(self, samples: np.ndarray) -> None:
        largest = float(samples.max())
        if largest < self.value:
            return
        flat = _in_runs(samples == np.float32(largest))
        self.flat = flat if largest > self.value else self.flat + flat
        self.value = largest


@dataclass
class Peaks:
    """What must be seen before the channels are mixed, block by block: peak, offset, clipping."""

    tops: list[_Extreme] = field(default_factory=list)
    bottoms: list[_Extreme] = field(default_factory=list)
    samples: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, block: np.ndarray) -> None:
        """`block`: float32 [frames, channels]; runs are not followed from one block into the next."""
        if not self.tops:
            self.tops = [_Extreme() for _ in range(block.shape[1])]
            self.bottoms = [_Extreme() for _ in range(block.shape[1])]
        for channel, (top, bottom) in enumerate(zip(self.tops, self.bottoms, strict=True)):
            samples = np.ascontiguousarray(block[:, channel])
            top.add(samples)
            bottom.add(-samples)
        self.samples += block.size
        self.total += float(block.sum(dtype=np.float64))
        self.squares += float(np.square(block, dtype=np.float64).sum())

    def measures(self) -> dict[str, float]:
        """`peak`, `offset` (of full scale), `rms` (dB of full scale), `clipped_share`.

        Clipped is a sample in a run of three or more at the extreme of its channel, at whatever level that lies: so
        clipping shows after a gain, too. A silent channel has no extreme.
        """
        ends = [end for end in (*self.tops, *self.bottoms) if end.value > 0]
        flat = sum(end.flat for end in ends)
        power = self.squares / self.samples
        return {
            "peak": round(max((end.value for end in ends), default=0.0), 4),
            "offset": round(self.total / self.samples, 4),
            "rms": decibels(power),
            "clipped_share": round(flat / self.samples, 4),
        }


def _in_runs(flags: np.ndarray) -> int:
    """How many of the flags stand in runs of `_RUN` or more."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return int(lengths[lengths >= _RUN].sum())


def decibels(power: float) -> float:
    """10 log10, not below FLOOR_DB, rounded to 4 decimals."""
    return round(max(FLOOR_DB, 10 * float(np.log10(power))), 4) if power > 0 else FLOOR_DB


def measure(samples: np.ndarray, sample_rate: int) -> dict[str, float]:
    """`silence_share`, `bandwidth` (Hz) and `speech_share` of a mono clip.

    Silent is a frame of 25 ms below -60 dB of full scale, or 40 dB below the level that one frame in twenty exceeds.
    The bandwidth is the highest frequency whose mean power lies within 70 dB of the strongest: telephone speech that
    somebody resampled to 16 kHz has less than 4,000 Hz.
    """
    length, hop = max(1, sample_rate // 40), max(1, sample_rate // 100)
    powers = (
        [float(np.square(samples, dtype=np.float64).mean())] if len(samples) < length else _powers(samples, length, hop)
    )
    levels = 10 * np.log10(np.maximum(powers, 1e-12))
    threshold = max(SILENT_DB, float(np.quantile(levels, 0.95)) - BENEATH_DB)
    return {
        "silence_share": round(float((levels < threshold).mean()), 4),
        "bandwidth": round(_bandwidth(samples, sample_rate), 4),
        "speech_share": round(voice_activity.speech_share(_at_16_khz(samples, sample_rate)), 4),
    }


def _powers(samples: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Mean square of each frame, from one running sum."""
    sums = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, len(samples) - length + 1, hop)
    return np.maximum(sums[starts + length] - sums[starts], 0) / length


def _bandwidth(samples: np.ndarray, sample_rate: int) -> float:
    total, size = np.zeros(257), 512
    for block in power_blocks(samples, size, size // 2):
        total += block.sum(axis=0, dtype=np.float64)
    loud = np.flatnonzero(total > total.max() * 10 ** (-_BAND_DB / 10))
    return float(loud[-1]) * sample_rate / size if len(loud) else 0.0


def _at_16_khz(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    if sample_rate == voice_activity.SAMPLE_RATE:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, sample_rate, voice_activity.SAMPLE_RATE, "HQ"))
