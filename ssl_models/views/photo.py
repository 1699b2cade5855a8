"""Photographic views of a whole batch at once, and multi-crop in one pass.

Rows are worked on in groups that fit the processor's cache, whole passes over a group instead of a chain of calls an
image. What a row becomes depends on its image and its own numbers alone: not on the batch, the group or the threads.

Legend: B images, N views, C channels, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssl_models.image_config import Photo
from ssl_models.views import colour
from ssl_models.views.parameters import Drawn, draw, view_keys
from ssl_models.views.resample import crop_large, crop_small, is_small

_GROUP = 2**18  # floats of a group: 1 MiB


@dataclass(frozen=True)
class Crops:
    """`count` views of `size` pixels a side that show `low`..`high` of the area."""

    count: int
    size: int
    low: float
    high: float = 1.0


def multi_crop(
    images: Sequence[Tensor], words_B: np.ndarray, epochs_B: np.ndarray, rule: Photo, crops: Sequence[Crops], seed: int
) -> list[Tensor]:
    """float32 [count, B, C, S, S] in 0..1 for each of `crops`; views are numbered through all of them.

    `images`: uint8 [C, H, W], of any sizes; `words` and `epochs` are what keys them. DINO's two large and n small
    views: ``[Crops(2, 224, 0.25), Crops(n, 96, 0.05, 0.25)]``.
    """
    found, first = [], 0
    for part in crops:
        keys = [view_keys(words_B, epochs_B, first + view, seed) for view in range(part.count)]
        views = photo(images, np.concatenate(keys), rule, part.size, (part.low, part.high))
        found.append(views.unflatten(0, (part.count, len(images))))
        first += part.count
    return found


def photo(
    images: Sequence[Tensor], keys_N: np.ndarray, rule: Photo, size: int, crop: tuple[float, float] | None = None
) -> Tensor:
    """float32 [N, C, S, S] in 0..1: view n is of image n modulo B. `images`: uint8 [C, H, W]; `crop`: other bounds."""
    heights = np.array([image.shape[1] for image in images], np.int64)
    widths = np.array([image.shape[2] for image in images], np.int64)
    of_N = np.arange(len(keys_N)) % len(images)
    drawn = draw(keys_N, heights[of_N], widths[of_N], rule, crop or (rule.crop_low, 1.0))
    return render(images, of_N, drawn, size, blur_radius(rule, size))


def blur_radius(rule: Photo, size: int) -> int:
    """Four of the widest sigma: what lies beyond weighs less than 1e-4 of the whole."""
    return min(math.ceil(4 * rule.blur_high), size - 1)


def render(images: Sequence[Tensor], of_N: np.ndarray, drawn: Drawn, size: int, radius: int) -> Tensor:
    """float32 [N, C, S, S] in 0..1: view n is of images[of[n]] by the numbers drawn[n]."""
    if not len(of_N):
        raise ValueError("there is no view to make")
    C = images[0].shape[0]
    if any(image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != C for image in images):
        raise ValueError(f"expected uint8 images [{C}, H, W]")
    out = torch.empty(len(of_N), C, size, size)
    step = max(1, _GROUP // (C * size * size))
    # Neighbours of one shape are resized together; most corpora of small images have only one.
    shapes = {shape: n for n, shape in enumerate(dict.fromkeys(image.shape for image in images))}
    shape_N = np.array([shapes[image.shape] for image in images])[of_N]
    order = np.argsort(shape_N, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(shape_N[order])) + 1):
        whole = len(rows) == len(of_N)
        _, height, width = images[of_N[rows[0]]].shape
        stacked = _stacked(images, of_N[rows]) if is_small(height, width, size) else None
        for begin in range(0, len(rows), step):
            part = rows[begin : begin + step]
            numbers = drawn.rows(part)
            view = out[begin : begin + step] if whole else torch.empty(len(part), C, size, size)
            if stacked:
                pixels_BCHW, where_N = stacked
                chosen = pixels_BCHW[torch.from_numpy(where_N[begin : begin + step])]
                view.copy_(crop_small(chosen, numbers.box, numbers.flip, size))
            else:
                for row, n in enumerate(part):
                    crop_large(images[of_N[n]], numbers.box[row], bool(numbers.flip[row]), size, view[row])
            colour_(view, numbers, radius)
            if not whole:
                out[torch.from_numpy(part)] = view
    return out


def _stacked(images: Sequence[Tensor], of_N: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """The images in question once, float32 [B, C, H, W] in 0..1, and which of them each row is of."""
    used, where = np.unique(of_N, return_inverse=True)
    return torch.stack([images[n] for n in used]).float().div_(255), where


def colour_(x_NCSS: Tensor, drawn: Drawn, radius: int) -> None:
    """Jitter, grey, blur and solarisation of those rows that are to have them, in place."""

    def chosen(mask: np.ndarray) -> tuple[Tensor | slice, np.ndarray] | None:
        rows = np.flatnonzero(mask)
        if not len(rows):
            return None
        return (slice(None) if len(rows) == len(mask) else torch.from_numpy(rows)), rows

    if found := chosen(drawn.jitter):
        where, rows = found
        part = x_NCSS[where]
        numbers = (drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue)
        colour.jitter_(part, *(torch.from_numpy(value[rows]) for value in numbers))
        if not isinstance(where, slice):
            x_NCSS[where] = part
    if x_NCSS.shape[1] == 3 and (found := chosen(drawn.grey)):
        x_NCSS[found[0]] = colour.luma(x_NCSS[found[0]]).expand(-1, 3, -1, -1)
    if found := chosen(drawn.sigma > 0):
        where, rows = found
        x_NCSS[where] = colour.blur(x_NCSS[where], torch.from_numpy(drawn.sigma[rows]), radius)
    if found := chosen(drawn.solarise):
        x_NCSS[found[0]] = colour.solarise(x_NCSS[found[0]])
