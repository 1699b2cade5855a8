"""Short-time spectra of a clip, in blocks of frames that bound the memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

_FRAMES = 2048


def power_blocks(samples: np.ndarray, size: int, hop: int) -> Iterator[np.ndarray]:
    """Power spectra float32 [frames, size / 2 + 1] under a Hann window, some 2,000 frames at a time.

    `samples` float [N]; a clip shorter than `size` is filled up with silence, the rest of the last hop is left out.
    """
    from scipy import fft

    if len(samples) < size:
        samples = np.concatenate([samples, np.zeros(size - len(samples), samples.dtype)])
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float32), size)[::hop]
    for start in range(0, len(frames), _FRAMES):
        spectrum = fft.rfft(frames[start : start + _FRAMES] * window, axis=1)
        yield np.square(spectrum.real) + np.square(spectrum.imag)


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int, size: int, bands: int, low: float, high: float) -> np.ndarray:
    """Triangular filters float32 [size / 2 + 1, bands] on O'Shaughnessy's mel scale (1987): 2595 log10(1 + f / 700)."""
    edges = 700 * (10 ** (np.linspace(_mel(low), _mel(high), bands + 2) / 2595) - 1)
    frequencies = np.arange(size // 2 + 1)[:, None] * sample_rate / size
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))


def log_mel(samples: np.ndarray, sample_rate: int, size: int, hop: int, bands: int, high: float) -> np.ndarray:
    """Natural logarithm of the mel power, float32 [frames, bands], floored at 1e-10; bands from 60 Hz to `high` Hz."""
    filters = mel_filters(sample_rate, size, bands, 60.0, high)
    return np.concatenate([np.log(np.maximum(block @ filters, 1e-10)) for block in power_blocks(samples, size, hop)])
