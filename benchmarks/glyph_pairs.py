"""Characters of Matplotlib's fonts with their Unicode names, as shards: what `quality_pairs` trains and asks on."""

from __future__ import annotations

import hashlib
import io
import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.runs import write_index

RANGES = (
    *((0x21, 0x7E), (0xA1, 0x24F), (0x391, 0x3CE), (0x400, 0x4FF), (0x1E00, 0x1EFF)),
    *((0x2190, 0x21FF), (0x2200, 0x22FF), (0x25A0, 0x25FF)),
)
SIDE = 32
#: Whole fonts that training never sees; DejaVu's others, but for its two display cuts, are what it sees.
HELD_OUT_FONTS = {
    "development": ("DejaVuSerif-Bold", "DejaVuSansMono-Oblique"),
    "test": ("DejaVuSerif-Italic", "DejaVuSans-Oblique", "DejaVuSansMono-Bold"),
}
OTHER_FAMILY = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic")  # Times' shapes, seen by nobody here
HELD_OUT_NAMES = 120  # a split


def fonts(*patterns: str) -> list[Path]:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def names_of(path: Path, ranges: tuple[tuple[int, int], ...] = RANGES) -> dict[int, str]:
    """Code point -> name in small letters, of the characters that the font draws."""
    from matplotlib.ft2font import FT2Font

    drawn = FT2Font(str(path)).get_charmap()
    codes = (code for first, last in ranges for code in range(first, last + 1) if code in drawn)
    return {code: unicodedata.name(chr(code)).lower() for code in codes if unicodedata.name(chr(code), "")}


def draw(path: Path, codes: list[int]) -> dict[int, bytes]:
    """PNG of each character, black on white, the font as large as its line fits into the square."""
    from PIL import Image, ImageDraw, ImageFont

    font: Any = None
    for points in range(SIDE, 3, -1):
        font = ImageFont.truetype(str(path), points, layout_engine=ImageFont.Layout.BASIC)
        if sum(font.getmetrics()) <= SIDE:
            break
    top = (SIDE - sum(font.getmetrics())) // 2
    found = {}
    for code in codes:
        image = Image.new("L", (SIDE, SIDE), 255)
        left = round((SIDE - font.getlength(chr(code))) / 2)
        ImageDraw.Draw(image).text((left, top), chr(code), font=font, fill=0)
        file = io.BytesIO()
        image.save(file, "PNG")
        found[code] = file.getvalue()
    return found


def held_out_names(names: list[str], count: int = HELD_OUT_NAMES) -> dict[str, set[str]]:
    """`count` a split, in keyed order, each word of which stays in three names or more that are trained on."""
    left = Counter(word for name in names for word in set(name.split()))
    found: dict[str, set[str]] = {"development": set(), "test": set()}
    for name in sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest()):
        words = set(name.split())
        part = min(found, key=lambda part: len(found[part]))
        if len(found[part]) < count and len(words) > 2 and all(left[word] > 3 for word in words):
            found[part].add(name)
            left.subtract(words)
    return found


def write_glyphs(
    folder: Path,
    split: str,
    family: tuple[str, ...] = (),
    ranges: tuple[tuple[int, int], ...] = RANGES,
    away_names: int = HELD_OUT_NAMES,
) -> Path:
    """Train: every name but the held-out ones in every font but the held-out ones. Validation: the held-out fonts of
    `split` (or the fonts `family`) with names that were trained on, and its held-out names in fonts that were.
    """
    import webdataset

    known = {path: names_of(path, ranges) for path in fonts("DejaVuS*.ttf") if "Display" not in path.stem}
    away = {font for part in HELD_OUT_FONTS.values() for font in part}
    seen_fonts = [path for path in known if path.stem not in away]
    unseen = held_out_names(sorted({name for path in seen_fonts for name in known[path].values()}), away_names)
    hidden = unseen["development"] | unseen["test"]
    trained = {name for path in seen_fonts for name in known[path].values()} - hidden
    asked_fonts = fonts(*(f"{font}.ttf" for font in family or HELD_OUT_FONTS[split]))
    wanted = {
        "train": [(path, code) for path in seen_fonts for code, name in known[path].items() if name in trained],
        "validation": [
            (path, c) for path in asked_fonts for c, name in names_of(path, ranges).items() if name in trained
        ]
        + [(path, c) for path in seen_fonts for c, name in known[path].items() if name in unseen[split]],
    }
    (folder / "shards").mkdir(parents=True)
    for part, pairs in wanted.items():
        path = folder / "shards" / f"{part}-000000.tar"
        with open(path, "wb") as file, webdataset.TarWriter(file, mtime=0) as tar:
            for font in dict.fromkeys(font for font, _ in pairs):
                images = draw(font, [code for other, code in pairs if other == font])
                for code, image in images.items():
                    place = f"{font.stem}/U+{code:04X}"
                    name = unicodedata.name(chr(code)).lower()
                    facts = {"id": place, "label": name.split()[0], "group": font.stem}
                    key = hashlib.sha256(place.encode()).hexdigest()[:32]
                    tar.write({"__key__": key, "json": json.dumps(facts).encode(), "png": image, "txt": name.encode()})
        write_index(folder, path, ("png", "txt", "json"))
    return folder
