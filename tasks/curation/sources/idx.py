"""Fashion-MNIST's IDX files as a source of images (the format: LeCun, Cortes and Burges, the MNIST database)."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from tasks.curation.records import Evidence, Raw
from tasks.curation.sources.digits import png
from tasks.curation.sources.files import readable, sha256_stream
from tasks.curation.sources.pictures import FashionMnist
from tasks.errors import UserError
from tasks.stages import sha256_json

LABELS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_LARGEST = 1 << 20  # pixels of an image
HINT = "a folder with train-images-idx3-ubyte(.gz) and train-labels-idx1-ubyte(.gz), or those of t10k"


class IdxSource:
    """One record an image; one more for what a broken file lacks. What tells two images apart is their pixels."""

    def __init__(self, config: FashionMnist) -> None:
        self.name = config.name
        self.config = config
        self.read_count = 0
        self._files = [
            (part, _file(config.path, part, "images-idx3"), _file(config.path, part, "labels-idx1"))
            for part in config.parts
        ]

    def total_bytes(self) -> int:
        """Bytes as stored."""
        return sum(file.stat().st_size for _, images, labels in self._files for file in (images, labels))

    def digest(self) -> str:
        """Hex SHA-256 over the files' bytes and what the recipe says of them."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digests = []
        for _, images, labels in self._files:
            for path in (images, labels):
                with readable(str(path)), path.open("rb") as file:
                    digests.append(sha256_stream(file))
        return sha256_json({"files": digests, "parts": self.config.parts, "licence": self.config.licence})

    def __iter__(self) -> Iterator[Raw]:
        evidence: Evidence = (("expression", self.config.licence),) if self.config.licence else ()
        for part, images, labels in self._files:
            with readable(str(images)), _opened(images) as pixels, _opened(labels) as names:
                for raw in _read(part, pixels, names):
                    raw.evidence = evidence
                    self.read_count += 1
                    yield raw


def _read(part: str, pixels: IO[bytes], names: IO[bytes]) -> Iterator[Raw]:
    count, height, width = _header(pixels, 3, part)
    (labels,) = _header(names, 1, part)
    if labels != count:
        raise UserError(f"{count} images and {labels} labels", where=part, hint=HINT)
    if not 0 < height * width <= _LARGEST:
        raise UserError(f"images of {width} x {height} pixels", where=part, hint=HINT)
    for number in range(count):
        data, label = _taken(pixels, height * width), _taken(names, 1)
        if len(data) < height * width or not label:
            raw = Raw(f"{part}#tail", f"{part}#{number}", None, data, media="image", rule="ingest.truncated")
            raw.detail = f"{count - number} of {count} images are missing"
            raw.sha256, raw.size = hashlib.sha256(data).hexdigest(), len(data)
            yield raw
            return
        name = LABELS[label[0]] if label[0] < len(LABELS) else str(label[0])
        image = np.frombuffer(data, np.uint8).reshape(height, width)
        yield Raw(part, f"{part}#{number}", None, png(image), label=name, media="image")


def _header(file: IO[bytes], dimensions: int, part: str) -> tuple[int, ...]:
    head = _taken(file, 4 + 4 * dimensions)
    if len(head) < 4 + 4 * dimensions or head[:4] != bytes([0, 0, 8, dimensions]):
        raise UserError("this is no IDX file of bytes", where=part, hint=HINT)
    return struct.unpack(f">{dimensions}I", head[4:])


def _taken(file: IO[bytes], size: int) -> bytes:
    """Up to `size` bytes; fewer where the file, or its compression, breaks off."""
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _file(folder: str, part: str, what: str) -> Path:
    for suffix in (".gz", ""):
        path = Path(folder) / f"{part}-{what}-ubyte{suffix}"
        if path.is_file():
            return path
    raise UserError(f"there is no {part}-{what}-ubyte(.gz)", where=folder, hint=HINT)
