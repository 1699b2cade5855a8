"""Near-duplicate images: candidates by a perceptual descriptor, each verified on its pixels.

The descriptor is that of a perceptual hash (the low frequencies of a discrete cosine transform of a small grey picture:
Zauner 2010, Implementation and benchmarking of perceptual image hash functions), but kept as numbers, not cut to bits:
each picture proposes its NEIGHBOURS nearest ones. A bit hash has one radius for all collections, and in one of similar
pictures (digits, garments, icons) either misses copies or proposes everything. Dot products are of small integers, so
they are exact, whatever the order of the sums.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tasks.curation.image_alignment import Places, compare_at, register

VERSION = 1

NEIGHBOURS = 12
MINIMUM_COSINE = 0.8  # of descriptors; a picture cut by 5 % at each edge keeps 0.88 and more
COARSE, FINE = 64, 128  # sides of the grids on which pairs are verified
MAXIMUM_ASPECT = 1.15  # between two copies; cutting changes it
_FREQUENCIES = 8
_ROWS = 512  # of the table of dot products at once
_PAIRS = 64
_GROUP = 48  # members of a group of copies that are all compared with one another

_NOWHERE = np.array([1.0, 1.0, 0.0, 0.0])

Pictures = Iterable[tuple[str, bytes]]
Found = dict[tuple[int, int], tuple[float, Places]]


def find_image_pairs(pictures: Pictures, threshold: float) -> Iterator[tuple[str, str, float]]:
    """(record_id, record_id, similarity) of the pairs with `image_alignment`'s similarity >= `threshold`, each once.

    `pictures`: (record_id, encoded regular image), as often as they are asked for, in the same order. Memory: 300 bytes
    an image; small pictures wait in a temporary file. Time: quadratic in the number of images, at 5e9 pairs a minute.
    """
    from threadpoolctl import threadpool_limits

    with tempfile.TemporaryFile(prefix="gristmill-pictures-") as file, threadpool_limits(1):
        ids, shapes, descriptors = _described(pictures, file)
        if len(ids) < 2:
            return
        small = np.memmap(file, np.uint8, "r", shape=(len(ids), COARSE, COARSE, 3))
        asked = _verified(small, shapes, _candidates(descriptors), threshold)
        while True:  # a picture with more copies than neighbours: its copies' copies are asked, too
            near = {pair: found for pair, found in asked.items() if found[0] >= threshold}
            more = sorted(set(_grouped(near)) - asked.keys())
            if not more:
                break
            asked |= _verified(small, shapes, np.array(more), threshold)
        for (a, b), value in sorted(_in_detail(pictures, near, shapes).items()):
            if value >= threshold:
                yield ids[a], ids[b], round(value, 4)


def thumbnail(data: bytes, side: int) -> NDArray[np.uint8]:
    """uint8 [side, side, 3]: the picture squeezed into a square."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(_squeezed(image.convert("RGB"), (side, side)))


def _squeezed(image: Any, size: tuple[int, int]) -> Any:
    from PIL import Image

    kernel = Image.Resampling.BICUBIC if max(image.size) <= max(size) else Image.Resampling.LANCZOS
    return image if image.size == size else image.resize(size, kernel, reducing_gap=3.0)


