"""What a photographic view is to be: box, flip, colours, blur; each number a hash of (seed, epoch, sample, view).

Legend: N views, U uniforms a view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssl_models.image_config import Photo
from ssl_models.keys import fold, stream

_UNIT = 2.0**-53
_TRIES = 10  # torchvision's RandomResizedCrop tries as often before it takes the middle


def view_keys(words_B: np.ndarray, epochs_B: np.ndarray, view: int, seed: int) -> np.ndarray:
    """uint64 [B]: one key a view, from its sample's word, the epoch and the view's number."""
    return fold(words_B, np.asarray(epochs_B, np.uint64), stream("view", seed, view))


def uniforms(keys_B: np.ndarray, count: int) -> np.ndarray:
    """float64 [B, count] in [0, 1), each a hash of (key, number)."""
    return (fold(keys_B[:, None], np.arange(count, dtype=np.uint64)) >> np.uint64(11)) * _UNIT


@dataclass(frozen=True)
class Drawn:
    """The numbers of N views. `box` int64 [N, 4]: top, left, height, width in pixels of the source; bool [N]: `flip`,
    `jitter`, `grey`, `solarise`; float32 [N]: `brightness`, `contrast`, `saturation` factors, `hue` in turns, and
    `sigma` of the blur in pixels of the view, 0 where there is none."""

    box: np.ndarray
    flip: np.ndarray
    jitter: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    saturation: np.ndarray
    hue: np.ndarray
    grey: np.ndarray
    sigma: np.ndarray
    solarise: np.ndarray

    def __len__(self) -> int:
        return len(self.box)

    def rows(self, which: slice | np.ndarray) -> Drawn:
        return Drawn(**{name: value[which] for name, value in vars(self).items()})

    @staticmethod
    def join(parts: list[Drawn]) -> Drawn:
        return Drawn(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def draw(
    keys_N: np.ndarray, heights_N: np.ndarray, widths_N: np.ndarray, rule: Photo, crop: tuple[float, float]
) -> Drawn:
    """The numbers of the views with `keys`, of sources of these sizes. `crop`: bounds of the share of area shown."""
    u_NU = uniforms(keys_N, 2 * _TRIES + 12)
    rest = u_NU[:, 2 * _TRIES :].T
    sigma = rule.blur_low + (rule.blur_high - rule.blur_low) * rest[10]

    def factor(u: np.ndarray, strength: float) -> np.ndarray:
        return (1 + (2 * u - 1) * strength).astype(np.float32)

    return Drawn(
        box=_boxes(u_NU[:, : 2 * _TRIES], rest[0], rest[1], heights_N, widths_N, crop, rule.aspect),
        flip=rest[2] < rule.flip,
        jitter=rest[3] < rule.jitter,
        brightness=factor(rest[4], rule.brightness),
        contrast=factor(rest[5], rule.contrast),
        saturation=factor(rest[6], rule.saturation),
        hue=((2 * rest[7] - 1) * rule.hue).astype(np.float32),
        grey=rest[8] < rule.grey,
        sigma=np.where(rest[9] < rule.blur, sigma, 0).astype(np.float32),
        solarise=rest[11] < rule.solarise,
    )


def _boxes(
    u_NU: np.ndarray,
    down_N: np.ndarray,
    across_N: np.ndarray,
    heights_N: np.ndarray,
    widths_N: np.ndarray,
    crop: tuple[float, float],
    widest: float,
) -> np.ndarray:
    """int64 [N, 4]: the first of ten drawn boxes that lies within the source, else the largest middle one."""
    N = len(u_NU)
    area = (heights_N * widths_N)[:, None] * (crop[0] + (crop[1] - crop[0]) * u_NU[:, :_TRIES])
    aspect = np.exp((2 * u_NU[:, _TRIES:] - 1) * math.log(widest))
    wide = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    tall = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (wide > 0) & (wide <= widths_N[:, None]) & (tall > 0) & (tall <= heights_N[:, None])
    first, rows = fits.argmax(1), np.arange(N)
    shape = widths_N / heights_N
    middle_wide = np.where(shape > widest, np.rint(heights_N * widest), widths_N).astype(np.int64)
    middle_tall = np.where(shape < 1 / widest, np.rint(widths_N * widest), heights_N).astype(np.int64)
    found = fits.any(1)
    height = np.where(found, tall[rows, first], middle_tall)
    width = np.where(found, wide[rows, first], middle_wide)
    top = np.where(found, np.floor(down_N * (heights_N - height + 1)), (heights_N - height) // 2)
    left = np.where(found, np.floor(across_N * (widths_N - width + 1)), (widths_N - width) // 2)
    return np.stack([top.astype(np.int64), left.astype(np.int64), height, width], 1)
