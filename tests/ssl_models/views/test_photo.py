"""Photographic views of a batch, held against torchvision's v2 functional one image at a time with the same numbers."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from ssl_models.image_config import Photo
from ssl_models.views.colour import turn_hue_
from ssl_models.views.parameters import draw, uniforms, view_keys
from ssl_models.views.photo import Crops, blur_radius, multi_crop, photo, render

RULE = Photo(kind="photo", jitter=0.6, solarise=0.5)
BOTH = [0.2, 1.0]


def pictures(*shapes, channels=3, seed=0):
    """Smooth colours with sharp edges and noise, as photographs have them; a black and a white corner."""
    found = []
    for n, (height, width) in enumerate(shapes):
        rng = np.random.default_rng([seed, n])
        y, x = np.mgrid[:height, :width]
        waves = [128 + 120 * np.sin(x / rng.uniform(2, 30) + y / rng.uniform(2, 30)) for _ in range(channels)]
        image = np.stack(waves) + rng.normal(0, 8, (channels, height, width))
        image[:, : height // 3, : width // 4], image[:, -height // 4 :, -width // 3 :] = 0, 255
        found.append(torch.from_numpy(image.clip(0, 255).astype(np.uint8)))
    return found


def numbers(count, rule=RULE, sizes=((48, 64),), crop=BOTH, seed=0):
    keys = view_keys(np.arange(count, dtype=np.uint64), np.zeros(count, np.int64), 0, seed)
    heights, widths = (np.array([sizes[n % len(sizes)][axis] for n in range(count)]) for axis in (0, 1))
    return keys, draw(keys, heights, widths, rule, tuple(crop))


def by_torchvision(image, drawn, n, size, radius, integers):
    """View n by torchvision: resized as integers (its own 256 levels) or as floats, coloured as floats."""
    top, left, height, width = drawn.box[n].tolist()
    source = image if integers else image.float() / 255
    view = tv.resized_crop(source, top, left, height, width, [size, size], antialias=True)
    view = view.float() / 255 if integers else view.clamp(0, 1)
    if drawn.flip[n]:
        view = tv.horizontal_flip(view)
    if drawn.jitter[n]:
        view = tv.adjust_brightness(view, float(drawn.brightness[n]))
        view = tv.adjust_contrast(view, float(drawn.contrast[n]))
        if len(image) == 3:
            view = tv.adjust_saturation(view, float(drawn.saturation[n]))
            view = tv.adjust_hue(view, float(drawn.hue[n]))
    if drawn.grey[n] and len(image) == 3:
        view = tv.rgb_to_grayscale(view, num_output_channels=3)
    if drawn.sigma[n]:
        view = tv.gaussian_blur(view, [2 * radius + 1] * 2, [float(drawn.sigma[n])] * 2)
    if drawn.solarise[n]:
        view = tv.solarize(view, 0.5)
    return view


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("source", "size"), [((32, 32), 32), ((28, 40), 32), ((260, 190), 96), ((90, 300), 224)])
def test_every_view_is_torchvisions(source, size, channels):
    """Solarisation tears apart what lies on either side of 0.5: there a pixel in a thousand may differ."""
    images = pictures(*[source] * 12, channels=channels)
    _, drawn = numbers(12, sizes=[source])
    radius = blur_radius(RULE, size)
    views = render(images, np.arange(12), drawn, size, radius)
    assert views.shape == (12, channels, size, size)
    small = source[0] <= 40
    for n, view in enumerate(views):
        theirs = by_torchvision(images[n], drawn, n, size, radius, integers=not small)
        # Floats on both sides; or one of 256 levels, which torchvision's build may round the other way.
        apart = (view - theirs).abs()
        assert (apart > 2e-5).float().mean() < (1e-3 if drawn.solarise[n] else 1e-9), n
    assert 0 < drawn.flip.sum() < 12
    assert 0 < drawn.jitter.sum() < 12


def test_without_solarisation_nothing_is_apart():
    rule = dataclasses.replace(RULE, solarise=0, grey=0.5)
    images = pictures(*[(32, 32)] * 64)
    _, drawn = numbers(64, rule, [(32, 32)])
    views = render(images, np.arange(64), drawn, 32, 5)
    worst = max(
        (view - by_torchvision(images[n], drawn, n, 32, 5, False)).abs().max().item() for n, view in enumerate(views)
    )
    assert worst < 1e-5


@given(st.lists(st.integers(0, 255), min_size=3, max_size=3), st.floats(-0.5, 0.5))
@settings(max_examples=200, deadline=None)
def test_hue_is_torchvisions_for_any_colour(colour, turn):
    """Greys, ties and primary colours too. Half a turn either way is the same turn."""
    x = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1) / 255
    theirs = tv.adjust_hue(x, turn)
    turn_hue_(x, torch.tensor([turn]))
    assert torch.allclose(x, theirs, atol=2e-6)


def test_a_view_does_not_depend_on_its_batch():
    """Alone, among others, among images of other sizes, in another order, cut in other groups, with more threads."""
    shapes = [(32, 32), (32, 32), (70, 90), (300, 200), (32, 32), (70, 90)] * 6
    images, keys = pictures(*shapes), numbers(36, sizes=shapes)[0]
    for size in (24, 96):
        views = photo(images, keys, RULE, size)
        for n in (0, 2, 3, 35):
            assert torch.equal(photo([images[n]], keys[n : n + 1], RULE, size)[0], views[n])
        order = np.random.default_rng(1).permutation(36)
        assert torch.equal(photo([images[n] for n in order], keys[order], RULE, size), views[torch.from_numpy(order)])
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            assert torch.equal(photo(images, keys, RULE, size), views)
        finally:
            torch.set_num_threads(threads)


def test_multi_crop_is_its_views_one_by_one():
    images = pictures((40, 52), (64, 64), (200, 300))
    words, epochs = np.array([5, 6, 7], np.uint64), np.array([0, 0, 1], np.int64)
    large, small = multi_crop(images, words, epochs, RULE, [Crops(2, 48, 0.3), Crops(3, 24, 0.05, 0.3)], 9)
    assert large.shape == (2, 3, 3, 48, 48)
    assert small.shape == (3, 3, 3, 24, 24)
    for number in range(5):
        keys = view_keys(words, epochs, number, 9)
        size, crop = (48, (0.3, 1.0)) if number < 2 else (24, (0.05, 0.3))
        one = photo(images, keys, RULE, size, crop)
        assert torch.equal(one, large[number] if number < 2 else small[number - 2])
    assert not torch.equal(large[0], large[1])


def test_boxes_are_those_of_random_resized_crop():
    """Shares and aspects fill their ranges evenly, boxes lie inside, and the middle is taken where none of ten fits."""
    sizes = [(375, 500), (500, 333), (224, 224)]
    _, drawn = numbers(30_000, sizes=sizes, crop=[0.2, 0.6])
    heights, widths = (np.array([sizes[n % 3][axis] for n in range(30_000)]) for axis in (0, 1))
    top, left, height, width = drawn.box.T
    assert (drawn.box >= 0).all()
    assert (top + height <= heights).all()
    assert (left + width <= widths).all()
    share, aspect = height * width / (heights * widths), np.log(width / height)
    assert abs(share.mean() - 0.4) < 0.005
    assert share.min() >= 0.19
    assert share.max() <= 0.61
    assert abs(aspect).max() < math.log(4 / 3) + 0.02
    assert abs(aspect.mean()) < 0.01
    thin = numbers(50, sizes=[(20, 400)], crop=[0.9, 1.0])[1].box
    assert (thin == [0, 186, 20, 27]).all()  # torchvision's: the middle, at an aspect of 4 / 3
    tall = numbers(50, sizes=[(400, 20)], crop=[0.9, 1.0])[1].box
    assert (tall == [186, 0, 27, 20]).all()


def test_chances_are_kept_and_numbers_are_keyed():
    rule = dataclasses.replace(RULE, solarise=0.2)
    _, drawn = numbers(20_000, rule)
    for name, chance in (("flip", 0.5), ("jitter", 0.6), ("grey", 0.2), ("solarise", 0.2)):
        assert abs(getattr(drawn, name).mean() - chance) < 4 * math.sqrt(0.25 / 20_000), name
    assert abs((drawn.sigma > 0).mean() - 0.5) < 0.015
    assert drawn.sigma[drawn.sigma > 0].min() >= 0.1
    assert drawn.sigma.max() <= 2
    assert abs(drawn.hue).max() <= 0.2
    assert not np.array_equal(numbers(100, seed=1)[1].box, numbers(100, seed=2)[1].box)
    assert (uniforms(np.arange(4, dtype=np.uint64), 3)[:, :2] == uniforms(np.arange(4, dtype=np.uint64), 2)).all()


def test_the_rule_of_nothing_is_the_image():
    still = Photo(kind="photo", crop_low=1, aspect=1, flip=0, jitter=0, grey=0, blur=0)
    for image in pictures((32, 32), (224, 224)):
        view = photo([image], numbers(1)[0], still, image.shape[1])
        assert torch.allclose(view[0], image / 255, atol=1e-6)


@pytest.mark.parametrize("shapes", [[(8, 8)], [(3, 4, 4), (1, 4, 4)]])
def test_what_is_no_image_is_refused(shapes):
    images = [torch.zeros(shape, dtype=torch.uint8) for shape in shapes]
    with pytest.raises(ValueError, match="expected uint8"):
        render(images, np.zeros(1, int), numbers(1)[1], 8, 2)
    with pytest.raises(ValueError, match="expected uint8"):
        render([torch.zeros(3, 4, 4)], np.zeros(1, int), numbers(1)[1], 8, 2)
    with pytest.raises(ValueError, match="no view"):
        photo([torch.zeros(3, 4, 4, dtype=torch.uint8)], np.empty(0, np.uint64), RULE, 8)
