"""Photographs as JPEG in WebDataset tars: crops of the two pictures that come with scikit-learn, from many places."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SHARDS = 8


def photographs(count: int, side: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """(key, JPEG of quality 90) of `count` different crops of 224 x 224, scaled to `side`."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    pictures = [Image.fromarray(picture) for picture in load_sample_images().images]
    random = np.random.default_rng(seed)
    for number in range(count):
        picture = pictures[number % len(pictures)]
        x, y = random.integers(0, picture.width - 224), random.integers(0, picture.height - 224)
        crop = picture.crop((x, y, x + 224, y + 224)).resize((side, side))
        file = io.BytesIO()
        crop.save(file, "JPEG", quality=90)
        yield f"{number:032x}", file.getvalue()


def write_tars(folder: Path, count: int, side: int) -> list[Path]:
    """`count` photographs in SHARDS tars under `folder`/shards, by webdataset's own writer."""
    import webdataset as wds

    (folder / "shards").mkdir(parents=True)
    paths = [folder / "shards" / f"train-{shard:06d}.tar" for shard in range(SHARDS)]
    files = [open(path, "wb") for path in paths]  # noqa: SIM115
    writers = [wds.TarWriter(file, mtime=0) for file in files]
    for number, (key, payload) in enumerate(photographs(count, side)):
        writers[number % SHARDS].write({"__key__": key, "cls": str(number % 10).encode(), "jpg": payload})
    for writer, file in zip(writers, files, strict=True):
        writer.close()
        file.close()
    return paths
