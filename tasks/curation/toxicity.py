"""Toxicity by Detoxify: six scores a text, the same bits whatever the batch split and the number of threads.

A text longer than the model is scored in windows of as many tokens as the model takes, each sharing its first eighth
with the one before it, so that no sentence is only seen in halves; its score is the maximum over its windows. A text of
one window gets what `Detoxify.predict` says; nothing is cut off.

Floating-point sums depend on the shape of the matrices, so shapes are constant: a window goes into the bucket of its
own length, every micro-batch of a bucket has the same number of rows (the rest is padding), one thread works on it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tasks.curation.one_thread import one_thread_each
from tasks.curation.pieces import pieces
from tasks.curation.toxicity_models import STAND_IN, ModelFiles, NoModel, find

if TYPE_CHECKING:
    from tasks.curation.toxicity_checkpoint import OpenModel

#: The labels of the Jigsaw Toxic Comment Classification Challenge (2018), as Detoxify spells them.
LABELS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")
VERSION = 3
SCHEMA = pa.schema([*((f"toxicity.{label}", pa.float64()) for label in LABELS), ("scored_by", pa.string())])
DECIMALS = 4

BUCKETS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # tokens; a bucket pads by a seventh on average
FINE_BUCKETS = (*range(16, 128, 16), *range(128, 513, 32))  # by a sixteenth; but more of them are not full
NARROW = 128  # hidden size: here a call costs more than its padding
PIECE_CHARS = 100_000  # longer texts are tokenised in pieces cut at a space: memory stays bounded
PIECE_OVERLAP = 400  # characters that a piece shares with the one before it: more than a window's eighth
BLOCK_CHARS = 16_000_000  # texts that are tokenised before the model sees the first of them
Progress = Callable[[int], None]


def load(
    model: str, *, stand_in: bool = False, models: Path | None = None, allow_download: bool = False
) -> Toxicity | Unavailable:
    """The scorer for a policy's model, its digests checked, its weights not yet opened (so this is fast).

    `model`: ``stand-in``, a Detoxify name (looked for under `models`), or a folder with a checkpoint. `stand_in`: may
    the stand-in decide, also in place of a model that cannot be had? Where no model may decide, the result is a scorer
    too: each of its rows is an error, so that every record is quarantined, and its `message` says what to do.
    UserError for a path or name that does not exist, and for a digest that differs from its pin.
    """
    if model == STAND_IN and not stand_in:
        return Unavailable(
            model,
            "the policy does not let the stand-in decide about toxicity; set `toxicity.stand_in: true`, or name in "
            "`toxicity.model` a Detoxify model or the folder of a checkpoint",
        )
    try:
        return Toxicity(find(model, models, allow_download))
    except NoModel as error:
        if stand_in:
            return Toxicity(find(STAND_IN))
        return Unavailable(model, str(error))


@dataclass(frozen=True)
class Unavailable:
    """No model may score: every row says so in ``error`` (NoModel), and is quarantined by it."""

    model: str
    message: str
    name = "toxicity"
    VERSION = VERSION
    inputs = ("text",)
    schema = SCHEMA

    def config(self) -> dict[str, Any]:
        return {"unavailable": self.model}

    def open(self) -> None:
        """Nothing to open."""

    def score(self, batch: pa.Table) -> pa.Table:
        count = len(batch)
        columns = [pa.nulls(count, pa.float64()) for _ in LABELS]
        return pa.Table.from_arrays(
            [*columns, pa.array([""] * count, pa.string()), pa.array(["NoModel"] * count, pa.string())],
            schema=SCHEMA.append(pa.field("error", pa.string())),
        )


@dataclass(frozen=True)
class Toxicity:
    """`toxicity.LABEL` (4 decimals; null where the model has no such class) and `scored_by`, the model's digest."""

    files: ModelFiles
    name = "toxicity"
    VERSION = VERSION
    inputs = ("text",)
    schema = SCHEMA

    def config(self) -> dict[str, Any]:
        return {"model": dict(self.files.sha256), "labels": list(LABELS)}

    @property
    def digest(self) -> str:
        """16 hex: the model that `scored_by` names."""
        return self.files.digest

    def open(self) -> None:
        """Open the model now; UserError when it cannot be. (`score` opens it too; there the error falls on rows.)"""
        _opened(self.files)

    def score(self, batch: pa.Table) -> pa.Table:
        """Scores for the rows of `batch`; a null text has null scores. May be called from several threads at once."""
        texts = batch["text"].to_pylist()
        rows = [index for index, text in enumerate(texts) if text is not None]
        scores_NL = np.full((len(texts), len(LABELS)), np.nan)
        if rows:
            scores_NL[rows] = self.score_texts([texts[index] for index in rows], workers=1)
        columns = [pa.array(column, pa.float64(), from_pandas=True) for column in scores_NL.T]
        return pa.Table.from_arrays([*columns, pa.array([self.digest] * len(texts), pa.string())], schema=SCHEMA)

    def score_texts(
        self, texts: Sequence[str], progress: Progress | None = None, workers: int | None = None
    ) -> np.ndarray:
        """(N, 6) float64 scores in the order of LABELS, NaN where the model has no such class; equal texts scored once.

        `workers` threads (default: the cores, 8 at most) take micro-batches; the scores don't depend on their number.
        `progress` is told how many of `texts` are done. FloatingPointError when the model returns no number.
        """
        from scipy.special import expit

        opened = _opened(self.files)
        place: dict[str, int] = {}
        index_N = np.array([place.setdefault(text, len(place)) for text in texts], dtype=np.int64)
        copies = np.bincount(index_N, minlength=len(place))
        logits_UC = np.full((len(place), len(opened.classes)), -np.inf, dtype=np.float32)
        with one_thread_each(workers or min(8, os.cpu_count() or 1)) as pool:
            for first, block in _blocks(list(place)):
                for done in _score_block(opened, block, logits_UC[first : first + len(block)], pool):
                    if progress:
                        progress(int(copies[first + done].sum()))
        if not np.isfinite(logits_UC).all():
            raise FloatingPointError("the toxicity model returned something that is no number")
        # Not torch.sigmoid: its vector loop and the scalar loop for the rest differ in the last bit.
        rounded_UC = np.round(expit(logits_UC.astype(np.float64)), DECIMALS)
        scores_UL = np.full((len(place), len(LABELS)), np.nan)
        for column, label in enumerate(LABELS):
            if label in opened.classes:
                scores_UL[:, column] = rounded_UC[:, opened.classes.index(label)]
        return scores_UL[index_N]


