"""Is a batch in parts the batch? Every method by two processes and by four micro-batches, beside one process.

``python -m benchmarks.ranks``: the real trainer takes five steps alone, with `micro_batch`, and as two gloo processes
under torchrun; then everything in the checkpoints is compared: parameters, teachers, centres, BatchNorm statistics,
optimizer. In float64, so that what is found is the method and not rounding (AdamW divides a gradient by its own size:
of a parameter whose true gradient is zero, such as a key's bias, it makes steps of full length out of rounding). And
in float32 the first step's gradient, and the weights after five. Losses that have no method yet train small towers by
the same code.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks import towers
from benchmarks.machine import write
from benchmarks.quality_ssl import write_digits
from ssl_models import trainer
from ssl_models.config import CausalLanguageModelling, CorpusRef, MaskedLanguageModelling, TextEncoder, Train, TrainSpec
from ssl_models.image_config import BYOL, DINO, MAE, ImageEncoder, LeJEPA, SimCLR, VICReg
from ssl_models.ranks import Ranks, joined

STEPS, BATCH, PARTS = 5, 16, 4
HEAD = {"hidden": 32, "projection": 16}
RESNET = ImageEncoder(
    model="resnet18",
    options={"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 16], "zero_init_last": False},
    image_size=16,
    channels=1,
)
VIT = ImageEncoder(architecture="vit", image_size=8, channels=1, patch=2, layers=1, width=32, heads=2)
IMAGES = {
    "simclr": SimCLR(**HEAD),
    "byol": BYOL(**HEAD),
    "vicreg": VICReg(**HEAD),
    "dino": DINO(**HEAD, prototypes=24),
    "lejepa": LeJEPA(**HEAD, directions=32),
    "mae": MAE(decoder_width=16, decoder_heads=2),
}
TEXTS = {"mlm": MaskedLanguageModelling(), "clm": CausalLanguageModelling()}
#: BatchNorm in the encoder: its statistics are shared by ranks, but no micro-batch has them.
NAMES = [*IMAGES, *TEXTS, *(f"{name}, BatchNorm" for name in IMAGES if name != "mae")]


def write_texts(folder: Path, count: int = 120) -> Path:
    """Documents of 3 to 40 words, so that rows differ in padding and in masked tokens; a tokenizer of those words."""
    import webdataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    random = np.random.default_rng(0)
    words = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnr"]
    (folder / "shards").mkdir(parents=True)
    with open(folder / "shards" / "train-000000.tar", "wb") as file, webdataset.TarWriter(file, mtime=0) as tar:
        for n in range(count):
            text = " ".join(random.choice(words, random.integers(3, 40)))
            tar.write({"__key__": f"{n:032x}", "txt": text.encode()})
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    vocabulary = {word: n for n, word in enumerate([*special.values(), *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def spec_of(root: Path, name: str, run: str, **train: Any) -> TrainSpec:
    """The miniature run of a method; corpora lie in `root`, the run in `root/RUN/NAME`."""
    method, _, batch_norm = name.partition(", ")
    text = method in TEXTS
    decoder = {"architecture": "gpt2"} if method == "clm" else {}
    encoder = TextEncoder(layers=2, width=32, heads=2, maximum_tokens=64, **decoder)
    corpus = root / ("texts" if text else "digits")
    return TrainSpec(
        run_id="ranks-0123456789ab",
        recipe="ranks",
        recipe_sha256="0" * 64,
        folder=str(root / run / name),
        tokenizer_folder=str(root / "texts"),
        tokenizer_sha256="0" * 64,
        corpus=CorpusRef(name="ranks", version=1, root="ab" * 32, folder=str(corpus)),
        encoder=encoder if text else RESNET if batch_norm else VIT,
        objective=(TEXTS | IMAGES)[method],
        train=Train(
            **{"steps": STEPS, "precision": "float64"}
            | {"batch": BATCH, "sequence_length": 32, "learning_rate": 2e-3, "warmup_steps": 1, "threads": 1}
            | {"optimizer": "adamw", "gradient_clip": None, "checkpoint_every_steps": STEPS}
            | train
        ),
    )


def train(root: Path, run: str, single: bool, ranks: Ranks = Ranks(), **settings: Any) -> None:
    """Five steps of every method that can be cut so: in float64 and, if `single` precision is wanted, in float32."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    for name in NAMES:
        if settings.get("micro_batch") and "BatchNorm" in name:
            continue
        for precision, every in (("float64", STEPS), ("float32", 1))[: 1 + single]:
            settings |= {"precision": precision, "checkpoint_every_steps": every, "keep_checkpoints": STEPS}
            spec = spec_of(root, name, f"{run}-{precision}", ranks=ranks.count, **settings)
            if trainer.run_spec(spec, ranks) != trainer.FINISHED:
                raise RuntimeError(f"{name} did not finish")


