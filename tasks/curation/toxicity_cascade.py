"""Screen first, toxicity model second, and a sample that says how much the screen misses.

The screen clears; what it does not clear the model scores. Of the cleared documents a sample, drawn by keyed hash, is
scored too, in every run. From the toxic ones in it follows an upper bound on **toxic documents per cleared document**
(Clopper and Pearson 1934, one-sided 95 %). If the bound exceeds the policy's, or there are too few documents for a
sample to be worth it, the model scores everything, as if there were no screen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

#: Under this many documents the sample (2,995 at the default bound) costs about what the screen saves.
MINIMUM_DOCUMENTS = 15_000
CONFIDENCE = 0.95
REPORT = "cascade.json"  # in the stage's folder, and in the corpus's
MOST_MISSES = 10  # a larger sample than the one that allows these gains no more
SAMPLE_SHARE = 0.1  # a sample that allows misses may cost this share of the cleared documents

#: Toxic or not, by row: asks the model, and remembers.
Ask = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """`scored_N`: the rows that the model decides about; the others the screen has cleared. `report`: JSON-able."""

    scored_N: np.ndarray
    report: dict[str, Any]


def cascade(keys: Sequence[str], screen_N: np.ndarray, threshold: float, bound: float, key: str, ask: Ask) -> Outcome:
    """Decide which rows the model must score.

    `keys`: each row's name, which alone (with `key`) decides whether it may be in the sample. `screen_N`: the screen's
    scores; NaN (it failed) never clears. `bound`: the policy's maximum of toxic documents per cleared document.
    `ask(mask_N)` -> mask_N of the toxic rows among those asked; a row that the model fails on counts as toxic.
    """
    count = len(keys)
    everything = np.ones(count, dtype=bool)
    cleared_N = screen_N < threshold
    cleared = int(cleared_N.sum())
    wanted = sample_size(cleared, bound)
    report: dict[str, Any] = {
        "documents": count, "screen_cleared": cleared, "threshold": threshold, "maximum_missed": bound,
        "confidence": CONFIDENCE, "sampled": 0, "missed": 0, "missed_per_cleared_upper": None, "applied": False,
        "missed_share_of_toxic": None,
    }  # fmt: skip
    if count < MINIMUM_DOCUMENTS or wanted > cleared:
        ask(everything)
        minimum = MINIMUM_DOCUMENTS if count < MINIMUM_DOCUMENTS else wanted
        what = "documents" if count < MINIMUM_DOCUMENTS else "cleared documents"
        return Outcome(everything, {**report, "reason": f"fewer than {minimum:,} {what}: the model scored everything"})
    sample_N = draw(keys, cleared_N, wanted, key)
    toxic_N = ask(~cleared_N | sample_N)
    missed, found = int((toxic_N & sample_N).sum()), int((toxic_N & ~cleared_N).sum())
    upper = upper_bound(missed, wanted)
    report |= {"sampled": wanted, "missed": missed, "missed_per_cleared_upper": _rounded(upper)}
    if upper > bound:
        toxic_N = ask(everything)
        lost, toxic = int((toxic_N & cleared_N).sum()), int(toxic_N.sum())
        share = _rounded(lost / toxic) if toxic else 0.0
        report["missed_share_of_toxic"] = {"value": share, "low": share, "high": share, "toxic": toxic}
        return Outcome(everything, {**report, "reason": "the bound was not met: the model scored everything"})
    low, high = interval(missed, wanted)
    shares = [_share_of_toxic(rate, cleared, found) for rate in (missed / wanted, low, high)]
    report["missed_share_of_toxic"] = dict(zip(("value", "low", "high"), shares, strict=True)) | {"toxic": found}
    return Outcome(~cleared_N | sample_N, {**report, "applied": True, "reason": "the bound was met"})


def draw(keys: Sequence[str], among_N: np.ndarray, size: int, key: str) -> np.ndarray:
    """A mask of the `size` rows among `among_N` whose SHA-256(key NUL row's key) is lowest."""
    rows = np.flatnonzero(among_N)
    order = sorted(rows, key=lambda row: hashlib.sha256(f"{key}\0{keys[int(row)]}".encode()).digest())
    mask_N = np.zeros(len(keys), dtype=bool)
    mask_N[order[:size]] = True
    return mask_N


def sample_size(cleared: int, bound: float) -> int:
    """How many of the cleared to score: enough to meet `bound` with no miss, and with more the more there are."""
    sizes = [size_for(misses, bound) for misses in range(MOST_MISSES + 1)]
    affordable = [size for size in sizes if size <= SAMPLE_SHARE * cleared]
    return max(sizes[0], *affordable) if affordable else sizes[0]


@lru_cache(maxsize=256)
def size_for(misses: int, bound: float) -> int:
    """The smallest sample in which `misses` toxic documents still meet `bound` (2,995 for 0 at 0.001)."""
    low, high = misses + 1, misses + 2
    while upper_bound(misses, high) > bound:
        high *= 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if upper_bound(misses, middle) <= bound else (middle + 1, high)
    return low


def upper_bound(missed: int, sampled: int) -> float:
    """One-sided Clopper-Pearson upper bound of the rate, at CONFIDENCE."""
    from scipy.stats import beta

    return 1.0 if missed >= sampled else float(beta.ppf(CONFIDENCE, missed + 1, sampled - missed))


def interval(missed: int, sampled: int) -> tuple[float, float]:
    """Two-sided Clopper-Pearson interval of the rate, at CONFIDENCE."""
    from scipy.stats import beta

    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if missed == 0 else float(beta.ppf(tail, missed, sampled - missed + 1))
    high = 1.0 if missed >= sampled else float(beta.ppf(1 - tail, missed + 1, sampled - missed))
    return low, high


def _share_of_toxic(rate: float, cleared: int, found: int) -> float:
    """Toxic documents that the screen cleared, of all toxic ones, when `rate` of the cleared are toxic."""
    missed = rate * cleared
    return _rounded(missed / (missed + found)) if missed + found else 0.0


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
