"""Crops of a batch brought to one size, by the same antialiased triangle that Pillow, torchvision and torch use.

Small sources: every crop of the batch in two matrix products, its weights built from its box; calls an image would cost
more than the pixels. Large ones: torch's fixed-point kernel an image, which reads the crop alone. Which one it is
depends on the source's and the view's size only, so no view depends on its batch.

Legend: N views, C channels, H x W source pixels, S pixels a side of a view.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_DENSE = 2**18  # multiply-adds a channel up to which two matrix products beat a call: sides of 64


def is_small(height: int, width: int, size: int) -> bool:
    return height * width * size + height * size * size <= 2 * _DENSE


def crop_small(pixels_NCHW: Tensor, box_N4: np.ndarray, flip_N: np.ndarray, size: int) -> Tensor:
    """float32 [N, C, S, S] of float32 sources: each box resized, mirrored where `flip`."""
    box = torch.from_numpy(box_N4)
    down = _weights(box[:, 0], box[:, 2], pixels_NCHW.shape[2], size)
    across = _weights(box[:, 1], box[:, 3], pixels_NCHW.shape[3], size)
    mirrored = torch.from_numpy(flip_N)[:, None, None]
    across = torch.where(mirrored, across.flip(1), across)
    rows_NCHS = pixels_NCHW @ across.transpose(1, 2)[:, None]
    return down[:, None] @ rows_NCHS


def _weights(begin_N: Tensor, length_N: Tensor, side: int, size: int) -> Tensor:
    """float32 [N, S, side]: how much each source pixel counts for each pixel of the view."""
    scale = (length_N.double() / size)[:, None, None]
    centre = scale * (torch.arange(size, dtype=torch.float64)[:, None] + 0.5)
    place = torch.arange(side)[None, None]
    inside = (place >= begin_N[:, None, None]) & (place < (begin_N + length_N)[:, None, None])
    weight = 1 - (place - begin_N[:, None, None] + 0.5 - centre).abs() / scale.clamp(min=1)
    weight = weight.clamp(min=0) * inside
    return (weight / weight.sum(-1, keepdim=True)).float()


def crop_large(image_CHW: Tensor, box_4: np.ndarray, flip: bool, size: int, out_CSS: Tensor) -> None:
    """One uint8 image's box resized into `out` (float32, 0..1): to the nearest of 256 levels, as torchvision does."""
    top, left, height, width = (int(x) for x in box_4)
    crop = image_CHW[None, :, top : top + height, left : left + width]
    view = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)[0]
    out_CSS.copy_(view.flip(-1) if flip else view)
    out_CSS.mul_(1 / 255)
