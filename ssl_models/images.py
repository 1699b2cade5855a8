"""Images from shards: decoded, in keyed order, a batch after the other; the stream's whole state is its position."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_models.reader import Reader

CACHE_BYTES = 256 * 2**20  # decoded images are kept up to here: a small corpus is decoded once


@dataclass(frozen=True)
class ImageBatch:
    """pixels float32 [B, C, H, W] in 0..1; words uint64 and epochs int64 [B] of the samples; `read`: images so far."""

    pixels_BCHW: Tensor
    words_B: np.ndarray
    epochs_B: np.ndarray
    read: int

    @property
    def tokens(self) -> int:
        return len(self.words_B)

    cells = tokens


def decode(payload: bytes, channels: int) -> Tensor:
    """uint8 [C, H, W] of an encoded image. ValueError when it is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(payload)) as image:
            array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError("this is no image that can be decoded") from error
    return torch.from_numpy(array.copy().reshape(*array.shape[:2], channels)).permute(2, 0, 1)


class ImageStream:
    """Endless batches of `rows` images, each resized to at most `size` pixels a side of a square where they differ."""

    def __init__(self, reader: Reader, *, rows: int, channels: int, size: int) -> None:
        self.reader, self.rows, self.channels, self.size = reader, rows, channels, size
        self._cache: dict[int, Tensor] = {}
        self._cached = 0

    def __iter__(self) -> Iterator[ImageBatch]:
        return self

    def __next__(self) -> ImageBatch:
        begin = self.reader.position
        places = [self.reader.sample_at(position) for position in range(begin, begin + self.rows)]
        images = [
            self._image(position, sample)
            for position, (sample, _) in zip(range(begin, begin + self.rows), places, strict=True)
        ]
        self.reader.position = begin + self.rows
        words = self.reader.index.words[[sample for sample, _ in places]]
        return ImageBatch(
            stack(images, self.size), words, np.array([e for _, e in places], np.int64), self.reader.position
        )

    def _image(self, position: int, sample: int) -> Tensor:
        if sample not in self._cache:
            image = decode(self.reader.payload(position), self.channels)
            if self._cached + image.numel() > CACHE_BYTES:
                return image
            self._cache[sample], self._cached = image, self._cached + image.numel()
        return self._cache[sample]

    def state(self) -> dict[str, list[int]]:
        return {"position": [self.reader.position]}

    def restore(self, state: dict[str, list[int]]) -> None:
        self.reader.position = state["position"][0]


def stack(images: list[Tensor], size: int) -> Tensor:
    """float32 [B, C, H, W] in 0..1; images of different sizes are brought to `size` x `size`."""
    if len({image.shape for image in images}) == 1:
        return torch.stack(images).float() / 255
    square = [F.interpolate(i[None].float(), (size, size), mode="bilinear", antialias=True)[0] for i in images]
    return torch.stack(square) / 255
