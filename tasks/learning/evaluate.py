"""Evaluate a run on its corpus: numbers with intervals beside honest baselines, and pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.learning.evaluate_config import Evaluate, ImageProbe, LinearProbe, MaskedTokens, NextTokens, ZeroShot
from tasks.learning.intervals import Metric
from tasks.learning.progress import Progress

if TYPE_CHECKING:
    from tasks.learning.probe import ProbeResult

VERSION = 3


@dataclass(frozen=True)
class Evaluation:
    """What was measured; `pictures`: name (loss, embeddings, probe) -> path; `details`: what stands behind it."""

    metrics: list[Metric]
    details: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)

    def public(self) -> dict[str, Any]:
        """As plain values, for ``--json`` and tracking."""
        pictures = {name: str(path) for name, path in sorted(self.pictures.items())}
        return {"metrics": [metric.public() for metric in self.metrics], "details": self.details, "pictures": pictures}

    def metric(self, name: str) -> Metric | None:
        """The metric of that name, if it was measured."""
        return next((metric for metric in self.metrics if metric.name == name), None)


def evaluate(
    run_folder: Path,
    corpus: Path,
    config: Sequence[Evaluate],
    folder: Path,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate ``run_folder/encoder`` on `corpus` and write the results into `folder`.

    Files: ``metrics.json`` ({metrics, details}), ``embeddings.npy`` (N, F) float32 with ``labels.json``, and
    ``pictures/{loss,embeddings,probe}.png`` and ``samples.txt`` as far as they apply. They depend on
    run, corpus and config only.
    """
    from tasks.learning import pictures
    from tasks.learning.image_probe import image_probe
    from tasks.learning.masked_tokens import masked_tokens
    from tasks.learning.next_tokens import next_tokens
    from tasks.learning.probe import linear_probe
    from tasks.learning.zero_shot import zero_shot
    from tasks.stages import canonical_json

    folder.mkdir(parents=True, exist_ok=True)
    metrics: list[Metric] = []
    details: dict[str, Any] = {}
    drawn: dict[str, Path] = {}
    for part in config:
        match part:
            case MaskedTokens():
                masked = masked_tokens(run_folder, corpus, part, progress)
                metrics += masked.metrics
                details[part.kind] = masked.details
            case NextTokens():
                following = next_tokens(run_folder, corpus, part, progress)
                metrics += following.metrics
                details[part.kind] = following.details
                (folder / "samples.txt").write_text("\n\n".join(following.samples) + "\n")
            case LinearProbe():
                probed = linear_probe(run_folder, corpus, part, progress)
                metrics += probed.metrics
                details[part.kind] = probed.details
                drawn |= _draw_probe(probed, folder)
            case ImageProbe():
                probed = image_probe(run_folder, corpus, part, progress)
                metrics += probed.metrics
                details[part.kind] = probed.details
                drawn |= _draw_probe(probed, folder)
            case ZeroShot():
                probed = zero_shot(run_folder, corpus, part, progress)
                metrics += probed.metrics
                details[part.kind] = probed.details
                drawn |= _draw_probe(probed, folder)
    losses = run_folder / "metrics.jsonl"
    if losses.is_file():
        drawn["loss"] = pictures.loss_curve(losses, metrics, folder / "pictures" / "loss.png", "next-tokens" in details)
    evaluation = Evaluation(metrics, details, drawn)
    values = {"metrics": [metric.public() for metric in metrics], "details": details}
    (folder / "metrics.json").write_text(canonical_json(values) + "\n")
    return evaluation


def _draw_probe(probed: ProbeResult, folder: Path) -> dict[str, Path]:
    """Keep the test items' features and labels, and draw them beside the probe's accuracies."""
    from tasks.learning import pictures
    from tasks.stages import canonical_json

    np.save(folder / "embeddings.npy", probed.features_NF, allow_pickle=False)
    (folder / "labels.json").write_text(canonical_json(probed.labels_N) + "\n")
    return {
        "embeddings": pictures.embedding_pca(
            probed.features_NF, probed.labels_N, folder / "pictures" / "embeddings.png"
        ),
        "probe": pictures.baseline_bars(probed.metrics, folder / "pictures" / "probe.png"),
    }


def read_evaluation(folder: Path) -> Evaluation:
    """The evaluation that `evaluate` wrote into `folder`."""
    import orjson

    values = orjson.loads((folder / "metrics.json").read_bytes())
    pictures = {path.stem: path for path in sorted((folder / "pictures").glob("*.png"))}
    return Evaluation([Metric(**metric) for metric in values["metrics"]], values["details"], pictures)
