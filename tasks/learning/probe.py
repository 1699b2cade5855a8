"""Linear probe: how well do an encoder's frozen features tell labels apart, beside features that learned nothing.

The features are the mean hidden states of all layers, embeddings to last, side by side (of a deep encoder, five of
them), as ELMo's task models and DINOv2's probes take several. The last layers of a masked language model turn into
predictions of words: alone they told fewer labels apart (0.45 against 0.51), which is reported too. The random-init
encoders are read in the same way.

Nothing is chosen on the documents that are reported: the regularisation is chosen on a tenth of the training part.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import UserError
from tasks.learning.classify import PROBE_STRENGTHS, TFIDF_STRENGTHS, fit_predict, standardise, tfidf
from tasks.learning.collapse import feature_std, rank_me
from tasks.learning.evaluate_config import LinearProbe
from tasks.learning.intervals import Metric, measure
from tasks.learning.progress import Progress
from tasks.learning.samples import groups_of, keyed_order, read_labels, read_samples


@dataclass(frozen=True)
class ProbeData:
    """The drawn documents: `train` and `test` tables of record_id, text, label, group; `labels`, largest first."""

    labels: list[str]
    train: pa.Table
    test: pa.Table


@dataclass(frozen=True)
class ProbeResult:
    """What the probe measured, and the test documents' features (N, F) with their labels, for the picture."""

    metrics: list[Metric]
    details: dict[str, Any]
    features_NF: NDArray[np.float32]
    labels_N: list[str]


def probe_labels(corpus: Path, labels: int) -> list[str]:
    """The largest labels of the train split, largest first (ties by name), at most `labels`.

    UserError when there are fewer than two: such a corpus cannot be probed. Cheap enough to ask before training.
    """
    found = ranked(read_labels(corpus, "train")["label"].to_pylist())
    if len(found) < 2:
        raise UserError(
            "a linear probe needs documents with at least two labels",
            where=str(corpus),
            hint="map a column to `label` in the source, or take linear-probe out of `evaluate`",
        )
    return found[:labels]


def ranked(labels: Iterable[str]) -> list[str]:
    """The distinct labels, most frequent first, ties by name; "" is no label."""
    counts = Counter(label for label in labels if label)
    return sorted(counts, key=lambda label: (-counts[label], label))


def draw(corpus: Path, config: LinearProbe) -> ProbeData:
    """Draw the probe's documents by keyed hash, each label up to its equal part of the limit."""
    labels = probe_labels(corpus, config.labels)
    train = _draw(corpus, "train", labels, config.train_documents, config.seed)
    test = _draw(corpus, "validation", labels, config.test_documents, config.seed)
    if not len(test):
        raise UserError(
            "no held-out document has one of the probe's labels",
            where=str(corpus),
            hint="hold out more with split.validation, or take linear-probe out of `evaluate`",
        )
    return ProbeData(labels, train, test)


