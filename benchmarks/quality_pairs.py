"""Do CLIP and SigLIP learn? Zero-shot top-1 among 100 names on `glyph_pairs`, each run the trainer in its own process.

``python -m benchmarks.quality_pairs [--methods clip] [--seeds 3] [--split development] [--figures FOLDER]``. Asked are
whole fonts that training never saw, with names that it did; names that it never saw, of words that it did, in fonts
that it did; and three fonts of another family. Settings were chosen on the development split, with fonts and names of
its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.glyph_pairs import OTHER_FAMILY, write_glyphs
from benchmarks.machine import write
from benchmarks.runs import run_trainer

TOWERS = {"image_size": 32, "patch": 8, "layers": 2, "width": 128, "text_layers": 1, "maximum_tokens": 16}
TRAIN = {"steps": 250, "batch": 128, "learning_rate": 0.01, "embedding_learning_rate": 0.003, "warmup_steps": 5}
METHODS = ("clip", "siglip")
BARS = {"fonts": 60.0, "names": 5.0}  # percent; the second is five times chance


def train(method: str, seed: int, corpus: Path, tokenizer: Path, folder: Path, **changes: Any) -> float:
    """One run on one thread; CPU seconds of the trainer's process."""
    from pydantic import TypeAdapter

    from ssl_models.config import TrainSpec

    spec = TypeAdapter(TrainSpec).validate_python(
        {
            "run_id": f"glyphs-{method}-{seed}",
            "recipe": "glyphs",
            "recipe_sha256": "0" * 64,
            "folder": str(folder),
            "tokenizer_folder": str(tokenizer),
            "tokenizer_sha256": "0" * 64,
            "corpus": {"name": "glyphs", "version": 1, "root": "0" * 64, "folder": str(corpus)},
            "encoder": {"architecture": method, **TOWERS},
            "objective": {"method": method},
            "train": {
                **TRAIN,
                "seed": seed,
                "threads": 1,
                "precision": "float32",
                "checkpoint_every_steps": 100,
                "log_every_steps": 2,
                **changes,
            },
        }
    )
    return run_trainer(spec, folder)


def learn_words(corpus: Path, folder: Path, vocabulary: int = 1024) -> Path:
    """The tokenizer of the train split's captions."""
    from ssl_models.config import Tokenizer
    from tasks.learning.tokenize import train_tokenizer

    train_tokenizer(corpus, Tokenizer(vocabulary=vocabulary), folder)
    return folder


def ask(folder: Path, corpus: Path, names: int = 100) -> dict[str, Any]:
    """{fonts, names} -> top-1 in percent with its interval, and how many pictures were asked for."""
    from tasks.learning.evaluate_config import ZeroShot
    from tasks.learning.zero_shot import zero_shot

    result = zero_shot(folder, corpus, ZeroShot(names=names))
    found = {}
    for metric in result.metrics:
        for ours, theirs in (("fonts", "zero_shot"), ("names", "zero_shot_unseen")):
            if metric.name == f"eval/{theirs}_top1":
                interval = [round(100 * x, 2) for x in (metric.low or 0.0, metric.high or 0.0)]
                chance = 100 / result.details[theirs]["candidates"]
                found[ours] = {
                    "top1": round(100 * metric.value, 2),
                    "interval": interval,
                    "n": metric.n,
                    "chance": chance,
                }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", choices=("development", "test"), default="test")
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = write_glyphs(folder / "corpus", options.split)
        other = write_glyphs(folder / "family", options.split, OTHER_FAMILY)
        tokenizer = learn_words(corpus, folder / "tokenizer")
        for method in options.methods.split(","):
            runs = []
            for seed in range(options.seeds):
                run = folder / f"{method}-{seed}"
                seconds = train(method, seed, corpus, tokenizer, run)
                found = ask(run, corpus)
                runs.append({"seed": seed, "cpu_seconds": seconds, **found, "other_family": ask(run, other)["fonts"]})
                print(method, runs[-1], flush=True)
                if options.figures and not seed:
                    from tasks.learning.evaluate_config import ZeroShot
                    from tasks.learning.pictures import curve_and_components
                    from tasks.learning.zero_shot import zero_shot

                    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
                    told = zero_shot(run, corpus, ZeroShot())
                    labels = [label if label in ("latin", "greek", "cyrillic") else "signs" for label in told.labels_N]
                    options.figures.mkdir(parents=True, exist_ok=True)
                    path = options.figures / f"{method}.png"
                    curve_and_components(losses, {"held-out fonts": told.features_NF}, labels, path, 2)
            results[method] = {
                "runs": runs,
                "median": {key: statistics.median(run[key]["top1"] for run in runs) for key in ("fonts", "names")},
                "bars": BARS,
            }
        if options.split == "test":
            write("quality_pairs", {"methods": results, "names": 100, "towers": TOWERS, "train": TRAIN})


if __name__ == "__main__":
    main()
