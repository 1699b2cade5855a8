"""Images made regular: hostile ones held back at little cost, odd ones by stated rules, nothing but pixels left."""

import io
import json
import math
import subprocess
import sys

import hostile_images as hostile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.curation.image_measures import measures
from tasks.curation.images import regularise_image
from tasks.curation.media import ImageSettings

SECONDS, MEBIBYTES = 10, 512
SMALL = {
    "PNG": hostile.png(),
    "JPEG": hostile.jpeg(),
    "GIF": hostile.gif(),
    "WEBP": hostile.saved(hostile.picture(), "WEBP", lossless=True),
    "BMP": hostile.saved(hostile.picture(), "BMP"),
    "TIFF": hostile.saved(hostile.picture(), "TIFF", compression="tiff_lzw"),
}


def regular(payload: bytes, **chosen) -> Image.Image:
    found = regularise_image(payload, ImageSettings(**chosen))
    assert found.data is not None, (found.rule, found.detail)
    return Image.open(io.BytesIO(found.data))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Every hostile image through one process, with its CPU seconds and the peak of its memory."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (suffix, make, _) in hostile.CASES.items():
        (folder / f"{name}{suffix}").write_bytes(make())
    lines = "".join(f"{folder}/{name}{suffix}\n" for name, (suffix, _, _) in hostile.CASES.items())
    command = [sys.executable, "-P", "-W", "error", hostile.__file__]  # or tests/tasks would be the package tasks
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return dict(zip(hostile.CASES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", hostile.CASES)
def test_hostile_images_are_held_back_or_made_regular_at_a_bounded_cost(outcomes, name):
    found = outcomes[name]
    assert found["rule"] == hostile.CASES[name][2], found
    assert (found["size"] is None) == bool(found["rule"])
    assert found["seconds"] <= SECONDS
    assert found["mebibytes"] <= MEBIBYTES


def test_the_limits_are_those_of_the_settings():
    found = regularise_image(hostile.png(), ImageSettings(maximum_pixels=48 * 32 - 1))
    assert (found.rule, found.detail) == ("media.too_large", "1536 pixels, limit 1535")
    found = regularise_image(hostile.png(), ImageSettings(maximum_bytes=len(hostile.png()) - 1))
    assert found.rule == "media.too_large"
    assert regularise_image(hostile.gif(), ImageSettings(kinds=("PNG",))).rule == "media.unsupported"


@pytest.mark.parametrize("kind", SMALL)
def test_every_kind_comes_out_as_it_looks_with_nothing_but_pixels(kind):
    image = regular(SMALL[kind])
    seen = pixels(Image.open(io.BytesIO(SMALL[kind])))
    assert image.format == "PNG"
    assert image.mode == "RGB"
    assert (pixels(image) == seen).all()
    assert not image.info
    assert not image.getexif()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_the_place_is_gone(orientation):
    """The reference: numpy's turns, as the EXIF specification names the corners (2.32, table 6)."""
    payload = hostile.saved(hostile.picture(), "PNG", exif=hostile.exif(orientation, gps=True))
    found = regularise_image(payload)
    a = pixels(hostile.picture())
    by_hand = {
        1: a, 2: a[:, ::-1], 3: a[::-1, ::-1], 4: a[::-1], 5: a.transpose(1, 0, 2),
        6: np.rot90(a, -1), 7: a.transpose(1, 0, 2)[::-1, ::-1], 8: np.rot90(a),
    }  # fmt: skip
    assert (pixels(regular(payload)) == by_hand[orientation]).all()
    assert (found.measures["exif"], found.measures["gps"]) == (1, 1)
    assert b"Exif" not in found.data
    assert (found.measures["width"], found.measures["height"]) == by_hand[orientation].shape[1::-1]


def test_a_place_in_xmp_is_found():
    packet = b'<x:xmpmeta><rdf:Description exif:GPSLatitude="52,30N"/></x:xmpmeta>'
    found = regularise_image(hostile.saved(hostile.picture(), "JPEG", xmp=packet))
    assert found.measures["gps"] == 1
    assert b"GPS" not in found.data


def test_depth_colour_and_transparency_by_the_stated_rules():
    y, x = np.mgrid[0:32, 0:48]
    deep = ((x + 48 * y) * 40).astype(np.uint16)
    assert (np.asarray(regular(hostile.sixteen_bits())) == deep >> 8).all()
    assert regular(hostile.sixteen_bits()).mode == "L"
    clear = hostile.saved(Image.fromarray(deep), "PNG", transparency=int(deep[3, 4]))
    assert np.asarray(regular(clear))[3, 4] == 255
    half = Image.new("RGBA", (4, 4), (200, 0, 100, 128))
    assert pixels(regular(hostile.saved(half, "PNG")))[0, 0] == pytest.approx([227, 127, 177], abs=1)
    grey = hostile.saved(Image.new("LA", (4, 4), (200, 0)), "PNG")
    assert (np.asarray(regular(grey)) == 255).all()
    assert regular(grey).mode == "L"
    palette = hostile.saved(hostile.picture("P"), "PNG", transparency=int(np.asarray(hostile.picture("P"))[0, 0]))
    assert (pixels(regular(palette))[0, 0] == 255).all()
    ink = regular(hostile.saved(hostile.picture("CMYK"), "JPEG", quality=95))
    assert np.abs(pixels(ink) - pixels(hostile.picture())).mean() < 6  # inverted it would be 100 off
    bits = hostile.saved(hostile.picture("1"), "TIFF", compression="group4")
    assert (np.asarray(regular(bits)) == np.asarray(hostile.picture("1").convert("L"))).all()
    assert regular(hostile.png(), colour="grey").mode == "L"
    assert regular(bits, colour="RGB").mode == "RGB"


def test_colours_follow_the_profile_and_a_broken_one_changes_nothing():
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (b"no profile", lab, srgb):
        payload = hostile.saved(hostile.picture(), "PNG", icc_profile=profile)
        assert (pixels(regular(payload)) == pixels(hostile.picture())).all()
        assert regularise_image(payload).measures["icc"] == 0
        assert b"iCCP" not in regularise_image(payload).data


def test_animations_are_held_back_unless_the_first_frame_will_do():
    for kind in ("GIF", "WEBP", "PNG"):
        found = regularise_image(hostile.frames(kind))
        assert (found.rule, found.measures["frames"]) == ("media.animated", 4)
        still = regular(hostile.frames(kind), frames="first")
        assert np.abs(pixels(still) - pixels(hostile.picture())).mean() < 8


def test_large_images_are_scaled_and_other_encodings_written():
    small = regular(hostile.png(), longest_side=24, format="jpeg")
    assert (small.format, small.size) == ("JPEG", (24, 16))
    assert regular(hostile.png(), format="webp").format == "WEBP"
    assert regularise_image(hostile.png(), ImageSettings(longest_side=24)).measures["width"] == 48  # as found


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.data())
def test_damage_never_raises_and_never_lets_half_an_answer_out(kind, data):
    payload = bytearray(SMALL[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(payload))))
    found = regularise_image(bytes(payload[:cut]))
    assert (found.data is None) == bool(found.rule)
    assert found == regularise_image(bytes(payload[:cut]))
    if found.data is not None:
        assert regularise_image(found.data).data == found.data  # what is regular stays what it is


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SMALL)), st.integers(1, 400))
def test_no_beginning_of_an_image_is_taken_for_the_image(kind, lost):
    payload = SMALL[kind]
    found = regularise_image(payload[: max(0, len(payload) - lost)])
    assert found.data is None


