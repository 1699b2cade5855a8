"""Images that mean harm, or that are merely odd, made here: name -> (suffix, bytes, the rule that must hold it, or "").

Run as a program it makes each regular in turn and prints a JSON line of what came out and what it cost.
"""

import io
import json
import re
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

MEGA = 1 << 20


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, data: bytes, *, bits: int = 8, colour: int = 0, more: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND")


def small(more: bytes) -> bytes:
    return png_of(8, 8, zeros(72), more=more)


def zeros(count: int) -> bytes:
    """`count` zero bytes, deflated, in little memory."""
    packer = zlib.compressobj(1)
    parts = [packer.compress(bytes(min(MEGA, count - at))) for at in range(0, count, MEGA)]
    return b"".join([*parts, packer.flush()])


def picture(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Dark to the right and below, and red at the top: turned or inverted it is another."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    red = np.where(y < size[1] // 4, 255, 4 * x)
    return Image.fromarray(np.stack([red, 4 * y, 2 * (x + y)], -1).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png() -> bytes:
    return saved(picture(), "PNG")


def jpeg() -> bytes:
    return saved(picture(), "JPEG")


def gif() -> bytes:
    return saved(picture("P"), "GIF")


def frames(kind: str) -> bytes:
    rest = [picture().rotate(40 * n) for n in range(1, 4)]
    return saved(picture(), kind, save_all=True, append_images=rest, duration=50)


def exif(orientation: int = 1, gps: bool = False) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    if gps:
        data.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)})
        data[0x8825] = data.get_ifd(0x8825)
    return data


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("x.txt", "x")
    return file.getvalue()


def jpeg_with(segment: bytes) -> bytes:
    plain = saved(picture(), "JPEG")
    return plain[:2] + segment + plain[2:]


def jpeg_of_scans(count: int, side: int) -> bytes:
    """A progressive JPEG whose last scan stands there `count` times."""
    plain = saved(Image.new("L", (side, side), 77), "JPEG", progressive=True)
    at = plain.rfind(b"\xff\xda")
    return plain[:-2] + plain[at:-2] * count + b"\xff\xd9"


def jpeg_of_size(width: int, height: int) -> bytes:
    plain = bytearray(saved(picture(), "JPEG"))
    at = plain.find(b"\xff\xc0")
    plain[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(plain)


def tiff(*tags: tuple[int, int, int, int], following: int = 0, tail: bytes = bytes(64)) -> bytes:
    """One directory of (tag, type, count, value), then `tail`."""
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", following) + tail


def tiff_picture(*more: tuple[int, int, int, int], width: int = 4, height: int = 4, **options) -> bytes:
    basic = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    basic += [(273, 4, 1, 160), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, min(width * height, 2**32 - 1))]
    mine = {tag[0] for tag in more}
    return tiff(*sorted([tag for tag in basic if tag[0] not in mine] + list(more)), **options)


def webp_canvas(width: int, height: int) -> bytes:
    inner = saved(picture(), "WEBP", lossless=True)[12:]
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(4) + sides + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_of_blocks(count: int) -> bytes:
    plain = saved(picture("P"), "GIF")
    return plain[:-1] + b"!\xfe" + b"\x01x" * count + b"\0;"


def bmp_of_size(width: int, height: int) -> bytes:
    plain = bytearray(saved(picture(), "BMP"))
    plain[18:26] = struct.pack("<ii", width, height)
    return bytes(plain)


def large(kind: str, **options) -> bytes:
    """24 million pixels of four channels: the most that the default settings admit, and then some work."""
    noise = np.random.default_rng(5).integers(0, 256, (1500, 1000, 4), dtype=np.uint8)
    return saved(Image.fromarray(np.tile(noise, (4, 4, 1))), kind, **options)


def sixteen_bits() -> bytes:
    y, x = np.mgrid[0:32, 0:48]
    return saved(Image.fromarray(((x + 48 * y) * 40).astype(np.uint16)), "PNG")


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
TRUNCATED, BROKEN, BOMB = "media.truncated", "media.undecodable", "media.bomb"
ODD, TWO, LARGE = "media.unsupported", "media.mislabelled", "media.too_large"

