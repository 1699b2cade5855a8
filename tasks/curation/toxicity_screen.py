"""A cheap screen before the toxicity model. It may clear a text; it never condemns one.

A linear model on hashed n-grams of words and characters (feature hashing: Weinberger et al. 2009). `gristmill policies
calibrate` trains it on scores of the model that the policy names, and pins it: a policy names folder, digest and
threshold, and no run ever trains. A long text is read in overlapping windows; its score is the maximum over them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tasks.curation.pieces import pieces
from tasks.errors import UserError
from tasks.stages import sha256_file, sha256_json

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

VERSION = 1
FORMAT = "gristmill-screen/1"
FILES = ("screen.json", "screen.safetensors")
COLUMN = "toxicity.screen"
DECIMALS = 4


@dataclass(frozen=True)
class Features:
    """What the screen sees of a text: n-grams of words and, within words, of characters, each hashed to 2^bits."""

    bits: int = 18
    word_ngrams: tuple[int, int] = (1, 2)
    character_ngrams: tuple[int, int] = (3, 5)
    window_characters: int = 800
    overlap_characters: int = 100

    def windows(self, texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """All windows of all texts, and the index of the text that each is from (never none of a text)."""
        cut = [list(pieces(text, self.window_characters, self.overlap_characters)) for text in texts]
        owners = np.repeat(np.arange(len(texts)), [len(parts) for parts in cut])
        return [part for parts in cut for part in parts], owners

    def matrix(self, windows: Sequence[str]) -> csr_matrix:
        """(N, 2 * 2^bits) float64: counts, each half of a row scaled to unit length."""
        from scipy.sparse import csr_matrix, hstack
        from sklearn.feature_extraction.text import HashingVectorizer

        halves = [
            HashingVectorizer(
                analyzer=analyzer,
                ngram_range=tuple(ngrams),
                n_features=2**self.bits,
                alternate_sign=False,
                token_pattern=r"(?u)\b\w+\b" if analyzer == "word" else None,
            ).transform(windows)
            for analyzer, ngrams in (("word", self.word_ngrams), ("char_wb", self.character_ngrams))
        ]
        return csr_matrix(hstack(halves, format="csr"))


@dataclass(frozen=True)
class Screen:
    """`toxicity.screen`: 0 (surely harmless) to 1, 4 decimals; null for a null text. A scorer (see records.Scorer)."""

    folder: Path
    sha256: str
    features: Features
    model: str  # the digest of the toxicity model that it imitates
    thresholds: Mapping[str, float]  # what "toxic" meant when it was trained, by label
    name = "screen"
    VERSION = VERSION
    inputs = ("text",)
    schema = pa.schema([(COLUMN, pa.float64())])

    def config(self) -> dict[str, Any]:
        return {"screen": self.sha256}

    def score(self, batch: pa.Table) -> pa.Table:
        """Scores for the rows of `batch`. May be called from several threads at once."""
        texts = batch["text"].to_pylist()
        rows = [index for index, text in enumerate(texts) if text is not None]
        scores_N = np.full(len(texts), np.nan)
        if rows:
            scores_N[rows] = self.score_texts([texts[index] for index in rows])
        return pa.Table.from_arrays([pa.array(scores_N, pa.float64(), from_pandas=True)], schema=self.schema)

    def score_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N,) float64. A row's sum has one order whatever rows are beside it, so its bits do not depend on them."""
        weights, bias = _weights(self.folder, self.sha256)
        return scores(self.features, weights, bias, texts)


def scores(features: Features, weights: np.ndarray, bias: float, texts: Sequence[str]) -> np.ndarray:
    """(N,) the maximum over each text's windows of sigmoid(features . weights + bias), rounded."""
    from scipy.special import expit

    windows, owners = features.windows(texts)
    result = np.zeros(len(texts))
    if windows:
        margin = features.matrix(windows) @ weights + bias
        np.maximum.at(result, owners, np.round(expit(margin), DECIMALS))
    return result


def digest(folder: Path) -> str:
    """Hex SHA-256 over both files; UserError when one is not there."""
    for name in FILES:
        if not (folder / name).is_file():
            raise UserError(
                f"the screen's folder has no {name}", where=str(folder), hint="make one: gristmill policies calibrate"
            )
    return sha256_json({name: sha256_file(folder / name) for name in FILES})


def write_screen(
    folder: Path, features: Features, weights: np.ndarray, bias: float, about: Mapping[str, Any]
) -> Screen:
    """Write ``screen.json`` and ``screen.safetensors`` into `folder`.

    `about`: at least ``model`` (digest), ``thresholds``; the rest is for people.
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"weights": weights.astype(np.float32), "bias": np.array([bias], dtype=np.float32)}
    (folder / "screen.safetensors").write_bytes(save(tensors))
    described = {"format": FORMAT, "features": asdict(features), **about}
    (folder / "screen.json").write_text(json.dumps(described, indent=1, sort_keys=True) + "\n")
    return open_screen(folder, digest(folder))


def open_screen(folder: Path, sha256: str) -> Screen:
    """The screen that a policy pins; UserError when its files are not those, or are no screen."""
    found = digest(folder)
    if found != sha256:
        raise UserError(
            f"the screen's SHA-256 is {found}, not {sha256}: it was not used",
            where=str(folder),
            hint="put the digest that `gristmill policies calibrate` printed into toxicity.screen.sha256",
        )
    try:
        about = json.loads((folder / "screen.json").read_text())
        if about["format"] != FORMAT:
            raise ValueError
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about["features"].items()}
        features = Features(**values)
        return Screen(folder, sha256, features, str(about["model"]), dict(about["thresholds"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(f"not a screen of the format {FORMAT}", where=str(folder / "screen.json")) from None


@lru_cache(maxsize=2)
def _weights(folder: Path, sha256: str) -> tuple[np.ndarray, float]:
    """float64 weights and bias, the digest checked once more: a worker of a cluster opens them itself."""
    from safetensors.numpy import load_file

    if digest(folder) != sha256:
        raise UserError("the screen changed while it was used", where=str(folder))
    tensors = load_file(folder / "screen.safetensors")
    return tensors["weights"].astype(np.float64), float(tensors["bias"][0])
