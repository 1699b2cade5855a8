"""Decoding: what a JPEG may leave out, threads, and batches of any sizes."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from small_images import SMALL, image_spec, write_images

from ssl_models.image_config import DINO, Augment, Photo, SimCLR
from ssl_models.image_run import ImageRun, smallest_side
from ssl_models.images import ImageBatch, ImageStream, decode
from ssl_models.objectives import build_image_method
from ssl_models.reader import Index, Reader


def jpeg(height, width, mode="RGB", quality=92):
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([128 + 100 * np.sin(x / 40 + k) * np.cos(y / 50 - k) for k in range(3)], 2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.mark.parametrize(("side", "divisor"), [(None, 1), (300, 1), (240, 2), (121, 2), (120, 4), (60, 8), (9, 8)])
def test_a_jpeg_comes_as_small_as_may_be(side, divisor):
    shape = (480 // divisor, 640 // divisor)
    payload = jpeg(480, 640)
    image = decode(payload, 3, side)
    assert image.shape[1:] == shape
    with Image.open(io.BytesIO(payload)) as whole:
        small = np.asarray(whole.resize(shape[::-1], Image.Resampling.BOX), np.int16)
    assert np.abs(image.permute(1, 2, 0).numpy().astype(np.int16) - small).mean() < 1.5


def test_grey_and_other_formats_keep_their_meaning():
    assert decode(jpeg(64, 64, "L"), 3, 16).shape == (3, 16, 16)
    assert decode(jpeg(64, 64), 1, 16).shape == (1, 16, 16)
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    assert decode(file.getvalue(), 3, 16).shape == (3, 64, 64)
    for broken in (b"", b"no image", jpeg(64, 64)[:300]):
        with pytest.raises(ValueError, match="no image that can be decoded"):
            decode(broken, 3, 16)


def test_the_smallest_crop_still_fills_its_view():
    assert smallest_side(SimCLR(augment=Augment(crop_low=0.25)), SMALL) == 32
    assert smallest_side(DINO(small_crop_low=0.04), SMALL) == 80


def test_threads_and_the_cache_change_nothing(tmp_path, monkeypatch):
    import ssl_models.images

    index = Index(write_images(tmp_path / "corpus", 60), "train", "png")

    def stream(threads):
        made = ImageStream(Reader(index, 3), rows=20, channels=1, threads=threads)
        return [next(made) for _ in range(5)]  # 48 images: the third batch is of both epochs

    plain = stream(1)
    monkeypatch.setattr(ssl_models.images, "THREAD_BYTES", 0)
    monkeypatch.setattr(ssl_models.images, "CACHE_BYTES", 640)
    for one, other in zip(plain, stream(3), strict=True):
        assert all(map(torch.equal, one.images, other.images))
        assert (one.words_B == other.words_B).all()
        assert (one.epochs_B == other.epochs_B).all()


@pytest.mark.parametrize("rule", [Augment(), Photo(kind="photo", blur_high=1.0)], ids=["affine", "photo"])
def test_images_of_any_sizes_have_views_of_their_own(rule):
    """Beside images of another size or not: the same view."""
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (1, *s), np.uint8)) for s in ((8, 8), (20, 30), (8, 8), (200, 90))]
    words, epochs = np.arange(4, dtype=np.uint64), np.zeros(4, np.int64)
    method = build_image_method(DINO(augment=rule), SMALL, 0, 1)
    whole = method.view(ImageBatch(images, words, epochs, 4)).pixels_VBCSS
    assert whole.shape == (4, 4, 1, 16, 16)
    assert whole.abs().max() <= 1
    for n in range(4):
        alone = method.view(ImageBatch(images[n : n + 1], words[n : n + 1], epochs[n : n + 1], 1)).pixels_VBCSS
        assert torch.equal(alone[:, 0], whole[:, n])


def test_photographic_views_train(tmp_path):
    from ssl_models import trainer

    spec = image_spec(tmp_path, SimCLR(hidden=32, projection=16, augment=Photo(kind="photo", blur_high=0.5)), steps=4)
    assert trainer.run_spec(spec) == trainer.FINISHED
    assert isinstance(spec.objective.augment, Photo)
    assert ImageRun(spec).packer.side == 36
