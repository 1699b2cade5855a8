"""A measured figure with its 95 % interval: bootstrap over source files, because documents of one file are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 2000
DECIMALS = 4  # further digits depend on the processor, not on the data


@dataclass(frozen=True)
class Metric:
    """One line of ``--json evaluate``. `low` and `high` bound the 95 % interval; `n` counts what was averaged."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    seeds: int = 1

    def public(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        interval = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.name} {self.value:.3f}{interval}"


def measure(
    names: Sequence[str],
    values_NK: NDArray[np.float64],
    groups: Sequence[str],
    seeds: Sequence[int] | int = 1,
    rounds: int = ROUNDS,
) -> list[Metric]:
    """The mean of each column of `values_NK` with its percentile bootstrap interval; whole groups are drawn.

    All columns are resampled together, so that a column of differences gives a paired interval. With one group only,
    no interval can be given. Cluster bootstrap: Field and Welsh (2007), "Bootstrapping clustered data".
    """
    values_NK = np.asarray(values_NK, np.float64)
    n, columns = values_NK.shape
    if n == 0:
        raise ValueError("nothing was measured")
    _, group_N = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    count = int(group_N.max()) + 1
    sums_GK = np.stack([np.bincount(group_N, values_NK[:, k], minlength=count) for k in range(columns)], axis=1)
    sizes_G = np.bincount(group_N, minlength=count).astype(np.float64)
    random = np.random.default_rng(0)
    means_RK = np.empty((rounds, columns))
    for row in range(rounds):
        drawn_G = np.bincount(random.integers(0, count, count), minlength=count)
        means_RK[row] = drawn_G @ sums_GK / (drawn_G @ sizes_G)
    low_K, high_K = np.percentile(means_RK, [2.5, 97.5], axis=0)
    seeds_K = [seeds] * columns if isinstance(seeds, int) else seeds
    return [
        Metric(
            name,
            round(float(values_NK[:, k].mean()), DECIMALS),
            round(float(low_K[k]), DECIMALS) if count > 1 else None,
            round(float(high_K[k]), DECIMALS) if count > 1 else None,
            n,
            seeds_K[k],
        )
        for k, name in enumerate(names)
    ]
