"""Do the image methods learn? Few-label accuracy on scikit-learn's digits, beside raw pixels and random-init encoders.

``python -m benchmarks.quality_ssl [--methods simclr,byol] [--seeds 3] [--split development] [--figures FOLDER]``: each
run is the real trainer in its own process on one thread, each accuracy the mean over 20 draws of 5 labelled images a
digit. Settings were chosen on the development split, 300 images of the train part; the test split is of 500 others.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.runs import run_trainer, write_index

RESNET = {
    "architecture": "timm",
    "model": "resnet18",
    "options": {"layers": [1, 1, 1, 1], "channels": [32, 64, 128, 128], "zero_init_last": False},
    "image_size": 16,
    "channels": 1,
}
VIT = {"architecture": "vit", "image_size": 8, "channels": 1, "patch": 2, "layers": 3, "width": 64, "heads": 4}
STILL = {"contrast": 0.0, "brightness": 0.0, "erase": 0.0}
TRAIN = {"batch": 128, "learning_rate": 0.003, "warmup_steps": 20, "decay": "cosine", "optimizer": "adamw"}

#: What was chosen on the development split. MAE is read by fine-tuning, the others by frozen features.
SETTINGS: dict[str, dict[str, Any]] = {
    "simclr": {"steps": 150},
    "byol": {"steps": 300, "objective": {"momentum": 0.97, "augment": {"crop_low": 0.7, "erase": 0.1}}},
    "vicreg": {"steps": 150},
    "dino": {"steps": 250, "objective": {"momentum": 0.95, "small_views": 0}},
    "lejepa": {"steps": 150},
    "mae": {"steps": 400, "objective": {"augment": STILL}, "encoder": VIT, "probe": {"fine_tune_steps": 60}},
}
#: Percentage points above: (raw pixels, random-init).
BARS = {name: (5.0, 8.0) for name in SETTINGS} | {"mae": (None, 8.0)}


def write_digits(folder: Path, split: str) -> Path:
    """Digits as shards: train and, as validation, 500 others (test) or 300 that train is left without (development)."""
    import webdataset
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    train, held = order[:1297], order[1297:]
    if split == "development":
        train, held = train[:-300], train[-300:]
    (folder / "shards").mkdir(parents=True)
    for name, numbers in (("train", train), ("validation", held)):
        path = folder / "shards" / f"{name}-000000.tar"
        with open(path, "wb") as file, webdataset.TarWriter(file, mtime=0) as tar:
            for n in sorted(numbers.tolist()):
                image = io.BytesIO()
                Image.fromarray((digits.images[n] * 15.9375).astype(np.uint8)).save(image, "PNG")
                facts = json.dumps({"id": str(n), "label": str(digits.target[n]), "group": ""}).encode()
                tar.write({"__key__": f"{n:032x}", "json": facts, "png": image.getvalue()})
        write_index(folder, path, ("png", "json"))
    return folder


def measure(name: str, seed: int, corpus: Path, folder: Path, steps: int | None = None) -> dict[str, Any]:
    """Train one method and probe it; accuracies in percent, CPU seconds of the trainer's process."""
    from pydantic import TypeAdapter

    from ssl_models.config import TrainSpec
    from tasks.learning.evaluate_config import ImageProbe
    from tasks.learning.image_probe import image_probe

    chosen = SETTINGS[name]
    spec = TypeAdapter(TrainSpec).validate_python(
        {
            "run_id": f"digits-{name}-{seed}",
            "recipe": "digits",
            "recipe_sha256": "0" * 64,
            "folder": str(folder),
            "tokenizer_folder": "",
            "tokenizer_sha256": "",
            "corpus": {"name": "digits", "version": 1, "root": "0" * 64, "folder": str(corpus)},
            "encoder": chosen.get("encoder", RESNET),
            "objective": {"method": name, **chosen.get("objective", {})},
            "train": {
                **TRAIN,
                **chosen.get("train", {}),
                "steps": steps or chosen["steps"],
                "seed": seed,
                "threads": 1,
                "precision": "float32",
                "checkpoint_every_steps": max(1, (steps or chosen["steps"]) // 3),
                "keep_checkpoints": 4,
                "log_every_steps": 2,
            },
        }
    )
    spent = run_trainer(spec, folder)
    probe = ImageProbe(seed=seed, random_init_seeds=1, **chosen.get("probe", {}))
    found = {metric.name.split("/")[1]: metric for metric in image_probe(folder, corpus, probe).metrics}
    return {
        "seed": seed,
        "cpu_seconds": spent,
        **{key: round(100 * found[f"{key}_top1"].value, 2) for key in ("linear", "random_init", "raw_pixels")},
        "rank_me": found["rank_me"].value,
    }


def figure(folder: Path, corpus: Path, path: Path) -> Path:
    """The run's loss, and its held-out embeddings (principal components) at the start, on the way and at the end."""
    import torch
    from safetensors.torch import load_file

    from ssl_models.images import decode, stack
    from ssl_models.objectives import build_image_method
    from ssl_models.views.augment import normalise, plain
    from tasks.learning import embed
    from tasks.learning.image_probe import encode, random_image_encoder
    from tasks.learning.pictures import curve_and_components
    from tasks.learning.samples import read_images

    spec = embed.read_spec(folder)
    rows = read_images(corpus, "validation")
    images = normalise(plain(stack([decode(row[1], 1) for row in rows], 8), spec.encoder.image_size))
    method = build_image_method(spec.objective, spec.encoder, spec.train.seed, spec.train.steps)
    embeddings = {"step 0": encode(random_image_encoder(spec, spec.train.seed, images), images)}
    for checkpoint in sorted((folder / "checkpoints").glob("step-*")):
        model = method.build()
        with torch.no_grad():
            model.load_state_dict(load_file(checkpoint / "model.safetensors"))
        embeddings[f"step {int(checkpoint.name[5:])}"] = encode(method.trained_encoder(model), images)
    chosen = {name: embeddings[name] for name in list(embeddings)[:2] + list(embeddings)[-1:]}
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return curve_and_components(losses, chosen, [row[2] for row in rows], path, spec.train.log_every_steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default=",".join(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", choices=("test", "development"), default="test")
    parser.add_argument("--figures", type=Path, help="a folder for METHOD.png of each method's first seed")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "quality_ssl.json")
    options = parser.parse_args()
    results = json.loads(options.output.read_text())["methods"] if options.output.is_file() else {}
    with tempfile.TemporaryDirectory() as place:
        corpus = write_digits(Path(place) / "corpus", options.split)
        for name in options.methods.split(","):
            runs = [measure(name, seed, corpus, Path(place) / f"{name}-{seed}") for seed in range(options.seeds)]
            if options.figures:
                figure(Path(place) / f"{name}-0", corpus, options.figures / f"{name}.png")
            figures = {key: [run[key] for run in runs] for key in ("linear", "random_init", "raw_pixels")}
            means = {key: round(float(np.mean(values)), 2) for key, values in figures.items()}
            above_raw, above_random = BARS[name]
            gains = means["linear"] - means["raw_pixels"], means["linear"] - means["random_init"]
            results[name] = {
                "runs": runs,
                "mean": means,
                "low": min(figures["linear"]),
                "high": max(figures["linear"]),
                "above_raw_pixels": round(gains[0], 2),
                "above_random_init": round(gains[1], 2),
                "bar": {"above_raw_pixels": above_raw, "above_random_init": above_random},
                "passed": bool(gains[1] >= above_random and (above_raw is None or gains[0] >= above_raw)),
                "settings": SETTINGS[name],
            }
            print(name, {key: value for key, value in results[name].items() if key != "settings"}, flush=True)
            report = {"machine": machine(), "split": options.split, "labels_per_class": 5, "draws": 20}
            options.output.write_text(json.dumps({**report, "methods": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
