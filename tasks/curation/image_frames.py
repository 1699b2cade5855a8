"""The frames of an animation, and the pages of a TIFF, as images of their own."""

from __future__ import annotations

import io
from collections.abc import Iterator

from tasks.curation.images import checked, decoder
from tasks.curation.media import ImageSettings

MAXIMUM_FRAMES = 1_000


def split_image(payload: bytes, settings: ImageSettings = ImageSettings(frames="first")) -> Iterator[tuple[str, bytes]]:
    """("frame=0", a PNG) for each frame of an image that has several; nothing for one that has not.

    A frame is what is seen at its time, with its transparency, without metadata: upright, if the file says how it was
    turned. Refused as for a whole image; ValueError for more frames than MAXIMUM_FRAMES, or more pixels
    in all than 16 images may have.
    """
    from PIL import Image, ImageOps

    header = checked(payload, settings, {})
    if header.frames < 2:
        return
    if header.frames > MAXIMUM_FRAMES or header.frames * header.width * header.height > 16 * settings.maximum_pixels:
        raise ValueError(f"{header.frames} frames are too many")
    with decoder(header.kind), Image.open(io.BytesIO(payload), formats=[header.kind]) as image:
        for number in range(header.frames):
            image.seek(number)
            if image.width * image.height > settings.maximum_pixels:
                raise ValueError(f"frame {number} is larger than the first")
            frame = ImageOps.exif_transpose(image.convert("RGBA" if image.has_transparency_data else "RGB"))
            file = io.BytesIO()
            Image.frombytes(frame.mode, frame.size, frame.tobytes()).save(file, "PNG", compress_level=1)
            yield f"frame={number}", file.getvalue()
