"""Views made per CPU-second on one thread: beside torchvision v2 an image at a time, and lightly with its collate.

``python -m benchmarks.views [--site FOLDER]``, where FOLDER holds lightly, as ``pip install --no-deps --target FOLDER
lightly==1.6.0 lightly_utils pytorch_lightning lightning_utilities torchmetrics aenum`` fills it; without it its rows
are left out. All sides draw the same distribution of views of the same pictures (made here from a seed), in one
process, in turn; the ratio is the median over rounds. "decoded": from uint8 pixels in memory, in the form that each
side likes best (tensors laid out as decoded; PIL images for lightly, which takes nothing else). "jpeg": from the
files' bytes.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import write
from ssl_models.image_config import Photo
from ssl_models.images import decode
from ssl_models.views.augment import normalise_
from ssl_models.views.photo import Crops, blur_radius, multi_crop

Job = Callable[[], Any]
WEAK = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "crop_low": 0.08}
STRONG = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "crop_low": 0.08}
#: DINO's: its three kinds of view have other chances of blur and solarisation; here their mean over the eight views.
DINO = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "crop_low": 0.4, "blur": 4.1 / 8}


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    """uint8 [H, W, 3]: soft colours, edges and a little noise, which compress about as photographs do."""
    found = []
    for n in range(count):
        rng = np.random.default_rng([n, height])
        y, x = np.mgrid[:height, :width] / height
        image = np.zeros((height, width, 3))
        for _ in range(12):
            across, down, turn = rng.uniform(1, 24, 3)
            image += rng.normal(0, 18, 3) * np.sin(across * x + down * y + turn)[..., None]
            edge = (x - rng.uniform()) * across + (y - rng.uniform()) * down > 0
            image += rng.normal(0, 18, 3) * edge[..., None]
        found.append((128 + image + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8))
    return found


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def by_torchvision(rule: Photo, size: int, crop: tuple[float, float]) -> Callable[[torch.Tensor], torch.Tensor]:
    from torchvision.transforms import v2

    kernel = 2 * blur_radius(rule, size) + 1
    blur = v2.GaussianBlur(kernel, (rule.blur_low, rule.blur_high))
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, crop, antialias=True),
            v2.RandomHorizontalFlip(rule.flip),
            v2.RandomApply(
                [v2.ColorJitter(rule.brightness, rule.contrast, rule.saturation, rule.hue)], rule.jitter
            ),
            v2.RandomGrayscale(rule.grey),
            *([v2.RandomApply([blur], rule.blur)] if rule.blur else []),
            *([v2.RandomSolarize(128, rule.solarise)] if rule.solarise else []),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )  # fmt: skip


def by_lightly(rule: Photo, crops: list[Crops]) -> Callable[[Image.Image], list[torch.Tensor]]:
    """lightly's own transform for these views, its settings from the rule."""
    from lightly.transforms import DINOTransform, SimCLRTransform

    scale = {"mean": [0.5] * 3, "std": [0.5] * 3}
    colours = {
        "cj_strength": 1.0,
        "cj_bright": rule.brightness,
        "cj_contrast": rule.contrast,
        "cj_sat": rule.saturation,
        "cj_hue": rule.hue,
        "normalize": scale,
    }
    if len(crops) == 1:
        return SimCLRTransform(crops[0].size, min_scale=crops[0].low, gaussian_blur=rule.blur, **colours)
    large, small = crops
    return DINOTransform(
        large.size,
        (large.low, large.high),
        local_crop_size=small.size,
        local_crop_scale=(small.low, small.high),
        n_local_views=small.count,
        gaussian_blur=(1.0, 0.1, 0.5),
        sigmas=(rule.blur_low, rule.blur_high),
        **colours,
    )


