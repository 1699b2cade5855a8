"""Pictures of a run: loss, embeddings, probe. The same figures give the same PNG bytes.

Colours are those of Okabe and Ito (2008), told apart by readers with any colour vision; shapes tell apart what colours
cannot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tasks.learning.intervals import Metric

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
BLACK, GREY = "#000000", "#777777"
SCATTER = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE, BLACK)
MARKERS = "o^sDv"
DPI = 120

PROBES = {  # metric: (row, colour)
    "eval/linear_top1": ("this encoder", BLUE),
    "eval/random_init_top1": ("random-init encoder", ORANGE),
    "eval/tfidf_top1": ("TF-IDF, whole text", GREEN),
    "eval/raw_pixels_top1": ("raw pixels", GREEN),
    "eval/zero_shot_top1": ("captions seen in training", BLUE),
    "eval/zero_shot_chance": ("chance", GREY),
    "eval/zero_shot_unseen_top1": ("unseen captions, seen words", SKY),
    "eval/zero_shot_unseen_chance": ("chance, unseen captions", GREY),
    "eval/majority_top1": ("majority class", GREY),
}
LEVELS = {  # metric: (name, colour, line style)
    "eval/unigram_cross_entropy": ("unigram", GREY, (0, (1, 1.5))),
    "eval/bigram_cross_entropy": ("bigram", RED, (0, (5, 2))),
}


def loss_curve(metrics_jsonl: Path, metrics: Iterable[Metric], path: Path, causal: bool = False) -> Path:
    """Training loss by step, with the model and its n-gram baselines on held-out masked (`causal`: next) tokens."""
    rows = [orjson.loads(line) for line in metrics_jsonl.read_bytes().splitlines() if line.strip()]
    rows = [row for row in rows if row.get("loss") is not None]
    steps = np.asarray([row["step"] for row in rows], float)
    losses = np.asarray([row["loss"] for row in rows], float)
    found = {metric.name: metric for metric in metrics}
    with _figure(path, 8.0, 4.6) as figure:
        axes = figure.subplots()
        if len(rows):
            axes.plot(steps, losses, color=SKY, linewidth=0.9, alpha=0.7)
            axes.plot(steps, _smooth(losses), color=BLUE, linewidth=2)
            at = len(rows) // 12
            axes.annotate(
                "training loss", (steps[at], _smooth(losses)[at]), (8, 12), textcoords="offset points", color=BLUE
            )
        for name, (text, colour, style) in LEVELS.items():
            if metric := found.get(name):
                axes.axhline(metric.value, color=colour, linestyle=style, linewidth=1.6)
                _at_right(axes, metric.value, f"{text} {metric.value:.2f}", colour)
        if model := found.get("eval/cross_entropy"):
            last = steps[-1] if len(rows) else 0
            error = None if model.low is None else [[model.value - model.low], [(model.high or 0) - model.value]]
            axes.errorbar([last], [model.value], error, fmt="D", color=BLACK, capsize=3, markersize=6, zorder=5)
            _at_right(axes, model.value, f"this model {model.value:.2f}", BLACK)
        _spread(axes)
        what = "Next" if causal else "Masked"
        axes.set_title(f"{what}-token loss: training, and held-out beside n-gram models", loc="left")
        axes.set_xlabel("training step")
        axes.set_ylabel("cross-entropy (nats per token)")
        axes.margins(x=0.02)
        note = "Held-out: every asked token is [MASK]. The 80/10/10 masks of training show some answers."
        if causal:
            note = "Held-out: every ordinary token, given those before it in its row."
        figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=GREY)
    return path


def embedding_pca(features_ND: NDArray[np.floating], labels: Sequence[str], path: Path) -> Path:
    """The first two principal components of the standardised test features, one mark per document."""
    scores_N2, share_2 = principal_components(features_ND)
    order = [label for label, _ in sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0]))]
    label_N = np.asarray(labels)
    with _figure(path, 8.6, 5.8) as figure:
        axes = figure.subplots()
        for number, label in enumerate(order):
            points = scores_N2[label_N == label]
            axes.scatter(
                points[:, 0], points[:, 1], s=16, color=SCATTER[number % len(SCATTER)],
                marker=MARKERS[number // len(SCATTER) % len(MARKERS)], alpha=0.6, linewidths=0, label=label,
            )  # fmt: skip
        for number, label in enumerate(order):
            axes.scatter(
                *scores_N2[label_N == label].mean(0), s=110, color=SCATTER[number % len(SCATTER)],
                marker=MARKERS[number // len(SCATTER) % len(MARKERS)], edgecolors="black", linewidths=1.2, zorder=3,
            )  # fmt: skip
        # A few far documents must not squeeze all others together: the axes hold the middle 99 %.
        for setter, values in ((axes.set_xlim, scores_N2[:, 0]), (axes.set_ylim, scores_N2[:, 1])):
            low, high = np.percentile(values, [0.5, 99.5])
            margin = 0.05 * (high - low) or 1.0
            setter(low - margin, high + margin)
        axes.set_title(
            f"Embeddings of {len(labels):,} held-out documents by label (large: the label's mean)", loc="left"
        )
        axes.set_xlabel(f"principal component 1 ({share_2[0]:.0%} of the variance)")
        axes.set_ylabel(f"principal component 2 ({share_2[1]:.0%})")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8.5, markerscale=1.4)
    return path


def baseline_bars(metrics: Iterable[Metric], path: Path) -> Path:
    """Probe accuracies with their 95 % intervals: the encoder, and what it must beat."""
    found = {metric.name: metric for metric in metrics}
    rows = [(text, colour, found[name]) for name, (text, colour) in PROBES.items() if name in found]
    with _figure(path, 7.6, 1.5 + 0.55 * len(rows)) as figure:
        axes = figure.subplots()
        for height, (_, colour, metric) in enumerate(rows):
            axes.barh(height, metric.value, color=colour, height=0.62)
            reach = metric.value
            if metric.low is not None and metric.high is not None:
                axes.plot([metric.low, metric.high], [height, height], color=BLACK, linewidth=1.6)
                axes.plot(
                    [metric.low, metric.high], [height, height], "|", color=BLACK, markersize=9, markeredgewidth=1.6
                )
                reach = metric.high
            seeds = f"  ({metric.seeds} seeds)" if metric.seeds > 1 else ""
            axes.annotate(
                f"{metric.value:.1%}{seeds}", (reach, height), (6, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(range(len(rows)), [text for text, _, _ in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        what = "Zero-shot" if rows and rows[0][2].name.startswith("eval/zero_shot") else "Linear probe"
        axes.set_title(f"{what} on {rows[0][2].n:,} held-out documents" if rows else what, loc="left")
        axes.set_xlabel("accuracy, with its 95 % interval")
    return path


def principal_components(features_ND: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (N, 2) on the first two principal components of standardised features, and their shares of variance.

    Signs are fixed (the largest loading is positive); missing components, as of one document, are 0.
    """
    from threadpoolctl import threadpool_limits

    features_ND = np.asarray(features_ND, np.float64)
    centred_ND = features_ND - features_ND.mean(0)
    centred_ND = centred_ND / np.where(centred_ND.std(0) > 0, centred_ND.std(0), 1)
    with threadpool_limits(1):  # one order of summation, one picture
        u_NK, s_K, v_KD = np.linalg.svd(centred_ND, full_matrices=False)
    scores, share = np.zeros((len(features_ND), 2)), np.zeros(2)
    for k in range(min(2, len(s_K))):
        scores[:, k] = u_NK[:, k] * s_K[k] * np.sign(v_KD[k, np.abs(v_KD[k]).argmax()])
        share[k] = s_K[k] ** 2 / max(float((s_K**2).sum()), 1e-300)
    return scores, share


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean around each place, over a twentieth of all values (fewer at the ends)."""
    half = len(values) // 40
    total = np.concatenate([[0.0], np.cumsum(values)])
    begin = np.maximum(np.arange(len(values)) - half, 0)
    end = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (total[end] - total[begin]) / (end - begin)


def _at_right(axes: Any, value: float, text: str, colour: str) -> None:
    axes.annotate(
        text, (1, value), (6, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        va="center", color=colour, annotation_clip=False, gid="level",
    )  # fmt: skip


def _spread(axes: Any) -> None:
    """Move the names of levels that lie close apart, so that they can be read."""
    names = sorted((text for text in axes.texts if text.get_gid() == "level"), key=lambda text: text.xy[1])
    low, high = axes.get_ylim()
    points = axes.figure.get_figheight() * axes.get_position().height * 72
    floor = -np.inf
    for text in names:
        wanted = (text.xy[1] - low) / (high - low) * points
        floor = max(wanted, floor + 12)
        text.set_position((6, floor - wanted))


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """A figure in inches, saved to `path` at the end; no window system, no state of pyplot, no date in the file."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(dict(STYLE))
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", metadata={"Software": None})


STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "savefig.facecolor": "white",
}


def curve_and_components(
    losses: Sequence[float],
    embeddings: dict[str, NDArray[np.floating]],
    labels: Sequence[str],
    path: Path,
    every_steps: int = 1,
) -> Path:
    """A loss curve (one value every so many steps), and the first two principal components of each embedding (N, D)."""
    label_N = np.asarray(labels)
    with _figure(path, 4.2 * (1 + len(embeddings)), 3.8) as figure:
        curve, *scatters = figure.subplots(1, 1 + len(embeddings))
        steps = every_steps * np.arange(1, len(losses) + 1)
        curve.plot(steps, losses, color=SKY, linewidth=0.8)
        curve.plot(steps, _smooth(np.asarray(losses)), color=BLUE, linewidth=1.8)
        curve.set_title("loss", loc="left")
        curve.set_xlabel("training step")
        for axes, (name, features_ND) in zip(scatters, embeddings.items(), strict=True):
            scores_N2, share_2 = principal_components(features_ND)
            for number, label in enumerate(sorted(set(labels))):
                points = scores_N2[label_N == label]
                colour, marker = SCATTER[number % len(SCATTER)], MARKERS[number % len(MARKERS)]
                axes.scatter(points[:, 0], points[:, 1], s=12, color=colour, marker=marker, alpha=0.7, label=label)
            axes.set_title(f"{name}: {share_2.sum():.0%} of the variance", loc="left")
        scatters[-1].legend(frameon=False, fontsize=8)
    return path
