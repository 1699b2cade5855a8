"""Images made regular: an 8-bit grey or RGB picture without metadata, or the rule by which that cannot be.

The header is read first (`image_headers`), so that no decoder is asked for more than the settings allow. Then the
rules, in their order: the first frame or page; the orientation of the EXIF data; the colour profile to sRGB; 16 bits to
the upper 8; transparency on white; a palette, CMYK, YCbCr and Lab to RGB; one bit to grey. Encoded anew, with nothing
but pixels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.curation.image_formats import require_rows
from tasks.curation.image_headers import Header, Refused, read_header
from tasks.curation.image_measures import measures
from tasks.curation.media import ImageSettings, Regular, refused

VERSION = 2

_PROFILE_BYTES = 4 << 20
_GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB")
_GPS, _ORIENTATION = 0x8825, 0x0112
# Pillow warns of what it passes over (odd tags, a palette's transparency); what matters of it is a rule here.
warnings.filterwarnings("ignore", module=r"PIL\.")


def regularise_image(payload: bytes, settings: ImageSettings = ImageSettings()) -> Regular:
    """The regular image of an encoded one, or the rule that quarantines it.

    Measures: width, height (as found, orientation applied), aspect (longer by shorter side), frames, exif, gps, icc (0
    or 1), trailing_bytes (behind the image's end), and those of `image_measures` of the regular image; what was not
    reached is left out. MemoryError is passed on; nothing else is raised for what a payload holds.
    """
    found: dict[str, float] = {}
    try:
        header = checked(payload, settings, found)
        with decoder(header.kind):
            image = _sized(_coloured(_decoded(payload, header, found), settings), settings)
        found |= measures(image)
        data = _encoded(image, settings)
    except Refused as refusal:
        return refused(refusal.rule, refusal.detail, found)
    return Regular(data, int(found["width"] * found["height"]), measures=found)


def checked(payload: bytes, settings: ImageSettings, found: dict[str, float]) -> Header:
    """The header of a payload that may be decoded. Refused otherwise."""
    if len(payload) > settings.maximum_bytes:
        raise Refused("too_large", f"{len(payload)} bytes, limit {settings.maximum_bytes}")
    header = read_header(payload)
    found |= {"width": float(header.width), "height": float(header.height), "frames": float(header.frames)}
    found["trailing_bytes"] = float(len(payload) - header.end)
    if header.kind not in settings.kinds:
        raise Refused("unsupported", header.kind)
    pixels = header.width * header.height
    if pixels > settings.maximum_pixels:
        raise Refused("too_large", f"{pixels} pixels, limit {settings.maximum_pixels}")
    if pixels * header.passes > 16 * settings.maximum_pixels:
        raise Refused("bomb", f"{pixels} pixels in {header.passes} passes")
    if header.frames > 1 and header.kind != "TIFF" and settings.frames == "quarantine":
        raise Refused("animated", f"{header.frames} frames")
    require_rows(payload, header)
    return header


@contextmanager
def decoder(kind: str) -> Iterator[None]:
    """What a decoder raises, as the rule for it; the message may quote the file and is left out."""
    try:
        yield
    except (Refused, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise whatever their parsing runs into
        said = str(error)
        rule = "truncated" if "truncated" in said else "bomb" if "too large" in said else "undecodable"
        raise Refused(rule, f"{kind}: {type(error).__name__}") from None


def _decoded(payload: bytes, header: Header, found: dict[str, float]) -> Any:
    """The first frame with its profile and its orientation applied; exif, gps and icc are measured on the way."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(payload), formats=[header.kind]) as image:
        if image.width * image.height > header.width * header.height:
            raise Refused("undecodable", "the decoder sees another size than the header says")
        if image.mode not in (*_GREY, *_COLOUR):
            raise Refused("unsupported", f"mode {image.mode}: a depth or colour without a stated white")
        image.load()
        found["exif"], found["gps"], orientation = _personal(image)
        profile = image.info.get("icc_profile") or b""
        turned = ImageOps.exif_transpose(image) if orientation in range(2, 9) else image
        turned, found["icc"] = _to_srgb(turned, profile)
        if turned is image:
            turned = image.copy()  # its decoder holds two canvases more, and goes with it
    found |= {"width": float(turned.width), "height": float(turned.height)}
    found["aspect"] = round(max(turned.size) / min(turned.size), 4)
    return turned


def _personal(image: Any) -> tuple[float, float, int]:
    """Has it EXIF data; has it a place, in EXIF or in XMP; the orientation. What cannot be read is said to be there."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    packet = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    try:
        exif = image.getexif()
        gps = bool(exif.get_ifd(_GPS)) if _GPS in exif else False
        orientation = exif.get(_ORIENTATION, 1)
        has = bool(image.info.get("exif")) or orientation != 1 or gps
    except Exception:  # noqa: BLE001 - as above; a tag that cannot be parsed may hold a place
        return 1.0, 1.0, 1
    return float(has), float(gps or b"GPSLatitude" in packet), orientation if isinstance(orientation, int) else 1


def _to_srgb(image: Any, profile: bytes) -> tuple[Any, float]:
    """Colours by their ICC profile; one that is absent, broken or for another colour model changes nothing."""
    if not profile or len(profile) > _PROFILE_BYTES or image.mode not in ("RGB", "CMYK"):
        return image, 0.0
    from PIL import ImageCms

    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (ImageCms.getProfileDescription(given) or ""):
            return image, 0.0
        return ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode="RGB"), 1.0
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image, 0.0


def _coloured(image: Any, settings: ImageSettings) -> Any:
    """Mode L or RGB."""
    grey = image.mode in _GREY
    if image.mode.startswith("I;16"):
        image = _upper_bits(image)
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        image = _on_white(image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA"))
    wanted = {"RGB": "RGB", "grey": "L"}.get(settings.colour, "L" if grey else "RGB")
    return image if image.mode == wanted else image.convert(wanted)


def _upper_bits(image: Any) -> Any:
    """The upper 8 of 16 bits, as Pillow reads them of colour; the one transparent grey of a PNG is white."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.uint16)
    upper = (values >> 8).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        upper[values == clear] = 255
    return Image.fromarray(upper)


def _on_white(image: Any) -> Any:
    from PIL import Image

    alpha = image.getchannel("A")
    opaque = "L" if image.mode == "LA" else "RGB"
    white = Image.new(opaque, image.size, "white")
    white.paste(image.convert(opaque), mask=alpha)
    return white


def _sized(image: Any, settings: ImageSettings) -> Any:
    """At most `longest_side` on the longer side, by averaging over areas and Lanczos' kernel."""
    limit = settings.longest_side
    if limit is None or max(image.size) <= limit:
        return image
    from PIL import Image

    scale = limit / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _encoded(image: Any, settings: ImageSettings) -> bytes:
    """The file, without metadata: a fresh image holds none."""
    image.info.clear()
    file = io.BytesIO()
    if settings.format == "png":
        image.save(file, "PNG", compress_level=6)
    elif settings.format == "jpeg":
        image.save(file, "JPEG", quality=settings.quality, subsampling=0)
    else:
        image.save(file, "WEBP", quality=settings.quality, method=4)
    return file.getvalue()
