import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssl_models.images import decode
from ssl_models.jpeg import decode_jpeg


def encode(pixels, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def pillow(payload, mode="RGB"):
    array = np.asarray(Image.open(io.BytesIO(payload)).convert(mode))
    return array.reshape(*array.shape[:2], -1)


@settings(max_examples=40)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 99),
    quality=st.integers(5, 100),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
    grey=st.booleans(),
)
def test_the_pixels_are_pillows(height, width, seed, quality, subsampling, progressive, grey):
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((width, height)))
    options = {"quality": quality, "progressive": progressive} | ({} if grey else {"subsampling": subsampling})
    payload = encode(pixels, "L" if grey else "RGB", **options)
    assert np.array_equal(decode_jpeg(payload, 3), pillow(payload))
    assert np.array_equal(decode(payload, 3).permute(1, 2, 0).numpy(), pillow(payload))
    if grey:
        assert np.array_equal(decode_jpeg(payload, 1), pillow(payload, "L"))


def test_what_is_not_plain_is_left_to_pillow(monkeypatch):
    pixels = np.zeros((20, 20, 3), np.uint8)
    payload = encode(pixels)
    assert decode_jpeg(payload, 3) is not None
    for other in (encode(pixels, "CMYK"), payload[:-40], payload[:100], b"\xff\xd8", b"\x89PNG", b""):
        assert decode_jpeg(other, 3) is None
    assert decode_jpeg(payload, 1) is None
    with pytest.raises(ValueError, match="no image"):
        decode(payload[:-40], 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 399)
    assert decode_jpeg(payload, 3) is None
