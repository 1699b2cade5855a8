"""A clip as a picture: its spectrogram, for contact sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.curation.audio import decode
from tasks.curation.spectra import log_mel

if TYPE_CHECKING:
    from PIL.Image import Image

_BANDS = 64
_SHOWN_DB = 70.0  # beneath the loudest: what lies lower is black


def thumbnail(payload: bytes, width: int = 160, height: int = 96) -> Image:
    """The mel spectrogram of a regular clip, RGB: time to the right, frequency upwards from 60 Hz to half the rate.

    The whole clip fills the width, however long it is. ValueError when `payload` is no regular clip.
    """
    from matplotlib import colormaps
    from PIL import Image as images

    samples, rate = decode(payload)
    size = max(64, rate // 40)
    hop = max(1, min(size // 2, len(samples) // width))
    levels_FM = log_mel(samples, rate, size, hop, _BANDS, rate / 2) * (10 / np.log(10))
    shown = np.clip((levels_FM - levels_FM.max() + _SHOWN_DB) / _SHOWN_DB, 0, 1)
    if not samples.any():
        shown[:] = 0
    coloured = (colormaps["magma"](shown.T[::-1])[..., :3] * 255).astype(np.uint8)
    return images.fromarray(coloured).resize((width, height), images.Resampling.BILINEAR)
