"""What is measured of a regular image. Sums of integers over strips: exact, and in little memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_STRIP_PIXELS = 1 << 20


def measures(image: Any) -> dict[str, float]:
    """colourfulness, entropy and sharpness of a Pillow image of mode L or RGB.

    colourfulness: Hasler and Suesstrunk, Measuring colourfulness in natural images, 2003 (0 for a grey image; 109 and
    more is "extremely colourful"). entropy: bits of the histogram of grey, 0..8. sharpness: variance of the Laplacian
    of grey (Pech-Pacheco et al. 2000); 0 for less than 3 x 3 pixels.
    """
    grey = image if image.mode == "L" else image.convert("L")
    counts = np.array(grey.histogram(), np.float64)
    share = counts[counts > 0] / counts.sum()
    return {
        "colourfulness": round(_colourfulness(image), 4) if image.mode == "RGB" else 0.0,
        "entropy": round(max(0.0, float(-(share * np.log2(share)).sum())), 4),
        "sharpness": round(_sharpness(grey), 4),
    }


def _strips(image: Any, overlap: int = 0) -> Any:
    """Arrays of whole rows, each of about _STRIP_PIXELS; neighbours share `overlap` rows."""
    rows = max(overlap + 1, _STRIP_PIXELS // image.width)
    for top in range(0, max(1, image.height - overlap), rows - overlap):
        yield np.asarray(image.crop((0, top, image.width, min(image.height, top + rows))))


def _colourfulness(image: Any) -> float:
    sums = np.zeros(4, np.int64)
    for strip in _strips(image):
        red, green, blue = (strip[..., channel].astype(np.int32) for channel in range(3))
        across, along = red - green, red + green - 2 * blue  # twice the paper's yellow - blue: still an integer
        sums += [int(across.sum()), int((across * across).sum()), int(along.sum()), int((along * along).sum())]
    count = image.width * image.height
    mean_rg, mean_yb = sums[0] / count, sums[2] / count / 2
    variance = sums[1] / count - mean_rg**2 + sums[3] / count / 4 - mean_yb**2
    return math.sqrt(max(0.0, variance)) + 0.3 * math.sqrt(mean_rg**2 + mean_yb**2)


def _sharpness(grey: Any) -> float:
    if grey.width < 3 or grey.height < 3:
        return 0.0
    total = squares = 0
    for strip in _strips(grey, overlap=2):
        if len(strip) < 3:
            continue
        v = strip.astype(np.int32)
        edge = v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:] - 4 * v[1:-1, 1:-1]
        total += int(edge.sum())
        squares += int((edge * edge).sum(dtype=np.int64))
    count = (grey.width - 2) * (grey.height - 2)
    return max(0.0, squares / count - (total / count) ** 2)