_opening = threading.Lock()
_open_models: dict[str, OpenModel] = {}  # the last model by digest: workers of a cluster open it themselves


def _opened(files: ModelFiles) -> OpenModel:
    from tasks.curation.toxicity_checkpoint import open_model

    with _opening:  # two threads must not read the same weights twice
        if files.digest not in _open_models:
            opened = open_model(files)
            _open_models.clear()
            _open_models[files.digest] = opened
        return _open_models[files.digest]


def _blocks(texts: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Runs of texts of about BLOCK_CHARS, each with the index of its first."""
    first, chars = 0, 0
    for index, text in enumerate(texts):
        chars += len(text)
        if chars >= BLOCK_CHARS or index == len(texts) - 1:
            yield first, texts[first : index + 1]
            first, chars = index + 1, 0


def _score_block(
    opened: OpenModel, texts: list[str], out_TC: np.ndarray, pool: ThreadPoolExecutor
) -> Iterator[np.ndarray]:
    """Raise `out_TC` to the logits of `texts`; yield the indices of the texts that each step completed."""
    owners: list[int] = []
    windows: list[np.ndarray] = []
    cut = [(index, part) for index, text in enumerate(texts) for part in pieces(text, PIECE_CHARS, PIECE_OVERLAP)]
    for start in range(0, len(cut), 4096):  # an encoding weighs 100 bytes a token: keep few
        part = cut[start : start + 4096]
        for (index, _), encoding in zip(part, opened.tokenizer.encode_batch_fast([t for _, t in part]), strict=True):
            for window in (encoding, *encoding.overflowing):
                owners.append(index)
                windows.append(np.array(window.ids, dtype=np.int32))
    left_T = np.bincount(owners, minlength=len(texts))  # windows still to come, by text
    jobs = list(_micro_batches(opened, [len(window) for window in windows]))
    results = pool.map(lambda job: _forward(opened, [windows[at] for at in job[0]], *job[1:]), jobs)
    for (chosen, _, _), logits_RC in zip(jobs, results, strict=True):
        rows = [owners[at] for at in chosen]
        np.maximum.at(out_TC, rows, logits_RC)
        np.subtract.at(left_T, rows, 1)
        touched = np.unique(rows)
        yield touched[left_T[touched] == 0]


def _micro_batches(opened: OpenModel, lengths: list[int]) -> Iterator[tuple[np.ndarray, int, int]]:
    """(indices of windows, rows, tokens): the constant shape of a bucket, filled in the windows' order."""
    # A wide model is busy with few rows; a narrow one needs more of them to be worth a call.
    tokens, buckets = (2048, BUCKETS) if opened.hidden_size <= NARROW else (1024, FINE_BUCKETS)
    edges = [*(edge for edge in buckets if edge < opened.max_tokens), opened.max_tokens]
    bucket_W = np.searchsorted(edges, lengths)
    for bucket, edge in enumerate(edges):
        inside = np.flatnonzero(bucket_W == bucket)
        rows = max(1, tokens // edge)
        for start in range(0, len(inside), rows):
            yield inside[start : start + rows], rows, edge


def _forward(opened: OpenModel, windows: list[np.ndarray], rows: int, tokens: int) -> np.ndarray:
    """(len(windows), classes) float32 logits from one forward pass of shape (rows, tokens)."""
    import torch

    ids_RT = np.full((rows, tokens), opened.pad_id, dtype=np.int64)
    mask_RT = np.zeros((rows, tokens), dtype=np.int64)
    mask_RT[:, 0] = 1  # a row of padding attends to something, or its softmax divides by zero
    for row, window in enumerate(windows):
        ids_RT[row, : len(window)] = window
        mask_RT[row, : len(window)] = 1
    with torch.inference_mode():
        logits_RC = opened.model(input_ids=torch.from_numpy(ids_RT), attention_mask=torch.from_numpy(mask_RT)).logits
        return logits_RC.numpy()[: len(windows), : len(opened.classes)]
