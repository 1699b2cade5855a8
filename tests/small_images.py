"""Digits as shards of PNG, and a miniature image run over them."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import webdataset as wds

from ssl_models.config import CorpusRef, Train, TrainSpec
from ssl_models.image_config import ImageEncoder
from ssl_models.reader import INDEX, SHARDS, scan_tar

SMALL = ImageEncoder(
    model="resnet18",
    options={"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 16], "zero_init_last": False},
    image_size=16,
    channels=1,
)
VIT = ImageEncoder(architecture="vit", image_size=8, channels=1, patch=2, layers=1, width=32, heads=2)


def png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write_images(folder: Path, count: int = 400) -> Path:
    """The first `count` of scikit-learn's digits; every fifth is held out."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    (folder / SHARDS).mkdir(parents=True)
    (folder / INDEX).mkdir()
    for split, wanted in (("train", lambda n: n % 5), ("validation", lambda n: not n % 5)):
        path = folder / SHARDS / f"{split}-000000.tar"
        with open(path, "wb") as file, wds.TarWriter(file, mtime=0) as tar:
            for n in filter(wanted, range(count)):
                facts = {"id": str(n), "label": str(digits.target[n]), "group": ""}
                image = png((digits.images[n] * 15.9375).astype(np.uint8))
                tar.write({"__key__": f"{n:032x}", "json": json.dumps(facts).encode(), "png": image})
        tables = {name: scan_tar(path, name).sort_by("key") for name in ("png", "json")}
        columns = {"key": tables["png"]["key"]}
        for name, table in tables.items():
            columns |= {f"{name}.offset": table["start"], f"{name}.length": table["length"]}
        table = pa.table(columns)
        with pa.ipc.new_file(folder / INDEX / f"{path.stem}.idx", table.schema) as writer:
            writer.write_table(table)
    return folder


def image_spec(folder: Path, objective, encoder: ImageEncoder = SMALL, **train) -> TrainSpec:
    if not (folder / "corpus").exists():
        write_images(folder / "corpus")
    settings = {"steps": 12, "batch": 32, "learning_rate": 2e-3, "warmup_steps": 2, "threads": 1, "optimizer": "adamw"}
    settings |= {"checkpoint_every_steps": 4, "log_every_steps": 4, "precision": "float32"}
    return TrainSpec(
        run_id="digits-0123456789ab",
        recipe="digits",
        recipe_sha256="0" * 64,
        folder=str(folder / "run"),
        tokenizer_folder="",
        tokenizer_sha256="",
        corpus=CorpusRef(name="digits", version=1, root="ab" * 32, folder=str(folder / "corpus")),
        encoder=encoder,
        objective=objective,
        train=Train(**{**settings, **train}),
    )
