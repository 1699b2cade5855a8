"""Characters in Matplotlib's fonts, drawn, each with its Unicode name: image-text pairs without a download."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tasks.curation.records import Evidence, Raw
from tasks.curation.sources.digits import png
from tasks.curation.sources.pictures import Glyphs
from tasks.errors import UserError
from tasks.stages import sha256_json

_LICENCE, _LICENCE_URL = (3, 1, 13, 0x409), (3, 1, 14, 0x409)  # of the name table: platform, encoding, name, language


class GlyphsSource:
    """One record for each character that a font draws: black on white, as large as the square holds the font's line."""

    def __init__(self, config: Glyphs) -> None:
        import matplotlib

        self.name = config.name
        self.config = config
        self.read_count = 0
        folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.fonts = [
            path for path in sorted(folder.glob("*.ttf")) if any(fnmatchcase(path.stem, name) for name in config.fonts)
        ]
        if not self.fonts:
            known = ", ".join(sorted({path.stem.partition("-")[0] for path in folder.glob("*.ttf")}))
            raise UserError("no font of Matplotlib has such a name", where=", ".join(config.fonts), hint=known)
        self._codes = _codes(config.ranges)

    def total_bytes(self) -> int:
        """Bytes of the font files."""
        return sum(path.stat().st_size for path in self.fonts)

    def digest(self) -> str:
        """Hex SHA-256 over the fonts, what the recipe chose, and what draws."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        from PIL import features

        fonts = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.fonts}
        drawn_by = [features.version("freetype2"), unicodedata.unidata_version]
        said = {"ranges": self.config.ranges, "size": self.config.size, "licence": self.config.licence}
        return sha256_json(said | {"fonts": fonts, "drawn_by": drawn_by})

    def __iter__(self) -> Iterator[Raw]:
        from matplotlib.ft2font import FT2Font

        for path in self.fonts:
            face = FT2Font(str(path))
            evidence = self._evidence(face.get_sfnt())
            drawn = set(face.get_charmap())
            font = _font(path, self.config.size)
            for code in self._codes:
                name = unicodedata.name(chr(code), "")
                if code not in drawn or not name:
                    continue
                self.read_count += 1
                place = f"{path.stem}/U+{code:04X}"
                image = png(_drawn(chr(code), font, self.config.size))
                label = name.split()[0].lower()
                yield Raw(place, place, name.lower(), image, evidence, label, path.stem, "en", media="image")

    def _evidence(self, names: dict[Any, bytes]) -> Evidence:
        """The recipe's expression, and what the font says of itself."""
        said = {field: _text(names.get(key, b"")) for field, key in (("file", _LICENCE), ("url", _LICENCE_URL))}
        if self.config.licence:
            return (("expression", self.config.licence), *([("file", said["file"])] if said["file"] else []))
        return tuple((field, text) for field, text in said.items() if text)


def _text(value: bytes) -> str:
    return value.decode("utf-16-be", "replace").strip()


def _codes(ranges: tuple[str, ...]) -> list[int]:
    found: set[int] = set()
    for item in ranges:
        first, _, last = item.partition("-")
        if int(last, 16) > 0x10FFFF or int(last, 16) < int(first, 16):
            raise UserError("this is no range of code points", where=item, hint="such as 0041-005A")
        found.update(range(int(first, 16), int(last, 16) + 1))
    return sorted(found)


def _font(path: Path, size: int) -> Any:
    """The font at the size whose line, ascent and descent, fits into the square. The basic layout needs no Raqm."""
    from PIL import ImageFont

    for points in range(size, 3, -1):
        font = ImageFont.truetype(str(path), points, layout_engine=ImageFont.Layout.BASIC)
        if sum(font.getmetrics()) <= size:
            return font
    return font


def _drawn(character: str, font: Any, size: int) -> np.ndarray:
    """uint8 [size, size]; the advance is centred, the line stands where it does for every character of the font."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (size, size), 255)
    ascent, descent = font.getmetrics()
    top = (size - ascent - descent) // 2
    left = (size - font.getlength(character)) / 2
    ImageDraw.Draw(image).text((round(left), top), character, font=font, fill=0)
    return np.asarray(image)
