"""How alike two pictures are once one is laid over the other: verification on pixels, for pairs that may be copies.

A copy may have been re-encoded, scaled, or cut at its edges. So each pair is registered first: four numbers (a scale
and a shift of each axis) that minimise the squared difference, by Gauss-Newton steps from coarse to fine (Lucas and
Kanade 1981; Baker and Matthews 2004, the additive algorithm). What is left of the difference says whether it is a copy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.float32]  # [P, S, S, 3], 0..255
Places = NDArray[np.float64]  # [P, 4]: scale x, scale y, shift x, shift y; on a grid of -1..1

LARGEST = 0.12  # of a side: shift of an edge by a cut; more is another picture
NOISE = 8.0  # grey levels (RMS): what re-encoding leaves of a picture without contrast
MARGINS = {16: 0.15, 32: 0.1}  # of a copy's similarity on a grid of that side, below that on the finest
_STEPS = 5


def register(a: Pictures, b: Pictures, floor: float = 0.0) -> tuple[NDArray[np.float64], Places]:
    """For each pair its similarity, a number in 0..1, and where one lies over the other.

    Similarity: 1 - RMS of the difference / RMS of the difference that strangers would have, which is sqrt(variance of a
    + variance of b), over the overlap and the three channels, with NOISE added to each. Equal pictures have 1, others
    about 0. `a`, `b`: [P, S, S, 3], S a power of two, 16 or more. A pair that is further than MARGINS below
    `floor` on a coarse grid is not taken to a finer one; its number is then too low.
    """
    found, places = np.zeros(len(a)), _straight(len(a))
    rows = np.arange(len(a))
    side = 16
    while side <= a.shape[1] and len(rows):
        small_a, small_b = _shrunk(a[rows], side), _shrunk(b[rows], side)
        found[rows], places[rows] = _refined(small_a, small_b, places[rows], _STEPS)
        rows = rows[found[rows] >= floor - MARGINS.get(side, 0.0)]
        side *= 2
    return np.maximum(found, 0.0), places


def compare_at(a: Pictures, b: Pictures, places: Places) -> NDArray[np.float64]:
    """Similarities of pairs that were registered on a coarser grid, refined on theirs."""
    best, _ = _refined(a, b, places, 3)
    return np.maximum(best, 0.0)


def _straight(count: int) -> Places:
    return np.tile(np.array([1.0, 1.0, 0.0, 0.0]), (count, 1))


def _refined(a: Pictures, b: Pictures, start: Places, steps: int) -> tuple[NDArray[np.float64], Places]:
    """The best score and its place among lying straight, the start and each step from there."""
    kept = _straight(len(a))
    best = _score(a, b, kept)
    at = start
    for step in range(steps + 1):
        at = _step(a, b, at) if step else at
        score = _score(a, b, at)
        better = score > best
        best[better], kept[better] = score[better], at[better]
    return best, kept


def _shrunk(pictures: Pictures, side: int) -> Pictures:
    factor = pictures.shape[1] // side
    shape = (len(pictures), side, factor, side, factor, 3)
    return pictures.reshape(shape).mean(axis=(2, 4), dtype=np.float32)


def _warped(pictures: Pictures, at: Places) -> tuple[Pictures, NDArray[np.bool_], Pictures]:
    """Each picture seen through (scale x, scale y, shift x, shift y): pixels, which lie inside, the grid in -1..1."""
    count, side = pictures.shape[:2]
    grid = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)
    xs = (grid[None] * at[:, :1] + at[:, 2:3] + 1) * side / 2 - 0.5
    ys = (grid[None] * at[:, 1:2] + at[:, 3:4] + 1) * side / 2 - 0.5
    inside = ((ys >= -0.5) & (ys <= side - 0.5))[:, :, None] & ((xs >= -0.5) & (xs <= side - 0.5))[:, None, :]
    each = np.arange(count)[:, None]
    rows = np.clip(ys, 0, side - 1)
    low = np.minimum(rows.astype(np.int64), side - 2)
    part = (rows - low).astype(np.float32)[:, :, None, None]
    mixed = pictures[each, low] * (1 - part) + pictures[each, low + 1] * part
    columns = np.clip(xs, 0, side - 1)
    left = np.minimum(columns.astype(np.int64), side - 2)
    part = (columns - left).astype(np.float32)[:, None, :, None]
    turned = mixed.transpose(0, 2, 1, 3)
    mixed = turned[each, left].transpose(0, 2, 1, 3) * (1 - part) + turned[each, left + 1].transpose(0, 2, 1, 3) * part
    return mixed, inside, grid


def _step(a: Pictures, b: Pictures, at: Places) -> Places:
    """One Gauss-Newton step for every pair; a step out of bounds stops at them."""
    seen, inside, grid = _warped(a, at)
    side = a.shape[1]
    down, along = (np.gradient(seen, 2 / side, axis=axis) for axis in (1, 2))
    # The gradient of the warped picture is that of the picture times the scale.
    along /= at[:, 0].astype(np.float32)[:, None, None, None]
    down /= at[:, 1].astype(np.float32)[:, None, None, None]
    x, y = grid[None, None, :, None], grid[None, :, None, None]
    weight = inside[..., None]
    slopes = np.stack([(part * weight).reshape(len(a), -1) for part in (along * x, down * y, along, down)], 1)
    error = ((b - seen) * weight).reshape(len(a), -1)
    squares = slopes @ slopes.transpose(0, 2, 1)
    ridge = 1e-3 * np.trace(squares, axis1=1, axis2=2)[:, None, None] * np.eye(4) + 1e-6 * np.eye(4)
    move = np.linalg.solve((squares + ridge).astype(np.float64), np.einsum("pks,ps->pk", slopes, error)[..., None])[
        ..., 0
    ]
    found = at + np.clip(move, -0.1, 0.1)
    found[:, :2] = np.clip(found[:, :2], 1 / (1 + LARGEST), 1 + LARGEST)
    found[:, 2:] = np.clip(found[:, 2:], -LARGEST, LARGEST)
    return found


def _score(a: Pictures, b: Pictures, at: Places) -> NDArray[np.float64]:
    seen, inside, _ = _warped(a, at)
    weight = inside[..., None].astype(np.float32)
    count = 3 * inside.sum(axis=(1, 2))

    def mean(values: Pictures) -> NDArray[np.float64]:
        return (values * weight).sum(axis=(1, 2, 3), dtype=np.float64) / count

    def variance(values: Pictures) -> NDArray[np.float64]:
        middle = (values * weight).sum(axis=(1, 2), keepdims=True) / inside.sum(axis=(1, 2))[:, None, None, None]
        return mean((values - middle) ** 2)

    strangers = variance(seen) + variance(b) + 2 * NOISE**2
    return 1 - np.sqrt(mean((seen - b) ** 2) / strangers)
