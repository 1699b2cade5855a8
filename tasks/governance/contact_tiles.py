"""The drawing of a contact sheet: thumbnails in rows, each with a few words beneath it, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT = 160, 120  # of a picture at most, in pixels
COLUMNS = 6
_GAP, _LINE, _TITLE = 10, 14, 30
_PAPER, _INK, _FAINT, _EMPTY = "#ffffff", "#1b1b1b", "#666666", "#e4e0da"


@dataclass(frozen=True)
class Tile:
    """`picture`: up to WIDTH x HEIGHT, or None: then a blank tile with the lines `why`. `words`: two lines beneath."""

    picture: Image | None
    words: Sequence[str]
    why: Sequence[str] = field(default_factory=list)


def shrink(data: bytes) -> Image:
    """RGB, at most WIDTH x HEIGHT, the sides in proportion. ValueError or OSError when `data` is no image.

    A picture that is smaller than half of that is enlarged by a whole number, its pixels left to be seen.
    """
    from PIL import Image as images

    with images.open(io.BytesIO(data)) as opened:
        opened.thumbnail((WIDTH, HEIGHT), images.Resampling.LANCZOS, reducing_gap=3.0)
        small = opened.convert("RGB")
    times = min(WIDTH // small.width, HEIGHT // small.height)
    return small.resize((times * small.width, times * small.height), images.Resampling.NEAREST) if times > 1 else small


def draw_sheet(title: str, tiles: Sequence[Tile]) -> bytes:
    """PNG of the tiles in rows of COLUMNS under the title; words too long for their tile are cut."""
    from PIL import Image as images
    from PIL import ImageDraw, ImageFont

    step_x, step_y = WIDTH + _GAP, HEIGHT + 2 * _LINE + _GAP
    columns, rows = min(max(len(tiles), 3), COLUMNS), -(-len(tiles) // COLUMNS)
    sheet = images.new("RGB", (columns * step_x + _GAP, _TITLE + rows * step_y + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font, large = ImageFont.load_default(11), ImageFont.load_default(14)
    draw.text((_GAP, 7), _fit(title, large, sheet.width - 2 * _GAP), _INK, large)
    for number, tile in enumerate(tiles):
        left, top = _GAP + number % COLUMNS * step_x, _TITLE + number // COLUMNS * step_y
        if tile.picture is None:
            draw.rectangle((left, top, left + WIDTH - 1, top + HEIGHT - 1), _EMPTY)
            for line, text in enumerate(tile.why):
                draw.text((left + 8, top + 36 + line * 16), _fit(text, font, WIDTH - 16), _FAINT, font)
        else:
            beside = ((WIDTH - tile.picture.width) // 2, (HEIGHT - tile.picture.height) // 2)
            sheet.paste(tile.picture, (left + beside[0], top + beside[1]))
        for line, text in enumerate(tile.words):
            colour = _FAINT if line else _INK
            draw.text((left, top + HEIGHT + 1 + line * _LINE), _fit(text, font, WIDTH), colour, font)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _fit(text: str, font: Any, width: float) -> str:
    """The text on one line, cut so that it is at most `width` pixels wide."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
