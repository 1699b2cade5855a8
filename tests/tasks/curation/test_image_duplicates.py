"""Near-duplicate images: copies are found, strangers are not, each pair once, whatever the order of the bits."""

import io

import numpy as np
import pytest
from PIL import Image

from tasks.curation.image_alignment import register
from tasks.curation.image_duplicates import find_image_pairs
from tasks.curation.sources import open_source
from tasks.curation.sources.pictures import Digits


def scene(seed, size=(96, 72)):
    """A picture of coloured rectangles on a slope: large shapes, sharp edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    array = np.stack([x * rng.uniform(0, 2), y * rng.uniform(0, 2), (x + y) * rng.uniform(0, 1)], -1)
    for _ in range(6):
        left, top = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 20)
        wide, high = rng.integers(10, 50, 2)
        array[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))


def data(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


COPIES = {
    "jpeg": lambda image: data(image, "JPEG", quality=60),
    "webp": lambda image: data(image, "WEBP", quality=70),
    "half": lambda image: data(image.resize((48, 36), Image.Resampling.LANCZOS)),
    "double": lambda image: data(image.resize((192, 144), Image.Resampling.BICUBIC)),
    "cut": lambda image: data(image.crop((4, 2, 93, 70))),
}


def test_copies_are_found_and_strangers_are_not():
    pictures = [(f"{seed:02d}", data(scene(seed))) for seed in range(12)]
    pictures += [(f"{seed:02d}.{name}", make(scene(seed))) for seed in range(3) for name, make in COPIES.items()]
    pairs = list(find_image_pairs(sorted(pictures), 0.85))
    found = {(a, b) for a, b, _ in pairs}
    assert len(found) == len(pairs)
    assert all(a < b and 0.85 <= value <= 1 for a, b, value in pairs)
    assert {a[:2] == b[:2] for a, b in found} == {True}
    missed = [f"{seed:02d}.{n}" for seed in range(3) for n in COPIES if (f"{seed:02d}", f"{seed:02d}.{n}") not in found]
    assert not missed
    assert pairs == list(find_image_pairs(sorted(pictures), 0.85))
    stricter = list(find_image_pairs(sorted(pictures), 0.95))
    assert {(a, b) for a, b, _ in stricter} <= found


def test_more_copies_than_neighbours_are_all_found():
    pictures = [(f"{quality:03d}", data(scene(1), "JPEG", quality=quality)) for quality in range(60, 80)]
    pairs = list(find_image_pairs(pictures, 0.9))
    assert len(pairs) == 20 * 19 // 2


def test_recoloured_mirrored_and_flat_pictures_are_no_copies():
    image = scene(3)
    red, green, blue = image.split()
    others = [Image.merge("RGB", (blue, green, red)), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    others += [Image.new("RGB", (96, 72), colour) for colour in ("red", "white")]
    pictures = [(str(n), data(other)) for n, other in enumerate([image, *others])]
    assert list(find_image_pairs(pictures, 0.85)) == []
    assert list(find_image_pairs([], 0.85)) == []


def test_no_digit_is_taken_for_another():
    pictures = [(f"{n:03d}", raw.payload) for n, raw in enumerate(open_source(Digits(first=100)))]
    assert list(find_image_pairs(pictures, 0.95)) == []


def test_a_known_scale_and_shift_are_found():
    side = 64
    image = scene(9, (640, 640))
    whole = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS)).astype(np.float32)[None]
    part = image.crop((20, 10, 620, 610)).resize((side, side), Image.Resampling.LANCZOS)
    value, place = register(whole, np.asarray(part).astype(np.float32)[None])
    assert value[0] > 0.9
    assert place[0] == pytest.approx([600 / 640, 600 / 640, 0, (20 - 40) / 640 / 1], abs=0.02)
    same, straight = register(whole, whole)
    assert same[0] == pytest.approx(1)
    assert straight[0] == pytest.approx([1, 1, 0, 0])