def jobs(images: list[np.ndarray], rule: Photo, crops: list[Crops], lightly: bool) -> dict[str, dict[str, Job]]:
    """What is measured: {"decoded" or "jpeg": {side: a batch's worth of work}}."""
    words, epochs = np.arange(len(images), dtype=np.uint64), np.zeros(len(images), np.int64)
    files = [jpeg(image) for image in images]
    tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in images]
    side = max(int(part.size / part.low**0.5) + 1 for part in crops)
    torchvision = [by_torchvision(rule, part.size, (part.low, part.high)) for part in crops]

    def ours(images: list[torch.Tensor]) -> list[torch.Tensor]:
        return [normalise_(views) for views in multi_crop(images, words, epochs, rule, crops, 0)]

    def theirs(images: list[Any]) -> list[torch.Tensor]:
        return [
            torch.stack([transform(image) for _ in range(part.count) for image in images])
            for part, transform in zip(crops, torchvision, strict=True)
        ]

    def opened() -> list[Image.Image]:
        return [Image.open(io.BytesIO(file)).convert("RGB") for file in files]

    found: dict[str, dict[str, Job]] = {
        "decoded": {"ours": lambda: ours(tensors), "torchvision": lambda: theirs(tensors)},
        "jpeg": {
            "ours": lambda: ours([decode(file, 3, side) for file in files]),
            "torchvision": lambda: theirs([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in opened()]),
        },
    }
    if lightly:
        from lightly.data.multi_view_collate import MultiViewCollate

        transform, collate = by_lightly(rule, crops), MultiViewCollate()
        ready = [Image.fromarray(image) for image in images]

        def collated(images: list[Image.Image]) -> Any:
            return collate([(transform(image), 0, "") for image in images])

        found["decoded"]["lightly"] = lambda: collated(ready)
        found["jpeg"]["lightly"] = lambda: collated(opened())
    return found


def seconds(job: Job) -> float:
    began = time.process_time()
    job()
    return time.process_time() - began


def compare(sides: dict[str, Job], count: int, rounds: int) -> dict[str, Any]:
    """Images a CPU-second of each side, and how many times the others' ours are."""
    for job in sides.values():
        job()
    spent = [{name: seconds(job) for name, job in sides.items()} for _ in range(rounds)]
    row: dict[str, Any] = {
        "images_per_cpu_second": {
            name: round(count / statistics.median(round_[name] for round_ in spent)) for name in sides
        }
    }
    for name in sides:
        if name != "ours":
            ratios = [round_[name] / round_["ours"] for round_ in spent]
            row[f"times_{name}"] = {
                "median": round(statistics.median(ratios), 2), "lowest": round(min(ratios), 2)
            }  # fmt: skip
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, help="folder with lightly")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.site:
        sys.path.append(str(options.site))
        try:
            import lightly  # noqa: F401
        except ImportError as problem:
            sys.exit(f"{options.site}: {problem}; see --help for the command that fills it")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases: dict[str, tuple[int, tuple[int, int], Photo, list[Crops]]] = {
        "two views, 32 x 32, no blur": (128, (32, 32), Photo(kind="photo", blur=0, **WEAK), [Crops(2, 32, 0.08)]),
        "two views, 32 x 32, blur": (128, (32, 32), Photo(kind="photo", **STRONG), [Crops(2, 32, 0.08)]),
        "two views, 224 x 224, no blur": (
            16, (375, 500), Photo(kind="photo", blur=0, **STRONG), [Crops(2, 224, 0.08)]
        ),
        "two views, 224 x 224, blur": (16, (375, 500), Photo(kind="photo", **STRONG), [Crops(2, 224, 0.08)]),
        "multi-crop, 2 x 224 and 6 x 96": (
            8, (375, 500), Photo(kind="photo", solarise=0.2 / 8, **DINO), [Crops(2, 224, 0.4), Crops(6, 96, 0.05, 0.4)],
        ),
        "two views, 224 x 224, blur, of 1500 x 2000": (
            4, (1500, 2000), Photo(kind="photo", **STRONG | {"crop_low": 0.2}), [Crops(2, 224, 0.2)],
        ),
    }  # fmt: skip
    table: dict[str, Any] = {}
    for name, (count, shape, rule, crops) in cases.items():
        for source, sides in jobs(pictures(count, *shape), rule, crops, bool(options.site)).items():
            row = table[f"{name}, {source}"] = compare(sides, count, options.rounds)
            rates = "  ".join(f"{side} {rate:,}/s" for side, rate in row["images_per_cpu_second"].items())
            ratios = "  ".join(f"{key.replace('_', ' ')} {row[key]['median']}" for key in row if "times" in key)
            print(f"{name + ', ' + source:52} {rates}   {ratios}", flush=True)
    import torchvision

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": Image.__version__}
    write("views", {"rounds": options.rounds, "threads": 1, "versions": versions, "table": table, "bar": 2})


if __name__ == "__main__":
    main()