def _draw(corpus: Path, split: str, labels: Sequence[str], limit: int, seed: int) -> pa.Table:
    known = read_labels(corpus, split)
    known = known.filter(pc.is_in(known["label"], pa.array(labels)))
    keys, names = known["record_id"].to_pylist(), known["label"].to_pylist()
    cap = max(1, limit // len(labels))
    taken: Counter[str] = Counter()
    chosen = set()
    for position in keyed_order(keys, f"probe-{split}", seed):
        if taken[names[position]] < cap:
            taken[names[position]] += 1
            chosen.add(keys[position])
    return read_samples(corpus, split, chosen)


def linear_probe(
    run_folder: Path, corpus: Path, config: LinearProbe = LinearProbe(), progress: Progress | None = None
) -> ProbeResult:
    """Probe ``RUN/encoder`` on `corpus`, beside encoders of the same config that learned nothing, TF-IDF and majority.

    Metrics: accuracies ``eval/{linear,random_init,tfidf,majority}_top1`` (random_init: the mean over its seeds),
    ``eval/linear_minus_random_init_top1`` (paired), ``eval/linear_last_layer_top1``, and of the test documents' last
    layer ``health/{rank_me,feature_std}``.
    """
    from tasks.learning import embed

    data = draw(corpus, config)
    folder = run_folder / "encoder"
    encoder, tokenizer = embed.open_encoder(folder), embed.open_tokenizer(folder)
    cut = embed.token_limit(encoder, tokenizer, config.maximum_tokens)
    texts = data.train["text"].to_pylist(), data.test["text"].to_pylist()
    rows = embed.tokenize(tokenizer, [*texts[0], *texts[1]], cut)
    split = len(texts[0])
    bfloat16 = embed.trained_in_bfloat16(run_folder)
    truth = data.test["label"].to_pylist()
    labels, groups = data.train["label"].to_pylist(), groups_of(data.train)

    def features(model: Any, what: str) -> NDArray[np.float32]:
        return embed.embed(model, rows, tokenizer.pad_token_id, what, progress, bfloat16)

    def job(features_NF: NDArray[np.float32]) -> tuple[Any, Any, Sequence[float]]:
        return *standardise(features_NF[:split], features_NF[split:]), PROBE_STRENGTHS

    trained_NSD = features(encoder, "embedding")
    jobs = [job(flat(trained_NSD)), job(trained_NSD[:, -1]), (*tfidf(*texts), TFIDF_STRENGTHS)]
    for seed in range(config.random_init_seeds):
        model = embed.random_encoder(run_folder, seed)
        jobs.append(job(flat(features(model, f"embedding, random-init {seed + 1}"))))
    fitted = _fit_all(jobs, labels, groups)

    correct_NJ = np.stack([np.asarray(predicted) == np.asarray(truth) for predicted, _ in fitted], axis=1).astype(float)
    linear_N, random_N = correct_NJ[:, 0], correct_NJ[:, 3:].mean(1)
    commonest = ranked(labels)[0]
    columns = {
        "linear": (linear_N, 1),
        "random_init": (random_N, config.random_init_seeds),
        "tfidf": (correct_NJ[:, 2], 1),
        "majority": (np.asarray([label == commonest for label in truth], float), 1),
        "linear_minus_random_init": (linear_N - random_N, config.random_init_seeds),
        "linear_last_layer": (correct_NJ[:, 1], 1),
    }
    metrics = measure(
        [f"eval/{name}_top1" for name in columns],
        np.stack([values for values, _ in columns.values()], axis=1),
        groups_of(data.test),
        [seeds for _, seeds in columns.values()],
    )
    last_ND = trained_NSD[split:, -1]
    metrics += [
        Metric("health/rank_me", round(rank_me(last_ND), 2), n=len(last_ND)),
        Metric("health/feature_std", round(feature_std(last_ND), 4), n=len(last_ND)),
    ]
    details = {
        "labels": data.labels,
        "train_documents": len(labels),
        "test_documents": len(truth),
        "test_groups": len(set(groups_of(data.test))),
        "maximum_tokens": cut,
        "precision": "bfloat16" if bfloat16 else "float32",
        "layers": trained_NSD.shape[1],
        "strengths": [strength for _, strength in fitted],
        "interval": "95 %, bootstrap over source files",
    }
    return ProbeResult(metrics, details, flat(trained_NSD[split:]), truth)


def flat(features_NSD: NDArray[np.float32]) -> NDArray[np.float32]:
    """The layers' means side by side: (N, S x D)."""
    return features_NSD.reshape(len(features_NSD), -1)


def _fit_all(
    jobs: Sequence[tuple[Any, Any, Sequence[float]]], labels: Sequence[str], groups: Sequence[str]
) -> list[Any]:
    """`fit_predict` of each (train, test, strengths), side by side, each on one thread: sums then have one order."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda job: fit_predict(job[0], labels, groups, job[1], job[2]), jobs))
