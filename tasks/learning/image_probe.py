"""Few-label probe of an image encoder, beside raw pixels and encoders of the same shape that learned nothing.

Nothing is chosen on the images that are reported: the regularisation is fixed, features are scaled by the train split.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_models.config import TrainSpec
from ssl_models.image_config import ImageEncoder
from ssl_models.image_encoders import features, open_image_encoder, width_of
from ssl_models.images import decode, stack
from ssl_models.keys import stream
from ssl_models.objectives import build_image_method
from ssl_models.views.augment import normalise, plain
from tasks.errors import UserError
from tasks.learning import embed
from tasks.learning.collapse import feature_std, rank_me
from tasks.learning.evaluate_config import ImageProbe
from tasks.learning.intervals import Metric, measure
from tasks.learning.probe import ProbeResult
from tasks.learning.progress import Progress
from tasks.learning.samples import keyed_order, read_images

Classify = Callable[[Sequence[int]], NDArray[np.bool_]]  # labelled train images -> which test images are told right
_BATCH = 256


def image_probe(
    run_folder: Path, corpus: Path, config: ImageProbe = ImageProbe(), progress: Progress | None = None
) -> ProbeResult:
    """Probe ``RUN/encoder`` on `corpus`'s images.

    Metrics: accuracies ``eval/{linear,random_init,raw_pixels}_top1`` (the mean over draws; random_init over its seeds
    too; with `fine_tune_steps` the first two are of fine-tuned encoders), the paired differences
    ``eval/linear_minus_{random_init,raw_pixels}_top1``, and of the test images ``health/{rank_me,feature_std}``.
    UserError when a label has too few images.
    """
    spec = embed.read_spec(run_folder)
    assert isinstance(spec.encoder, ImageEncoder)
    size = spec.encoder.image_size
    rows = [read_images(corpus, split) for split in ("train", "validation")]
    keys, labels = [row[0] for row in rows[0]], [row[2] for row in rows[0]]
    truth = np.array([row[2] for row in rows[1]])
    pixels = stack([decode(row[1], spec.encoder.channels) for part in rows for row in part], size)
    images = normalise(plain(pixels, size))
    split = len(keys)
    drawn = [draw(keys, labels, config, number) for number in range(config.draws)]

    trained = open_image_encoder(run_folder / "encoder")
    learnt_NF = encode(trained, images)
    models: list[Classify] = [_classifier(trained, learnt_NF, images, labels, truth, split, config)]
    for seed in range(config.random_init_seeds):
        fresh = random_image_encoder(spec, seed, images[:split])
        models.append(_classifier(fresh, encode(fresh, images), images, labels, truth, split, config))
    models.append(_linear(pixels.flatten(1).numpy(), labels, truth, split))
    correct = np.zeros((len(truth), len(models)))
    for number, model in enumerate(models):
        with embed.one_thread_a_batch(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for right in pool.map(model, drawn):
                correct[:, number] += right / config.draws
        if progress:
            progress("image probe", number + 1, len(models))

    learnt, random, raw = correct[:, 0], correct[:, 1:-1].mean(1), correct[:, -1]
    columns = {
        "linear": learnt,
        "random_init": random,
        "raw_pixels": raw,
        "linear_minus_random_init": learnt - random,
        "linear_minus_raw_pixels": learnt - raw,
    }
    groups = [row[0] for row in rows[1]]
    names = [f"eval/{name}_top1" for name in columns]
    metrics = measure(names, np.stack(list(columns.values()), 1), groups, config.draws)
    metrics += [
        Metric("health/rank_me", round(rank_me(learnt_NF[split:]), 2), n=len(truth)),
        Metric("health/feature_std", round(feature_std(learnt_NF[split:]), 4), n=len(truth)),
    ]
    details = {
        "labels": sorted(set(labels)),
        "train_images": split,
        "test_images": len(truth),
        "labelled_images": len(drawn[0]),
        "draws": config.draws,
        "classifier": "fine-tuned encoder" if config.fine_tune_steps else "logistic regression on frozen features",
        "interval": "95 %, bootstrap over test images",
    }
    return ProbeResult(metrics, details, learnt_NF[split:], truth.tolist())


def draw(keys: Sequence[str], labels: Sequence[str], config: ImageProbe, number: int) -> list[int]:
    """Positions of `labels_per_class` images of each label, the first ones in the order that (seed, number) keys."""
    order = keyed_order(keys, f"image-probe-{number}", config.seed)
    chosen: dict[str, list[int]] = {label: [] for label in sorted(set(labels)) if label}
    for position in order:
        found = chosen.get(labels[position])
        if found is not None and len(found) < config.labels_per_class:
            found.append(position)
    if len(chosen) < 2 or any(len(found) < config.labels_per_class for found in chosen.values()):
        raise UserError(
            f"an image probe needs two labels with {config.labels_per_class} images or more each in the train split",
            where="evaluate",
            hint="lower labels_per_class, or take image-probe out of `evaluate`",
        )
    return [position for found in chosen.values() for position in found]


def encode(encoder: Any, images: Tensor) -> NDArray[np.float32]:
    """Pooled features (N, F) in evaluation mode."""
    encoder.eval()
    with torch.inference_mode(), embed.one_thread_a_batch():
        return torch.cat([features(encoder, part) for part in images.split(_BATCH)]).float().numpy()


def random_image_encoder(spec: TrainSpec, seed: int, train_images: Tensor) -> Any:
    """The encoder that the run would have begun with under `seed`, BatchNorm statistics taken from the train images.

    Without them a fresh residual network's features shrink layer by layer: too easy a baseline.
    """
    method = build_image_method(spec.objective, spec.encoder, seed, spec.train.steps)
    encoder = method.trained_encoder(method.build())
    norms = [m for m in encoder.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    if norms:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over batches
        encoder.train()
        with torch.no_grad(), embed.one_thread_a_batch():
            for part in train_images.split(_BATCH):
                features(encoder, part)
    return encoder.eval()


def _classifier(
    encoder: Any, features_NF: Any, images: Tensor, labels: Sequence[str], truth: Any, split: int, config: ImageProbe
) -> Classify:
    if not config.fine_tune_steps:
        return _linear(features_NF, labels, truth, split)
    return lambda chosen: fine_tuned(encoder, images, labels, truth, split, chosen, config)


def _linear(features_NF: NDArray[np.float32], labels: Sequence[str], truth: Any, split: int) -> Classify:
    from sklearn.linear_model import LogisticRegression

    spread = features_NF[:split].std(0)
    scaled = (features_NF - features_NF[:split].mean(0)) / np.where(spread > 0, spread, 1)
    label_N = np.asarray(labels)

    def classify(chosen: Sequence[int]) -> NDArray[np.bool_]:
        model = LogisticRegression(max_iter=1000).fit(scaled[list(chosen)], label_N[list(chosen)])
        return model.predict(scaled[split:]) == truth

    return classify


def fine_tuned(
    encoder: Any,
    images: Tensor,
    labels: Sequence[str],
    truth: Any,
    split: int,
    chosen: Sequence[int],
    config: ImageProbe,
) -> NDArray[np.bool_]:
    """Train a copy of the encoder with a linear head on the chosen images; which test images it tells right."""
    import copy

    names = sorted({label for label in labels if label})
    target = torch.tensor([names.index(labels[position]) for position in chosen])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("fine-tune", config.seed))
        norm = torch.nn.BatchNorm1d(width_of(encoder), affine=False)
        head = torch.nn.Sequential(norm, torch.nn.Linear(width_of(encoder), len(names)))
    body = copy.deepcopy(encoder).requires_grad_(True).train()
    optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=config.fine_tune_rate, weight_decay=0.05)
    given = images[list(chosen)].clone()
    for step in range(config.fine_tune_steps):
        for group in optimizer.param_groups:
            group["lr"] = config.fine_tune_rate * min(1.0, (step + 1) / 10) * (1 - step / config.fine_tune_steps)
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(head(features(body, given)), target).backward()
        optimizer.step()
    body.eval()
    with torch.no_grad():  # running statistics lag behind a body that moves: those of the trained body are taken
        norm.reset_running_stats()
        norm.momentum = None
        head(features(body, given))
    head.eval()
    with torch.inference_mode():
        found = torch.cat([head(features(body, part)).argmax(1) for part in images[split:].split(_BATCH)])
    return np.array(names)[found.numpy()] == truth
