"""Training a screen on what the toxicity model said, and finding the score below which it may clear.

The screen imitates the model (distillation, Hinton et al. 2015): its target is how far the model's scores lie from the
policy's thresholds, in logits, so that harmless texts teach it too. Every figure is of texts that the screen was
not trained on (five folds, by a hash of the text); the screen that is kept has learned from all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.curation.toxicity import LABELS
from tasks.curation.toxicity_cascade import interval
from tasks.curation.toxicity_screen import Features, Screen, scores, write_screen
from tasks.errors import UserError

FOLDS = 5
MINIMUM_TEXTS, MINIMUM_TOXIC = 1_000, 50
ENOUGH = 0.95  # of the harmless texts cleared
CLIP = (-6.0, 2.0)  # of the margin: how harmless a harmless text is need not be learned
ALPHA = 0.5  # of the ridge: chosen on docstrings and prompts scored by a MiniLM (held-out rank correlation)


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` found, on texts that the screen had not seen. Shares are of texts."""

    texts: int
    toxic: int
    threshold: float
    cleared_share: float
    missed: int
    missed_share: float
    missed_low: float
    missed_high: float


def toxic_margin(scores_NL: np.ndarray, thresholds: Mapping[str, float]) -> np.ndarray:
    """(N,) the largest logit(score) - logit(threshold) over the policy's labels: >= 0 is toxic under the policy."""
    limit = 10.0**-4
    logits_NL = _logit(np.clip(scores_NL, limit / 2, 1 - limit / 2))
    margins = [
        logits_NL[:, LABELS.index(label)] - _logit(np.clip(value, limit / 2, 1 - limit / 2))
        for label, value in thresholds.items()
    ]
    return np.max(margins, axis=0)


def calibrate(
    texts: Sequence[str],
    scores_NL: np.ndarray,
    thresholds: Mapping[str, float],
    model: str,
    missed: float,
    folder: Path,
    features: Features = Features(),
    enough: float = ENOUGH,
    teach: Sequence[str] = (),
) -> tuple[Screen, Calibration]:
    """Train a screen, write it into `folder`, and find the threshold that misses at most `missed` of the toxic.

    `texts`: distinct; `scores_NL`: the model's, in the order of LABELS; `model`: its digest; `enough`: clear at most
    this share of the harmless. `teach`: those of `texts` that only teach; threshold and figures are of the others.
    UserError when there are too few of these, or too few toxic ones, to say anything.
    """
    margin_N = toxic_margin(scores_NL, thresholds)
    teachers = set(teach)
    judged_N = np.array([text not in teachers for text in texts], dtype=bool)
    count, toxic = int(judged_N.sum()), int((margin_N[judged_N] >= 0).sum())
    if np.isnan(margin_N).any():
        raise UserError("the toxicity model has no score for a label of the policy", where=", ".join(thresholds))
    if count < MINIMUM_TEXTS or toxic < MINIMUM_TOXIC:
        raise UserError(
            f"{count:,} distinct texts, {toxic:,} of them toxic under the policy: too few to "
            f"calibrate a screen ({MINIMUM_TEXTS:,} and {MINIMUM_TOXIC} at least)",
            where="policies calibrate",
            hint="add texts with --texts; hostile ones may come from another corpus than the one to be screened",
        )
    order = np.argsort([hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts])
    texts, margin_N = [texts[row] for row in order], margin_N[order]  # the same screen whatever the order was
    judged_N = judged_N[order]
    windows, owners_W = features.windows(texts)
    matrix = features.matrix(windows)
    fold_N = np.where(judged_N, np.cumsum(judged_N) % FOLDS, FOLDS)  # what only teaches is never held out
    held_out_N = np.zeros(len(texts))
    for fold in range(FOLDS):
        learn = np.flatnonzero(fold_N[owners_W] != fold)
        weights, bias = _fit(matrix[learn], owners_W[learn], margin_N)
        rows = np.flatnonzero(fold_N == fold)
        held_out_N[rows] = scores(features, weights, bias, [texts[row] for row in rows])
    found = choose(held_out_N[judged_N], margin_N[judged_N] >= 0, missed, enough)
    weights, bias = _fit(matrix, owners_W, margin_N)
    about = {"model": model, "thresholds": dict(thresholds), "calibration": asdict(found)}
    return write_screen(folder, features, weights, bias, about), found


def choose(screen_N: np.ndarray, toxic_N: np.ndarray, missed: float, enough: float = ENOUGH) -> Calibration:
    """The highest threshold below which at most `missed` of the toxic texts lie, and what it clears.

    A screen that tells them apart well stops at `enough` of the harmless: more would save little, and be less sure.
    """
    toxic = np.sort(screen_N[toxic_N])
    highest = float(np.quantile(screen_N[~toxic_N], enough, method="higher"))
    threshold = min(float(toxic[int(missed * len(toxic))]), highest)
    cleared_N = screen_N < threshold
    lost = int((cleared_N & toxic_N).sum())
    low, high = interval(lost, len(toxic))
    return Calibration(
        texts=len(screen_N),
        toxic=len(toxic),
        threshold=threshold,
        cleared_share=round(float(cleared_N[~toxic_N].mean()), 4),
        missed=lost,
        missed_share=round(lost / len(toxic), 4),
        missed_low=round(low, 4),
        missed_high=round(high, 4),
    )


def _fit(matrix: Any, owners_W: np.ndarray, margin_N: np.ndarray) -> tuple[np.ndarray, float]:
    """Ridge regression of windows on the margin of their text; a window of a toxic text may be harmless, and so it
    counts for less."""
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_limits

    target_W = np.clip(margin_N[owners_W], *CLIP)
    weight_W = np.where(target_W >= 0, 1 / np.bincount(owners_W, minlength=1)[owners_W], 1.0)
    with threadpool_limits(1):
        model = Ridge(alpha=ALPHA, solver="lsqr", tol=1e-3).fit(matrix, target_W, sample_weight=weight_W)
    # As they are stored, so that the threshold is of the screen that runs.
    return model.coef_.astype(np.float32).astype(np.float64), float(np.float32(model.intercept_))


def _logit(probability: Any) -> Any:
    return np.log(probability / (1 - probability))
