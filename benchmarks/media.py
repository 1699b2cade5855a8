"""Near-duplicate images: how many re-encoded, scaled and cut copies are found, how many strangers taken for copies.

    python -m benchmarks.media --fashion FOLDER --openclipart FOLDER

FOLDER: of the IDX files of Debian's dataset-fashion-mnist; that which holds png/ and svg/ of openclipart-png and -svg.
What is not given is left out. Every copy goes through `regularise_image`, as in a corpus. Beside it: Daft's
`image_hash` on the same pictures, each pair within a Hamming distance, which is what one has without verification.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import write
from tasks.curation.image_duplicates import find_image_pairs
from tasks.curation.images import regularise_image
from tasks.curation.media import ImageSettings
from tasks.curation.sources import open_source
from tasks.curation.sources.pictures import Digits, FashionMnist, OpenClipart

THRESHOLDS = (0.85, 0.9, 0.95)
HAMMING = (4, 8, 12)
Change = Callable[[Image.Image, np.random.Generator], bytes]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scaled(image: Image.Image, factor: float) -> bytes:
    size = tuple(max(4, round(side * factor)) for side in image.size)
    return encoded(image.resize(size, Image.Resampling.LANCZOS), "PNG")


def cut(image: Image.Image, most: float, rng: np.random.Generator) -> bytes:
    """Each edge loses up to `most` of its side, and the picture is encoded as a JPEG of quality 85."""
    left, top, right, bottom = (rng.uniform(0, most) for _ in range(4))
    wide, high = image.size
    box = (round(left * wide), round(top * high), wide - round(right * wide), high - round(bottom * high))
    return encoded(image.crop(box), "JPEG", quality=85, subsampling=0)


CHANGES: dict[str, Change] = {
    "jpeg 90": lambda image, _: encoded(image, "JPEG", quality=90),
    "jpeg 75": lambda image, _: encoded(image, "JPEG", quality=75),
    "jpeg 50": lambda image, _: encoded(image, "JPEG", quality=50),
    "webp 80": lambda image, _: encoded(image, "WEBP", quality=80),
    "scaled to 50 %": lambda image, _: scaled(image, 0.5),
    "scaled to 200 %": lambda image, _: scaled(image, 2),
    "cut by 3 %": lambda image, rng: cut(image, 0.03, rng),
    "cut by 5 %": lambda image, rng: cut(image, 0.05, rng),
}


def collection(pictures: Iterator[bytes], count: int, copies: int) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    """(id, regular image) of `count` distinct pictures and of changed copies of the first `copies`; copy -> change."""
    rng = np.random.default_rng(7)
    settings = ImageSettings(longest_side=512)
    originals: dict[bytes, None] = {}
    for payload in pictures:
        found = regularise_image(payload, settings)
        if found.data is not None and found.measures["entropy"] > 0.05:
            originals.setdefault(found.data)
        if len(originals) == count:
            break
    found_all, changes = [], {}
    for number, data in enumerate(originals):
        found_all.append((f"{number:06d}", data))
        if number >= copies:
            continue
        with Image.open(io.BytesIO(data)) as image:
            for index, (name, change) in enumerate(CHANGES.items()):
                copy = regularise_image(change(image, rng), settings)
                assert copy.data is not None, copy
                found_all.append((f"{number:06d}.{index}", copy.data))
                changes[found_all[-1][0]] = name
    return sorted(found_all), changes


def measured(
    pairs: list[tuple[str, str, float]], changes: dict[str, str], threshold: float, count: int
) -> dict[str, Any]:
    near = [(a, b) for a, b, value in pairs if value >= threshold]
    kept = {b for a, b in near if b in changes and a == b[:6]}
    strangers = {tuple(sorted((a[:6], b[:6]))) for a, b in near if a[:6] != b[:6]}
    recall = {
        name: round(float(np.mean([copy in kept for copy, change in changes.items() if change == name])), 4)
        for name in CHANGES
    }
    return {"recall": recall, "pairs_of_strangers": len(strangers), "pictures": count}


def daft_pairs(pictures: list[tuple[str, bytes]]) -> list[tuple[str, str, int]]:
    """Pairs of pictures by Daft's perceptual hash, with their Hamming distance up to the largest of HAMMING."""
    import daft

    frame = daft.from_pydict({"id": [name for name, _ in pictures], "data": [data for _, data in pictures]})
    frame = frame.with_column("hash", daft.functions.image_hash(daft.functions.decode_image(frame["data"])))
    rows = frame.select("id", "hash").to_pydict()
    by_id = dict(zip(rows["id"], rows["hash"], strict=True))
    ids = sorted(by_id)
    bits = np.array([np.frombuffer(by_id[name], np.uint8) for name in ids])
    words = np.ascontiguousarray(np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))).view(np.uint64)
    found = []
    for row in range(len(ids)):
        distance = np.bitwise_count(words[row + 1 :] ^ words[row]).sum(axis=1)
        for other in np.flatnonzero(distance <= max(HAMMING)).tolist():
            found.append((ids[row], ids[row + 1 + other], int(distance[other])))
    return found


def report(pictures: Iterator[bytes], count: int, copies: int) -> dict[str, Any]:
    all_of_them, changes = collection(pictures, count, copies)
    originals = len(all_of_them) - len(changes)
    begin = time.process_time()
    pairs = list(find_image_pairs(all_of_them, min(THRESHOLDS)))
    seconds = time.process_time() - begin
    facts: dict[str, Any] = {f"{threshold}": measured(pairs, changes, threshold, originals) for threshold in THRESHOLDS}
    facts["pictures_per_cpu_second"] = round(len(all_of_them) / seconds, 1)
    begin = time.process_time()
    hashed = daft_pairs(all_of_them)
    facts["daft"] = {
        f"{bits}": measured([(a, b, -d) for a, b, d in hashed], changes, -bits, originals) for bits in HAMMING
    }
    facts["daft"]["pictures_per_cpu_second"] = round(len(all_of_them) / (time.process_time() - begin), 1)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--openclipart", type=Path)
    parser.add_argument("--pictures", type=int, default=1500, help="distinct pictures of each collection")
    parser.add_argument("--copies", type=int, default=120, help="of how many of them copies are made")
    chosen = parser.parse_args()
    sources: dict[str, Any] = {"digits": Digits()}
    if chosen.fashion:
        sources["fashion-mnist"] = FashionMnist(path=str(chosen.fashion), parts=("t10k",))
    if chosen.openclipart:
        sources["openclipart"] = OpenClipart(path=str(chosen.openclipart), maximum_bytes=100_000)
    results: dict[str, Any] = {"thresholds": THRESHOLDS, "hamming": HAMMING}
    for name, config in sources.items():
        payloads = (raw.payload for raw in open_source(config) if not raw.rule)
        results[name] = report(payloads, chosen.pictures, chosen.copies)
        print(name, results[name], flush=True)
    write("image_duplicates", results)


if __name__ == "__main__":
    main()
