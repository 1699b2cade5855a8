"""Logistic regression on given features, its regularisation chosen on part of the training documents."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.learning.samples import keyed_order

PROBE_STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)  # scikit-learn's C, for standardised features
TFIDF_STRENGTHS = (1.0, 10.0, 100.0)  # rows of length 1 need less regularisation
TFIDF_TERMS = 50_000
HELD_OUT = 0.1  # of the probe's training documents: C is chosen on them


def fit_predict(
    train: Any, labels: Sequence[str], groups: Sequence[str], test: Any, strengths: Sequence[float]
) -> tuple[list[str], float]:
    """Predicted labels of `test` by logistic regression, and the C that was chosen.

    `train` and `test` are dense or sparse feature matrices. C goes up through `strengths` as long as the log-loss falls
    on a tenth of the training documents, held out by whole groups; then it is fitted on all of them.
    """
    label_N = np.asarray(labels)
    held_N = _held_out(groups)
    best, least = strengths[len(strengths) // 2], np.inf
    if len(set(label_N[~held_N])) > 1 and held_N.any():
        for strength in strengths:
            model = _fit(train[~held_N], label_N[~held_N], strength)
            loss = _log_loss(model, train[held_N], label_N[held_N])
            if loss >= least:
                break
            best, least = strength, loss
    return _fit(train, label_N, best).predict(test).tolist(), best


def _held_out(groups: Sequence[str]) -> NDArray[np.bool_]:
    """A tenth of the documents, or a little more: whole groups in keyed order."""
    sizes = Counter(groups)
    names = sorted(sizes)
    held: set[str] = set()
    documents = 0
    for position in keyed_order(names, "probe-held-out", 0):
        if documents >= HELD_OUT * len(groups):
            break
        held.add(names[position])
        documents += sizes[names[position]]
    return np.asarray([group in held for group in groups])


def _fit(features: Any, labels: NDArray[np.str_], strength: float) -> Any:
    """Multinomial by L-BFGS on dense features; one against the rest by coordinate descent on sparse ones.

    On 2,000 texts of 20 labels that takes 0.3 s instead of 25 s, and is no less accurate (measured: 0.58 against 0.57).
    """
    from scipy.sparse import issparse
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 steps are the definition, reached or not
        if issparse(features):
            one = LogisticRegression(C=strength, solver="liblinear", dual=True, random_state=0, max_iter=300)
            return OneVsRestClassifier(one).fit(features, labels)
        return LogisticRegression(C=strength, max_iter=300).fit(features, labels)


def _log_loss(model: Any, features: Any, labels: NDArray[np.str_]) -> float:
    """Mean log-loss over the documents whose label the model knows."""
    column = {label: index for index, label in enumerate(model.classes_)}
    known = np.asarray([label in column for label in labels])
    if not known.any():
        return 0.0
    p = model.predict_proba(features[known])
    return -float(np.mean([np.log(max(p[row, column[label]], 1e-12)) for row, label in enumerate(labels[known])]))


def tfidf(train: Sequence[str], test: Sequence[str]) -> tuple[Any, Any]:
    """TF-IDF features (sparse) of whole texts: 1 + log(tf) of words, rows of length 1 (word pairs did not help)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=TFIDF_TERMS, token_pattern=r"\w+")
    return vectorizer.fit_transform(train), vectorizer.transform(test)


def standardise(train_NF: NDArray[np.floating], test_NF: NDArray[np.floating]) -> tuple[Any, Any]:
    """Zero mean and unit variance of each feature over the training documents."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(np.asarray(train_NF, np.float64))
    return scaler.transform(train_NF), scaler.transform(test_NF)
