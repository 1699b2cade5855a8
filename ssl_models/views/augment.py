"""Affine views of images as a function of (seed, epoch, sample, view) alone: not of the batch, workers or resume point.

One affine map and one resampling a view: crop, rotation, shear and flip are composed first, so pixels are interpolated
once. Legend: B images, C channels, H x W source pixels, S pixels a side of a view, U uniforms a view.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_models.image_config import Augment
from ssl_models.views.parameters import uniforms


def augment(
    pixels_BCHW: Tensor, keys_B: np.ndarray, rule: Augment, size: int, crop: tuple[float, float] | None = None
) -> Tensor:
    """One view of each image, float32 [B, C, S, S]. `pixels_BCHW`: floats in 0..1; `crop`: other bounds of the area."""
    u_BU = torch.from_numpy(uniforms(keys_B, 12)).float()
    low, high = crop or (rule.crop_low, 1.0)
    side = torch.sqrt(low + (high - low) * u_BU[:, 0])
    aspect = torch.exp((2 * u_BU[:, 1] - 1) * math.log(4 / 3) / 2)
    wide, tall = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
    turn = (2 * u_BU[:, 2] - 1) * math.radians(rule.rotate_degrees)
    shear = (2 * u_BU[:, 3] - 1) * rule.shear
    mirror = 1 - 2 * ((u_BU[:, 4] < 0.5) & torch.tensor(rule.flip)).float()
    cos, sin = torch.cos(turn), torch.sin(turn)
    # From view to source: scale, shear, turn, then shift within what the crop leaves free.
    a, b = wide * mirror, wide * shear
    c, d = torch.zeros_like(a), tall
    matrix = torch.stack([cos * a - sin * c, cos * b - sin * d, sin * a + cos * c, sin * b + cos * d], 1).view(-1, 2, 2)
    shift = torch.stack([(2 * u_BU[:, 5] - 1) * (1 - wide), (2 * u_BU[:, 6] - 1) * (1 - tall)], 1)
    grid = F.affine_grid(torch.cat([matrix, shift[:, :, None]], 2), [*pixels_BCHW.shape[:2], size, size], False)
    view = F.grid_sample(pixels_BCHW, grid, "bilinear", "zeros", align_corners=False)
    gain = 1 + (2 * u_BU[:, 7] - 1) * rule.contrast
    offset = (2 * u_BU[:, 8] - 1) * rule.brightness
    mean = view.mean((1, 2, 3), keepdim=True)
    view = ((view - mean) * gain[:, None, None, None] + mean + offset[:, None, None, None]).clamp(0, 1)
    return _erase(view, u_BU[:, 9:12], rule.erase)


def _erase(view_BCSS: Tensor, u_B3: Tensor, most: float) -> Tensor:
    if not most:
        return view_BCSS
    place = (torch.arange(view_BCSS.shape[-1]) + 0.5) / view_BCSS.shape[-1]
    half_B = torch.sqrt(most * u_B3[:, 0]) / 2
    inside = [((place - centre[:, None]).abs() < half_B[:, None]) for centre in (u_B3[:, 1], u_B3[:, 2])]
    hidden_BSS = inside[0][:, :, None] & inside[1][:, None, :]
    return view_BCSS.masked_fill(hidden_BSS[:, None], 0.5)


def plain(pixels_BCHW: Tensor, size: int) -> Tensor:
    """The whole image at the encoder's size, as evaluation sees it."""
    if pixels_BCHW.shape[-2:] == (size, size):
        return pixels_BCHW
    return F.interpolate(pixels_BCHW, (size, size), mode="bilinear", align_corners=False)


def normalise_(view: Tensor) -> Tensor:
    """Pixels in 0..1 to about -1..1, as every encoder here takes them; in place."""
    return view.sub_(0.5).div_(0.5)


def normalise(view: Tensor) -> Tensor:
    """`normalise_` of a copy."""
    return normalise_(view.clone())