def checkpoint(folder: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    path = folder / "checkpoints" / f"step-{step:08d}"
    return load_file(path / "model.safetensors") | load_file(path / "optimizer.safetensors")


def kind(name: str) -> str:
    """Of an optimizer's tensor its field; all else is weights and buffers."""
    field = name.rpartition(".")[2]
    return field if field in ("exp_avg", "exp_avg_sq", "step") else "model"


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The worst tensor's distance, by its own norm or, where that is larger, a thousandth of its kind's.

    Without the second a tensor that is zero but for rounding (a key's bias has no gradient) would be all that is seen.
    """
    if one.keys() != other.keys():
        raise ValueError(f"not of one model: {sorted(one.keys() ^ other.keys())[:3]}")
    norms = {key: float(x.double().norm()) for key, x in other.items()}
    least: dict[str, float] = {}
    for key, norm in norms.items():
        least[kind(key)] = math.hypot(least.get(kind(key), 0.0), 1e-3 * norm)
    return max(
        float((one[key].double() - x.double()).norm()) / max(norms[key], least[kind(key)], 1e-300)
        for key, x in other.items()
    )


def whole(tensors: dict[str, torch.Tensor], wanted: str) -> dict[str, torch.Tensor]:
    """All tensors of a kind in one; first moments after one step are a tenth of the gradient."""
    return {wanted: torch.cat([x.flatten() for key, x in sorted(tensors.items()) if kind(key) == wanted])}


def table(root: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name in NAMES:
        row = found[name] = {}
        for cut in ("ranks", "micro"):
            folder = root / f"{cut}-float64" / name
            if folder.exists():
                row[cut] = apart(checkpoint(folder), checkpoint(root / "alone-float64" / name))
            if (root / f"{cut}-float32" / name).exists():
                for what, step, wanted in (("gradient", 1, "exp_avg"), ("weights", STEPS, "model")):
                    both = [whole(checkpoint(root / f"{run}-float32" / name, step), wanted) for run in (cut, "alone")]
                    row[f"{cut}_{what}_float32"] = apart(*both)
    for name in towers.TOWERS:
        alone = load_file(root / "alone-towers" / f"{name}.safetensors")
        found[f"{name}, towers"] = {
            cut: apart(load_file(root / f"{cut}-towers" / f"{name}.safetensors"), alone) for cut in ("ranks", "micro")
        }
    return found


def worker(root: Path, single: bool) -> None:
    """One of torchrun's processes."""
    with joined(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), None) as ranks:
        train(root, "ranks", single, ranks)
        towers.train_all(root / "ranks-towers", ranks=ranks)


def measure(root: Path, ranks: int = 2, single: bool = True) -> dict[str, dict[str, float]]:
    """{method: {"ranks": worst relative distance, "micro": ..., and of the float32 gradients}}."""
    write_digits(root / "digits", "development")
    write_texts(root / "texts")
    train(root, "alone", single)
    train(root, "micro", single, micro_batch=BATCH // PARTS)
    towers.train_all(root / "alone-towers")
    towers.train_all(root / "micro-towers", micro_batch=BATCH // PARTS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command += ["-m", "benchmarks.ranks", "--worker", str(root), *["--single"] * single]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line or "error" in line]
        raise RuntimeError(f"torchrun ended with {done.returncode}: {lines[:5]}")
    return table(root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--single", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.worker:
        worker(options.worker, options.single)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.ranks)
    for name, row in found.items():
        print(f"{name:24}", "  ".join(f"{key} {value:.1e}" for key, value in row.items()))
    write(
        "ranks", {"ranks": options.ranks, "micro_batches": PARTS, "steps": STEPS, "worst_relative": found, "bar": 1e-5}
    )


if __name__ == "__main__":
    main()
