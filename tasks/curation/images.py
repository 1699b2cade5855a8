"""Images made regular by Pillow: judged by their header first, then decoded, turned upright, and written anew."""

from __future__ import annotations

import io
import struct
import warnings
from typing import TYPE_CHECKING

import numpy as np

from tasks.curation.media import ImageSettings, Regular, refused

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 1
#: What Pillow may try; anything else is unsupported, and nothing is ever handed to another program.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
_GPS = 0x8825
_BROKEN = (OSError, SyntaxError, ValueError, struct.error, OverflowError, IndexError, KeyError, TypeError, MemoryError)


def regularise_image(payload: bytes, settings: ImageSettings) -> Regular:
    """The image in `payload` as `settings` want it, and its measures; or the rule that quarantines it."""
    from PIL import Image, UnidentifiedImageError

    if not payload:
        return refused("empty", "no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images; the pixels are counted here
        try:
            with Image.open(io.BytesIO(payload), formats=FORMATS) as image:
                return _regular(image, settings)
        except UnidentifiedImageError:
            return refused("unsupported", f"none of {', '.join(FORMATS)}")
        except Image.DecompressionBombError:
            return refused("bomb", "more pixels than Pillow opens")
        except _BROKEN as error:
            return refused("truncated" if "truncated" in str(error) else "undecodable", type(error).__name__)


def _regular(image: Image, settings: ImageSettings) -> Regular:
    from PIL import ImageOps

    width, height = image.size
    if width * height > settings.maximum_pixels:
        return refused("too_large", f"{width} x {height} pixels, limit {settings.maximum_pixels}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and settings.frames == "quarantine":
        return refused("animated", f"{frames} frames")
    exif = image.getexif()
    about = {"frames": float(frames), "exif": float(len(exif) > 0), "gps": float(_GPS in exif)}
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    plain = _eight_bits(image)
    array = np.asarray(plain)
    file = io.BytesIO()
    if settings.format == "png":
        plain.save(file, "PNG", compress_level=6)
    else:
        plain.save(file, settings.format.upper(), quality=settings.quality)
    width, height = plain.size
    measures = {
        **about,
        "width": float(width),
        "height": float(height),
        "aspect": max(width, height) / min(width, height),
        "colourfulness": colourfulness(array),
        "entropy": float(plain.convert("L").entropy()),
    }
    return Regular(file.getvalue(), width * height, measures={k: round(v, 4) for k, v in measures.items()})


def _eight_bits(image: Image) -> Image:
    """L or RGB of any mode: transparency on white, deeper samples scaled down."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) * 255 // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        array = np.nan_to_num(np.asarray(image).astype(np.float64))
        if image.mode == "I" and array.max(initial=0) > 255:
            array = array * 255 / 65535
        return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        grey = image.mode in ("LA", "La", "L")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
        return image.convert("L" if grey else "RGB")
    plain = image.convert("L" if image.mode in ("1", "L") else "RGB")
    return Image.frombytes(plain.mode, plain.size, plain.tobytes())  # pixels alone: no metadata goes along


def colourfulness(array: np.ndarray) -> float:
    """Hasler and Suesstrunk 2003, Measuring colourfulness in natural images; 0 of a grey one. `array`: uint8 [H, W, 3]
    or [H, W]."""
    if array.ndim == 2:
        return 0.0
    red, green, blue = (array[..., channel].astype(np.float32) for channel in range(3))
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))
