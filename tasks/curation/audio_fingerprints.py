"""A fingerprint of a clip that survives coding, resampling, gain, filtering and cutting (Haitsma and Kalker 2002).

Every 10 ms one word of 32 bits: bit m says whether the difference of the levels of the bands m and m + 1 has grown
since the frame before. A constant filter or gain cancels out, and frames of 128 ms overlap so much that a cut
between two frames changes little. The bands (200 to 3,600 Hz) lie within telephone speech, so that a copy at 8 kHz
resembles its original. Unlike the paper's, the levels are logarithmic and floored 60 dB beneath the clip's loudest
frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.curation.spectra import mel_filters, power_blocks

BITS = 32
FRAME_SECONDS = 0.128
HOP_SECONDS = 0.010
BAND_HZ = 200.0, 3600.0
_FLOOR = 1e-6  # of the loudest frame's power: what lies beneath is no level
_SOUNDING = 10**-3.5  # of the loudest frame's power: a quieter frame is coding noise, and proves nothing
_AUDIBLE = 1e-7  # mean square in the bands, 70 dB beneath full scale: nor does a frame of rounding noise


@dataclass(frozen=True)
class Fingerprint:
    """`words` uint32 [F], one for each 10 ms; `sounding` bool [F]: the frames that are loud enough to compare."""

    words: np.ndarray
    sounding: np.ndarray


def fingerprint(samples: np.ndarray, sample_rate: int) -> Fingerprint:
    """Of float samples [N]; F = N / hop, rounded down. A silent clip has no sounding frame."""
    size, hop = int(sample_rate * FRAME_SECONDS) // 2 * 2, max(1, int(sample_rate * HOP_SECONDS))
    edge = np.zeros(size // 2, np.float32)
    filters = mel_filters(sample_rate, size, BITS + 1, BAND_HZ[0], min(BAND_HZ[1], sample_rate / 2))
    padded = np.concatenate([edge, np.asarray(samples, np.float32), edge])
    bands_FM = np.concatenate([block @ filters for block in power_blocks(padded, size, hop)])
    power_F = bands_FM.sum(axis=1)
    loudest = float(power_F.max())
    if loudest <= 0:
        return Fingerprint(np.zeros(len(power_F) - 1, np.uint32), np.zeros(len(power_F) - 1, bool))
    level_FM = np.log(bands_FM + loudest * _FLOOR)
    slope_FM = level_FM[:, :-1] - level_FM[:, 1:]
    bits = np.packbits(slope_FM[1:] > slope_FM[:-1], axis=1, bitorder="little")
    mean_square_F = 2 * power_F / (0.375 * size**2)  # Parseval's theorem; 0.375 is the mean of the squared Hann window
    sounding_F = (power_F > loudest * _SOUNDING) & (mean_square_F > _AUDIBLE)
    return Fingerprint(np.ascontiguousarray(bits).view("<u4")[:, 0].astype(np.uint32), sounding_F[1:])


def similarity(a: Fingerprint, b: Fingerprint, offsets: np.ndarray) -> float:
    """The share that two clips have in common, 0 to 1: the largest over `offsets` (a frame of `a` minus one of `b`).

    For frames that sound in both: 1 - 2 x the bit error rate, which is 0 for clips that have nothing in common; summed
    and divided by the sounding frames of the clip that has more of them. So a copy that lacks a fifth has at most 0.8.
    """
    most = int(max(a.sounding.sum(), b.sounding.sum()))
    best = 0.0
    for offset in offsets.tolist():
        first, last = max(0, offset), min(len(a.words), len(b.words) + offset)
        if first >= last:
            continue
        there = slice(first - offset, last - offset)
        both = a.sounding[first:last] & b.sounding[there]
        errors = int(np.bitwise_count((a.words[first:last] ^ b.words[there])[both]).sum())
        best = max(best, (int(both.sum()) - 2 * errors / BITS) / most)
    return best
