"""What a rule says of all rows at once; shared by the families of rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KEEP, REDACT, DROP, QUARANTINE = "keep", "redact", "drop", "quarantine"


@dataclass(slots=True)
class Hit:
    """One rule over all rows: where it hits (`mask_N`), its value a row, its threshold, its evidence a row."""

    rule: str
    verdict: str
    mask_N: np.ndarray
    value_N: np.ndarray | None = None
    threshold: float = float("nan")
    detail_N: np.ndarray | None = None


def flags(mask) -> np.ndarray:
    """bool, N; null is False."""
    return np.asarray(pc.fill_null(mask, False)).astype(bool)


def floats(column) -> np.ndarray:
    """double, N; null is NaN."""
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")), dtype=float)


def objects(column) -> np.ndarray:
    """Python values, N."""
    return np.array(column.to_pylist(), dtype=object)