CASES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    # bombs and giant headers
    "png-bomb-of-one-gigapixel": (".png", lambda: png_of(32_768, 32_768, zeros(2 << 20)), BOMB),
    "png-of-four-billion-by-one": (".png", lambda: png_of(2**32 - 1, 1, zeros(100)), BOMB),
    "png-just-over-the-limit": (".png", lambda: png_of(5_001, 5_000, zeros(5_002 * 5_000)), LARGE),
    "png-data-for-more-rows": (".png", lambda: png_of(64, 64, zeros(150 * MEGA)), ""),
    "png-text-bomb": (".png", lambda: small(chunk(b"zTXt", b"a\0\0" + zeros(100 * MEGA))), BOMB),
    "png-profile-bomb": (
        ".png",
        lambda: small(chunk(b"iCCP", b"a\0\0" + zeros(100 * MEGA))),
        BOMB,
    ),
    "png-of-ten-thousand-chunks": (
        ".png",
        lambda: small(chunk(b"tEXt", b"a\0b") * 10_000),
        BOMB,
    ),
    "png-of-a-million-empty-data-chunks": (
        ".png",
        lambda: small(chunk(b"IDAT") * 1_000_000),
        BOMB,
    ),
    "png-palette-bomb": (".png", lambda: png_of(30_000, 30_000, zeros(MEGA), bits=1, colour=0), BOMB),
    "jpeg-giant-header": (".jpg", lambda: jpeg_of_size(65_535, 65_535), BOMB),
    "jpeg-of-no-width": (".jpg", lambda: jpeg_of_size(0, 32), BROKEN),
    "jpeg-of-ten-thousand-markers": (".jpg", lambda: jpeg_with(b"\xff\xfe\0\x03x" * 10_000), BOMB),
    "jpeg-of-two-hundred-scans": (".jpg", lambda: jpeg_of_scans(200, 2_000), BOMB),
    "jpeg-of-large-scans": (".jpg", lambda: jpeg_of_scans(50, 4_900), BOMB),
    "gif-giant-screen": (".gif", lambda: gif()[:6] + b"\xff\xff\xff\xff" + gif()[10:], BOMB),
    "gif-of-a-million-blocks": (".gif", lambda: gif_of_blocks(1_000_000), BOMB),
    "webp-giant-canvas": (".webp", lambda: webp_canvas(16_777_216, 255), BOMB),
    "bmp-giant-header": (".bmp", lambda: bmp_of_size(2**31 - 1, 2**31 - 1), BOMB),
    "tiff-giant-header": (".tif", lambda: tiff_picture(width=2**32 - 1, height=2**32 - 1), BOMB),
    "tiff-giant-tile": (".tif", lambda: tiff_picture((322, 4, 1, 60_000), (323, 4, 1, 60_000)), BOMB),
    # broken off, contradictory
    "no-bytes": (".png", lambda: b"", "media.empty"),
    "zero-bytes": (".jpg", lambda: bytes(4096), ODD),
    "noise": (".jpg", lambda: np.random.default_rng(1).bytes(4096), ODD),
    "png-cut": (".png", lambda: png()[:-40], TRUNCATED),
    "png-cut-but-ended": (".png", lambda: png_of(64, 64, zlib.compress(bytes(range(256)) * 20)[:90]), TRUNCATED),
    "png-few-rows": (".png", lambda: png_of(64, 64, zeros(65 * 10)), TRUNCATED),
    "png-flipped-bit": (".png", lambda: png()[:70] + bytes([png()[70] ^ 4]) + png()[71:], BROKEN),
    "png-two-headers": (".png", lambda: small(png()[8:33]), BROKEN),
    "png-without-data": (".png", lambda: png()[:33] + chunk(b"IEND"), BROKEN),
    "jpeg-cut": (".jpg", lambda: jpeg()[:-60], TRUNCATED),
    "jpeg-without-picture": (".jpg", lambda: b"\xff\xd8\xff\xd9", BROKEN),
    "gif-cut": (".gif", lambda: gif()[:-60], TRUNCATED),
    "webp-cut": (".webp", lambda: saved(picture(), "WEBP")[:-60], TRUNCATED),
    "bmp-cut": (".bmp", lambda: saved(picture(), "BMP")[:-60], TRUNCATED),
    "tiff-cut": (".tif", lambda: saved(picture(), "TIFF")[:-60], TRUNCATED),
    "tiff-loop": (".tif", lambda: tiff_picture(following=8), BROKEN),
    "tiff-values-outside": (".tif", lambda: tiff_picture((273, 4, 2**30, 2**31)), TRUNCATED),
    # other kinds, and two kinds at once
    "svg": (".svg", lambda: SVG, ODD),
    "svg-as-png": (".png", lambda: SVG, ODD),
    "pdf": (".pdf", lambda: b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n<<>>\nendobj\n", ODD),
    "postscript-as-jpeg": (".jpg", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", ODD),
    "eps-with-preview": (".eps", lambda: b"\xc5\xd0\xd3\xc6" + bytes(60), ODD),
    "gzip-as-png": (".png", lambda: zlib.compress(SVG, wbits=31), ODD),
    "pickle-as-png": (".png", lambda: b"\x80\x04\x95\x05\0\0\0\0\0\0\0K\x01.", ODD),
    "tiff-of-floats": (".tif", lambda: saved(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), ODD),
    "png-and-zip": (".png", lambda: png() + archive(), TWO),
    "gif-and-zip": (".gif", lambda: gif() + archive(), TWO),
    "jpeg-and-program": (".jpg", lambda: jpeg() + b"MZ" + bytes(300), TWO),
    "png-and-pdf": (".png", lambda: small(chunk(b"tEXt", b"a\0%PDF-1.4\n")), TWO),
    "gif-and-javascript": (".gif", lambda: b"GIF89a/*" + gif()[8:] + b"*/=1;alert(1)", TWO),
    "jpeg-with-php": (".jpg", lambda: jpeg_with(b"\xff\xfe\0\x12<?php echo 1; ?>"), TWO),
    # animations
    "gif-of-frames": (".gif", lambda: frames("GIF"), "media.animated"),
    "webp-of-frames": (".webp", lambda: frames("WEBP"), "media.animated"),
    "png-of-frames": (".png", lambda: frames("PNG"), "media.animated"),
    # odd, and made regular
    "cmyk-jpeg": (".jpg", lambda: saved(picture("CMYK"), "JPEG", quality=95), ""),
    "sixteen-bit-png": (".png", sixteen_bits, ""),
    "palette-png-with-transparency": (".png", lambda: saved(picture("P"), "PNG", transparency=0), ""),
    "grey-png-with-alpha": (".png", lambda: saved(picture("LA"), "PNG"), ""),
    "one-bit-tiff": (".tif", lambda: saved(picture("1"), "TIFF", compression="group4"), ""),
    "turned-jpeg": (".jpg", lambda: saved(picture(), "JPEG", exif=exif(6, gps=True), quality=95), ""),
    "impossible-orientation": (".jpg", lambda: saved(picture(), "JPEG", exif=exif(77), quality=95), ""),
    "jpeg-with-broken-exif": (".jpg", lambda: jpeg_with(b"\xff\xe1\0\x10Exif\0\0MM\0*\xff\xff\xff\xff"), ""),
    "jpeg-as-png": (".png", jpeg, ""),
    "jpeg-with-padding": (".jpg", lambda: jpeg() + bytes(500), ""),
    "large-png": (".png", lambda: large("PNG", compress_level=1), ""),
    "large-webp": (".webp", lambda: large("WEBP", quality=50, method=0), ""),
}


def main() -> None:
    """One JSON line a case: rule, detail, size; CPU seconds; MiB by which the peak of memory rose (Linux)."""
    from tasks.curation.images import regularise_image

    regularise_image(png())  # what is imported once is no cost of a payload
    for line in sys.stdin:
        name = line.strip()
        payload = Path(name).read_bytes()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of this payload
        before, start = memory("VmRSS"), time.process_time()
        found = regularise_image(payload)
        seconds, peak = time.process_time() - start, memory("VmHWM") - before
        size = None if found.data is None else Image.open(io.BytesIO(found.data)).size
        facts = {"rule": found.rule, "detail": found.detail, "seconds": seconds, "mebibytes": peak, "size": size}
        print(json.dumps({"name": name, **facts}))


def memory(field: str) -> float:
    """MiB of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
