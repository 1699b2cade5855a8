"""Has a representation collapsed? Two measures, because each is blind to what the other sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rank_me(features_ND: NDArray[np.floating]) -> float:
    """RankMe (Garrido et al. 2023): exp of the entropy of the normalised singular values, of centred features.

    1 when all features lie on one line, min(N, D) when all directions are alike. Centred, because an offset common to
    all documents would hide the rest.
    """
    centred_ND = np.asarray(features_ND, np.float64) - features_ND.mean(0, dtype=np.float64)
    singular = np.linalg.svd(centred_ND, compute_uv=False)
    if singular.sum() == 0:
        return 1.0
    p = singular / singular.sum()
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def feature_std(features_ND: NDArray[np.floating]) -> float:
    """sqrt(D) times the mean standard deviation of L2-normalised features: near 1 is healthy, 0 is total collapse.

    RankMe cannot see a collapse to one point with a little noise; this cannot see one to a few directions.
    """
    features_ND = np.asarray(features_ND, np.float64)
    unit_ND = features_ND / np.maximum(np.linalg.norm(features_ND, axis=1, keepdims=True), 1e-12)
    return float(unit_ND.std(0).mean() * np.sqrt(unit_ND.shape[1]))
