"""Images from shards: decoded, in keyed order, a batch after the other; the stream's whole state is its position.

Legend: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_models.jpeg import decode_jpeg
from ssl_models.reader import Reader

CACHE_BYTES = 256 * 2**20  # decoded images are kept up to here: a small corpus is decoded once
THREAD_BYTES = 4096  # files smaller than this on the mean are decoded sooner than handed to a thread


@dataclass(frozen=True)
class ImageBatch:
    """images: B uint8 tensors [C, H, W], of any sizes; words uint64 and epochs int64 [B] of the samples; `read`: images
    so far."""

    images: list[Tensor]
    words_B: np.ndarray
    epochs_B: np.ndarray
    read: int
    whole: int | None = None  # images of all ranks together, where these are one rank's

    @property
    def tokens(self) -> int:
        return self.whole or len(self.words_B)

    cells = tokens

    def by_shape(self) -> Iterator[tuple[np.ndarray, Tensor]]:
        """(rows, float32 [rows, C, H, W] in 0..1) for the images of each shape."""
        rows: dict[torch.Size, list[int]] = {}
        for row, image in enumerate(self.images):
            rows.setdefault(image.shape, []).append(row)
        for some in rows.values():
            yield np.array(some), torch.stack([self.images[row] for row in some]).float() / 255


def decode(payload: bytes, channels: int, side: int | None = None) -> Tensor:
    """uint8 [C, H, W] of an encoded image, laid out as the file is: pixel by pixel. ValueError when it is none.

    `side`: a JPEG may come smaller, by a half, a quarter or an eighth, as long as its shorter side keeps that many
    pixels: its decoder then leaves out the frequencies that nobody will see, and most of the work with them.
    """
    from PIL import Image, UnidentifiedImageError

    if side is None and (pixels := decode_jpeg(payload, channels)) is not None:
        return torch.from_numpy(pixels).permute(2, 0, 1)
    mode = "L" if channels == 1 else "RGB"
    try:
        with Image.open(io.BytesIO(payload)) as image:
            if side and image.format == "JPEG" and image.mode in ("RGB", "L"):
                image.draft(image.mode, (side, side))
            array = np.asarray(image.convert(mode))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError("this is no image that can be decoded") from error
    return torch.from_numpy(array.copy().reshape(*array.shape[:2], channels)).permute(2, 0, 1)


class ImageStream:
    """Endless batches of `rows` images; `side`: see `decode`. Large files are decoded by `threads` at a time: Pillow
    works without the interpreter's lock, and which thread it was changes nothing. `part`: of each batch only the images
    [begin, end), for one of several ranks."""

    def __init__(
        self,
        reader: Reader,
        *,
        rows: int,
        channels: int,
        side: int | None = None,
        threads: int | None = None,
        part: tuple[int, int] | None = None,
    ) -> None:
        self.reader, self.rows, self.channels, self.side = reader, rows, channels, side
        self.threads, self.part = threads or torch.get_num_threads(), part or (0, rows)
        self._cache: dict[int, Tensor] = {}
        self._cached = 0

    def __iter__(self) -> Iterator[ImageBatch]:
        return self

    def __next__(self) -> ImageBatch:
        after = self.reader.position + self.rows
        begin, end = (self.reader.position + n for n in self.part)
        samples, epochs = self.reader.places(begin, end)
        numbers = samples.tolist()
        wanted = {sample: begin + n for n, sample in enumerate(numbers) if sample not in self._cache}
        fresh = self._decode([self.reader.payload(position) for position in wanted.values()])
        held = dict(zip(wanted, fresh, strict=True))
        images = [self._cache[sample] if sample in self._cache else held[sample] for sample in numbers]
        for sample, image in held.items():
            if self._cached + image.numel() <= CACHE_BYTES:
                self._cache[sample], self._cached = image, self._cached + image.numel()
        self.reader.position = after
        return ImageBatch(images, self.reader.index.words[samples], epochs, after, self.rows)

    def _decode(self, payloads: list[bytes]) -> list[Tensor]:
        if self.threads == 1 or sum(map(len, payloads)) < THREAD_BYTES * len(payloads):
            return [decode(payload, self.channels, self.side) for payload in payloads]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(lambda payload: decode(payload, self.channels, self.side), payloads))

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