def descriptor(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Integers in -127..127 [64]: the low frequencies of the picture's grey, scaled to one length; 0 of a flat one."""
    from scipy.fft import dctn

    grey = small.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    half = grey.reshape(32, COARSE // 32, 32, COARSE // 32).mean((1, 3))
    low = dctn(half - half.mean(), norm="ortho")[:_FREQUENCIES, :_FREQUENCIES].ravel()
    length = float(np.sqrt((low * low).sum()))
    return np.zeros(64, np.float32) if length < 32 else np.rint(low * (127 / length)).astype(np.float32)


def _described(pictures: Pictures, file: IO[bytes]) -> tuple[list[str], NDArray[np.int64], NDArray[np.float32]]:
    """(ids, [N, 2] widths and heights, [N, 64] descriptors); the thumbnails go into `file`."""
    from PIL import Image

    ids, shapes, descriptors = [], [], []
    for name, data in pictures:
        with Image.open(io.BytesIO(data)) as image:
            shapes.append(image.size)
            small = np.asarray(_squeezed(image.convert("RGB"), (COARSE, COARSE)))
        file.write(small.tobytes())
        ids.append(name)
        descriptors.append(descriptor(small).astype(np.int8))
    file.flush()
    table = np.array(descriptors, np.int8).reshape(-1, 64).astype(np.float32)
    return ids, np.array(shapes, np.int64).reshape(-1, 2), table


def _candidates(table: NDArray[np.float32]) -> NDArray[np.int64]:
    """[P, 2] rows a < b, each pair once, sorted: the nearest neighbours of each; ties at the last place all count."""
    least = MINIMUM_COSINE * 127**2
    pairs = []
    for start in range(0, len(table), _ROWS):
        dots = table[start : start + _ROWS] @ table.T
        here = np.arange(len(dots))
        dots[here, start + here] = -1
        bound = np.full(len(dots), least, np.float32)
        crowded = np.flatnonzero((dots >= least).sum(axis=1) > NEIGHBOURS)
        if len(crowded):
            bound[crowded] = np.partition(dots[crowded], -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]
        rows, others = np.nonzero(dots >= bound[:, None])
        pairs.append(np.sort(np.stack([rows + start, others], 1), axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _verified(small: NDArray[np.uint8], shapes: NDArray[np.int64], pairs: NDArray[np.int64], threshold: float) -> Found:
    """Pair -> (similarity on the coarse grid, place); 0 where the aspects differ too much."""
    found: Found = {(a, b): (0.0, _NOWHERE) for a, b in pairs.tolist()}
    aspect = shapes[:, 0] / shapes[:, 1]
    ratio = aspect[pairs[:, 0]] / aspect[pairs[:, 1]]
    pairs = pairs[np.maximum(ratio, 1 / ratio) <= MAXIMUM_ASPECT]
    longest = shapes[pairs].max(axis=(1, 2))
    for side in (16, 32, COARSE):  # a finer grid than the pictures' own shows nothing more
        here = pairs[(longest <= side) & (longest > side // 2)] if side < COARSE else pairs[longest > side // 2]
        here = pairs[longest <= side] if side == 16 else here
        for start in range(0, len(here), _PAIRS):
            part = here[start : start + _PAIRS]
            even = [_even(small[a], small[b], shapes[a], shapes[b], side) for a, b in part]
            values, places = register(np.stack([a for a, _ in even]), np.stack([b for _, b in even]), threshold)
            for (a, b), value, place in zip(part.tolist(), values.tolist(), places, strict=True):
                found[a, b] = value, place
    return found


def _even(a: NDArray[np.uint8], b: NDArray[np.uint8], size_a: Any, size_b: Any, side: int) -> tuple[Any, Any]:
    """Both on one grid, float32 [side, side, 3], and as sharp as the less sharp one: a small copy lacks detail."""
    from PIL import Image

    smaller = np.minimum(np.minimum(size_a, size_b), side).tolist()
    even = []
    for picture, size in ((a, size_a), (b, size_b)):
        image = Image.fromarray(picture)
        if min(smaller) < side and (size > np.array(smaller)).any():
            image = image.resize(tuple(smaller), Image.Resampling.LANCZOS)
        even.append(np.asarray(_squeezed(image, (side, side))).astype(np.float32))
    return even[0], even[1]


def _grouped(found: Found) -> Iterator[tuple[int, int]]:
    """All pairs inside each group that pairs hold together; of a large group those with its first _GROUP members."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not found:
        return
    ends = np.array(sorted(found))
    members, codes = np.unique(ends, return_inverse=True)
    codes = codes.reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends)), (codes[:, 0], codes[:, 1])), shape=(len(members), len(members)))
    _, labels = connected_components(graph, directed=False)
    order = np.argsort(labels, kind="stable")
    for group in np.split(members[order], np.flatnonzero(np.diff(labels[order])) + 1):
        for place, a in enumerate(group[:_GROUP].tolist()):
            for b in group[place + 1 :].tolist():
                yield a, b


def _in_detail(pictures: Pictures, near: Found, shapes: NDArray[np.int64]) -> dict[tuple[int, int], float]:
    """Pairs of larger pictures once more on the fine grid: two pages of text are alike until one can read them."""
    values = {pair: value for pair, (value, _) in near.items()}
    fine = sorted(pair for pair in near if min(shapes[pair[0]].max(), shapes[pair[1]].max()) > COARSE)
    rows = sorted({row for pair in fine for row in pair})
    order = {row: number for number, row in enumerate(rows)}
    if not fine:
        return values
    with tempfile.TemporaryFile(prefix="gristmill-pictures-") as file:
        for row, (_, data) in enumerate(pictures):
            if row in order:
                file.write(thumbnail(data, FINE).tobytes())
        file.flush()
        large = np.memmap(file, np.uint8, "r", shape=(len(rows), FINE, FINE, 3))
        for a, b in fine:
            one, other = _even(large[order[a]], large[order[b]], shapes[a], shapes[b], FINE)
            value = compare_at(one[None], other[None], near[a, b][1][None])
            values[a, b] = min(values[a, b], float(value[0]))
    return values
