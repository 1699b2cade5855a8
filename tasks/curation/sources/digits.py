"""The digits in the scikit-learn distribution as a source of images."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from tasks.curation.records import Evidence, Raw
from tasks.curation.sources.distributions import installed
from tasks.curation.sources.pictures import Digits
from tasks.stages import sha256_json


def png(pixels: np.ndarray) -> bytes:
    """A grey image, uint8 [H, W], as PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class DigitsSource:
    """One record a digit; 0..16 becomes 0..255. What tells two apart is their pixels: they have no names."""

    def __init__(self, config: Digits) -> None:
        self.name = config.name
        self.config = config
        self.read_count = 0

    @cached_property
    def _data(self) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        found: Any = load_digits()
        first = self.config.first
        return (found.images[:first] * 255 // 16).astype(np.uint8), found.target[:first]

    @cached_property
    def _evidence(self) -> Evidence:
        return tuple(pair for item in installed(["scikit-learn"]) for pair in item.evidence)

    def total_bytes(self) -> int:
        """Bytes of the pixels."""
        return int(self._data[0].nbytes)

    def digest(self) -> str:
        """Hex SHA-256 of pixels, labels and evidence."""
        pixels, labels = self._data
        data = hashlib.sha256(pixels.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
        return sha256_json({"data": data, "evidence": self._evidence})

    def __iter__(self) -> Iterator[Raw]:
        for number, (pixels, label) in enumerate(zip(*self._data, strict=True)):
            self.read_count += 1
            raw = Raw("digits", f"digits#{number}", None, png(pixels), self._evidence, str(label), media="image")
            yield raw
