"""Texts with a toxicity model's scores: stored ones of a corpus, and files that are scored now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.curation.ingest import source_digests
from tasks.curation.records import Engine
from tasks.curation.sources import Files
from tasks.curation.steps import ingest_stage, records, score_stage, scores
from tasks.curation.toxicity import LABELS, Toxicity
from tasks.errors import UserError
from tasks.governance.corpus import reopen
from tasks.home import Home
from tasks.stages import Stage

Scored = tuple[list[str], np.ndarray]  # texts, and (N, 6) scores in the order of LABELS


def from_corpus(home: Home, folder: Path, model: Toxicity) -> Scored:
    """The texts of a corpus version that `model` itself has scored; UserError when there are none."""
    curated, _ = reopen(home, folder)
    stages = [stage for stage in curated.scored if stage.name == "toxicity"]
    found = _scored(curated.ingested, stages[0], model) if stages else ([], np.zeros((0, len(LABELS))))
    if not found[0]:
        raise UserError("the policy's toxicity model has scored nothing of this corpus", where=str(folder))
    return found


def from_files(home: Home, path: str, model: Toxicity) -> Scored:
    """The texts of JSON lines, Parquet, CSV or text files, scored once: the scores stay among HOME's stages."""
    source = Files(name="calibration", path=path)
    ingested = ingest_stage(home, [source], source_digests([source]))
    model.open()
    return _scored(ingested, score_stage(home, ingested, model, Engine()), model)


def together(parts: Sequence[Scored]) -> Scored:
    """Each distinct text once, in the order of the parts."""
    first: dict[str, int] = {}
    texts = [text for part, _ in parts for text in part]
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    return list(first), np.concatenate([scores_NL for _, scores_NL in parts])[list(first.values())]


def _scored(ingested: Stage, stage: Stage, model: Toxicity) -> Scored:
    table = scores(stage)
    texts = records(ingested, ["record_id", "text"])
    by_model = pc.and_(pc.equal(table["scored_by"], model.digest), pc.equal(table["error"], ""))
    mask = pc.and_(by_model, pc.is_valid(texts["text"]))
    table = table.filter(mask)
    columns = [np.asarray(pc.fill_null(table[f"toxicity.{label}"], float("nan")), float) for label in LABELS]
    return texts["text"].filter(pa.chunked_array(mask)).to_pylist(), np.stack(columns, axis=1)