def test_measures_against_their_definitions():
    rng = np.random.default_rng(3)
    array = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    image = Image.fromarray(array)
    red, green, blue = (array[..., n].astype(float) for n in range(3))
    across, along = red - green, (red + green) / 2 - blue
    by_hand = math.hypot(across.std(), along.std()) + 0.3 * math.hypot(across.mean(), along.mean())
    grey = np.asarray(image.convert("L")).astype(float)
    share = np.bincount(grey.astype(int).ravel(), minlength=256) / grey.size
    entropy = -sum(p * math.log2(p) for p in share if p)
    edges = [
        grey[y - 1, x] + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1] - 4 * grey[y, x]
        for y in range(1, 36)
        for x in range(1, 52)
    ]
    found = measures(image)
    assert found["colourfulness"] == pytest.approx(by_hand, abs=1e-4)
    assert found["entropy"] == pytest.approx(entropy, abs=1e-4)
    assert found["sharpness"] == pytest.approx(np.var(edges), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 300))
def test_measures_do_not_depend_on_the_strips(width, height, strip):
    from unittest import mock

    image = Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))
    with mock.patch("tasks.curation.image_measures._STRIP_PIXELS", strip):
        assert measures(image) == measures(image.copy())
        found = measures(image)
    assert found == measures(image)
