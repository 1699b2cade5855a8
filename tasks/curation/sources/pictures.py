"""What a recipe may say of the sources of images that Gristmill knows by name. None of them downloads anything."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tasks.curation.sources.fields import STRICT, Name, Path


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Digits:
    """The 1,797 handwritten digits of 8 x 8 pixels in the scikit-learn distribution (UCI ML, Alpaydin 1998).

    The label is the digit, the licence that of the distribution. `first`: only so many.
    """

    kind: Literal["digits"] = "digits"
    name: Name = "digits"
    first: Annotated[int, Field(ge=1)] | None = None

    opened_by: ClassVar[str] = "tasks.curation.sources.digits:DigitsSource"
    media: ClassVar[Literal["image"]] = "image"
    captions: ClassVar[bool] = False


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Glyphs:
    """Characters in the fonts that Matplotlib ships, each with its Unicode name as caption.

    `fonts`: name patterns (``DejaVu*``). `ranges`: first and last code point in hexadecimal, such as ``0041-005A``.
    `size`: side of the square, in pixels. The group is the font, so that a held-out font was never seen; the label is
    the first word of the name, mostly the script. `licence`: an SPDX expression for the fonts; the text that the
    font itself carries is evidence, too.
    """

    kind: Literal["glyphs"] = "glyphs"
    name: Name = "glyphs"
    fonts: tuple[str, ...] = ("DejaVu*",)
    ranges: tuple[Annotated[str, Field(pattern="^[0-9A-F]{4,6}-[0-9A-F]{4,6}$")], ...] = (
        *("0021-007E", "00A1-017F", "0391-03CE", "0410-044F"),
        *("2190-21FF", "2200-22FF", "25A0-25FF"),
    )
    size: Annotated[int, Field(ge=8, le=512)] = 32
    licence: str | None = None

    opened_by: ClassVar[str] = "tasks.curation.sources.glyphs:GlyphsSource"
    media: ClassVar[Literal["image"]] = "image"
    captions: ClassVar[bool] = True


@dataclass(config=STRICT, frozen=True, kw_only=True)
class FashionMnist:
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747) as its IDX files, gzipped or not: 28 x 28 pixels, 10 labels.

    `path`: the folder with ``train-images-idx3-ubyte.gz`` and the like. `licence`: an SPDX expression.
    """

    kind: Literal["fashion-mnist"] = "fashion-mnist"
    name: Name = "fashion-mnist"
    path: Path
    parts: tuple[Literal["train", "t10k"], ...] = ("train", "t10k")
    licence: str | None = None

    opened_by: ClassVar[str] = "tasks.curation.sources.idx:IdxSource"
    media: ClassVar[Literal["image"]] = "image"
    captions: ClassVar[bool] = False


@dataclass(config=STRICT, frozen=True, kw_only=True)
class OpenClipart:
    """Open Clip Art: a folder `path` with ``png/`` and ``svg/``, where the SVG of a picture's name carries its RDF.

    Caption: title and keywords; licence evidence: ``cc:license`` of each file; label: the top folder. SVGs are read as
    XML up to the end of their metadata, and never drawn. `maximum_bytes` of a file, else it is quarantined.
    """

    kind: Literal["openclipart"] = "openclipart"
    name: Name = "openclipart"
    path: Path
    maximum_bytes: Annotated[int, Field(ge=1, le=1 << 30)] = 64 << 20

    opened_by: ClassVar[str] = "tasks.curation.sources.openclipart:OpenClipartSource"
    media: ClassVar[Literal["image"]] = "image"
    captions: ClassVar[bool] = True
