"""Colours of a batch in place: each view by its own numbers, in float32, clamped to 0..1 after every step.

The definitions are torchvision's (v2 functional on floats), so that published settings mean the same; hue is rotated
without leaving RGB for HSV and back: with chroma c = max - min, a channel is min + c f(h), f a trapezoid of the hue.

Legend: N views, C channels, S pixels a side.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.2989, 0.587, 0.114)
_BLOCK = 32


def luma(x_NCSS: Tensor) -> Tensor:
    """[N, 1, S, S]: ITU-R 601's brightness; of one channel, itself."""
    if x_NCSS.shape[1] == 1:
        return x_NCSS.clone()
    grey = x_NCSS[:, :1] * _LUMA[0]
    return grey.add_(x_NCSS[:, 1:2], alpha=_LUMA[1]).add_(x_NCSS[:, 2:], alpha=_LUMA[2])


def jitter_(x_NCSS: Tensor, brightness_N: Tensor, contrast_N: Tensor, saturation_N: Tensor, hue_N: Tensor) -> None:
    """Brightness, contrast, saturation, then hue (in turns), in place."""

    def each(factor_N: Tensor) -> Tensor:
        return factor_N[:, None, None, None]

    x = x_NCSS
    x.mul_(each(brightness_N)).clamp_(0, 1)
    # Row by row, then the rows: each sum is of one view alone in one fixed order, whatever the batch and the threads.
    mean = luma(x).mean(3).mean((1, 2))
    x.mul_(each(contrast_N)).add_(each(mean * (1 - contrast_N))).clamp_(0, 1)
    if x.shape[1] == 1:
        return
    grey = luma(x).mul_(each(1 - saturation_N))
    x.mul_(each(saturation_N)).add_(grey).clamp_(0, 1)
    turn_hue_(x, hue_N)


def turn_hue_(x_N3SS: Tensor, hue_N: Tensor) -> None:
    """Rotate hue by `hue` turns, keeping maximum and minimum of the three channels."""
    red, green, blue = x_N3SS.unbind(1)
    top = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = top - low
    # Truth as 0.0 and 1.0, written to floats at once: bytes would have to be widened again, at seven times the cost.
    is_red, is_green = torch.empty_like(top), torch.empty_like(top)
    torch.eq(red, top, out=is_red)
    torch.eq(green, top, out=is_green)
    is_green.mul_(1 - is_red)  # where channels tie for the maximum, the first of them counts
    # In sixths of a turn: 0 red, 2 green, 4 blue. A grey has none: its numerator is 0, its chroma is made something.
    sixths = (red - green).mul_(1 - is_red - is_green)
    sixths.addcmul_(green - blue, is_red).addcmul_(blue - red, is_green)
    sixths.div_(chroma.clamp(min=1e-12)).add_(4).sub_(is_red, alpha=4).sub_(is_green, alpha=2)
    sixths.add_(6 * hue_N[:, None, None])
    sixths.sub_(torch.floor(sixths / 6), alpha=6)
    red.copy_((sixths - 3).abs_().sub_(1).clamp_(0, 1).mul_(chroma).add_(low))
    green.copy_((sixths - 2).abs_().neg_().add_(2).clamp_(0, 1).mul_(chroma).add_(low))
    blue.copy_((sixths - 4).abs_().neg_().add_(2).clamp_(0, 1).mul_(chroma).add_(low))


def solarise(x: Tensor) -> Tensor:
    """What is at least half bright, inverted."""
    bright = torch.empty_like(x)
    torch.ge(x, 0.5, out=bright)
    return torch.addcmul(x, bright, 1 - 2 * x)


def blur(x_NCSS: Tensor, sigma_N: Tensor, radius: int) -> Tensor:
    """A Gaussian of `sigma` pixels over 2 `radius` + 1 taps each way, the border reflected (radius < S).

    Separable, each axis as a product of blocks of 32 pixels with one banded matrix: the cost of a fixed filter, though
    every view has its own.
    """
    S = x_NCSS.shape[-1]
    if not 0 < radius < S:
        raise ValueError(f"a blur of {radius} pixels each way wants a view of more, got {S}")
    # Between output pixel `column` of a block and input pixel `row` lie row - column - radius.
    apart = torch.arange(_BLOCK + 2 * radius)[:, None] - torch.arange(_BLOCK) - radius
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma_N[:, None]) ** 2)
    taps = taps / taps.sum(1, keepdim=True)
    band = taps[:, (apart + radius).clamp(0, 2 * radius)] * (apart.abs() <= radius)  # [N, 32 + 2 radius, 32]
    return _along(_along(x_NCSS, band, radius).transpose(2, 3), band, radius).transpose(2, 3)


def _along(x_NCSS: Tensor, band: Tensor, radius: int) -> Tensor:
    N, C, S, _ = x_NCSS.shape
    padded = F.pad(x_NCSS, (radius, radius, 0, 0), "reflect")
    padded = F.pad(padded, (0, -S % _BLOCK)) if S % _BLOCK else padded
    blocks = padded.unfold(3, band.shape[1], _BLOCK).reshape(N, -1, band.shape[1])
    return (blocks @ band).view(N, C, S, -1)[..., :S]
