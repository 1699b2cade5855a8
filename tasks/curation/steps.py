"""The stages of curation: each a folder named by everything that it depends on, built by one pure step.

Every scored table has exactly the rows of the records table, sorted by record_id; so columns are put side by side
without a join, after the ids are compared.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_policies import decide as decisions
from data_policies.schema import Policy
from data_policies.spdx import rank
from tasks.curation.blocks import FileBlocks, write_blocks
from tasks.curation.records import Engine, Scorer
from tasks.engine import output_schema, require_same_rows, score_blocks, score_table, transient
from tasks.governance.ledger import ROW_GROUP, write_parquet
from tasks.home import Home
from tasks.progress import progress
from tasks.stages import Stage, Transient, run_stage, sha256_json

DECIDE_VERSION = 1
DESIGN_THRESHOLD = 0.8  # Jaccard


def ingest_stage(home: Home, sources: Sequence[Any], digests: list[dict[str, Any]]) -> Stage:
    """sources -> records.parquet, evidence.parquet, sources.json."""
    from tasks.curation.ingest import VERSION, ingest

    def build(folder: Path) -> None:
        with progress("ingest", None) as advance:
            ingest(sources, folder, advance)

    return run_stage(home.stages, "ingest", VERSION, {"sources": digests}, build)


def records(stage: Stage, columns: Sequence[str] | None = None) -> pa.Table:
    """The records table of an ingest stage."""
    return pq.read_table(Path(stage.path) / "records.parquet", columns=columns)


def scores(stage: Stage, columns: Sequence[str] | None = None) -> pa.Table:
    """A score stage's table."""
    return pq.read_table(Path(stage.path) / "scores.parquet", columns=columns)


def licence_stage(home: Home, ingested: Stage, engine: Engine) -> Stage:
    """Concluded licence per record."""
    from tasks.curation.licences import Licences, conclude_all

    scorer = Licences()

    def build(folder: Path) -> None:
        given = records(ingested, ["record_id", "evidence_id"])
        evidence = pq.read_table(Path(ingested.path) / "evidence.parquet")
        with progress("licences", len(given)) as advance:
            concluded = conclude_all(given, evidence, engine)
            advance(len(given))
        write_parquet(concluded, folder / "scores.parquet")

    inputs = {"records": ingested.digest, "config": scorer.config()}
    return run_stage(home.stages, "licences", scorer.VERSION, inputs, build)


def score_stage(home: Home, ingested: Stage, scorer: Scorer, engine: Engine) -> Stage:
    """One scorer over all records."""

    def build(folder: Path) -> Transient | None:
        given = FileBlocks(Path(ingested.path) / "records.parquet")
        path = folder / "scores.parquet"
        with progress(scorer.name, len(given)) as advance:
            write_blocks(score_blocks(given, scorer, engine, advance), path, output_schema(scorer), ROW_GROUP)
        failed = pq.read_table(path, columns=["record_id", "error"])
        return transient(failed["error"], failed["record_id"])

    inputs = {"records": ingested.digest, "config": scorer.config()}
    return run_stage(home.stages, scorer.name, scorer.VERSION, inputs, build)


def cheap_scores(ingested: Stage, stages: Sequence[Stage]) -> pa.Table:
    """Side by side: the records' ids and ingest rules, and every scorer's columns (``error`` as ``error.NAME``)."""
    table = records(ingested, ["record_id", "ingest_rule", "ingest_detail"])
    for stage in stages:
        table = beside(table, scores(stage), stage.name)
    return table


def beside(left: pa.Table, right: pa.Table, name: str) -> pa.Table:
    """Put `right`'s columns beside `left`'s; RuntimeError unless both have the same record ids in the same order."""
    require_same_rows(left, right, name)
    for column in right.column_names[1:]:
        left = left.append_column(f"error.{name}" if column == "error" else column, right[column])
    return left


def toxicity_stage(
    home: Home, ingested: Stage, cheap: Sequence[Stage], policy: Policy, engine: Engine, download: bool = False
) -> Stage:
    """Toxicity scores of the records that no cheaper rule refuses; each distinct text is scored once.

    Scores that an earlier stage over the same records with the same model holds are taken over: after a change of
    another rule only the records that are newly needed are scored.
    """
    from tasks.curation.toxicity import LABELS, Unavailable, load

    assert policy.toxicity is not None
    asked = policy.toxicity
    model = load(asked.model, stand_in=asked.stand_in, models=home.root / "models", allow_download=download)
    if isinstance(model, Unavailable):
        print(f"toxicity: every record that needs a score is quarantined: {model.message}", file=sys.stderr)
    needed = decisions.needs_toxicity(cheap_scores(ingested, cheap), policy)
    base = {"records": ingested.digest, "config": model.config()}
    inputs = {**base, "needed": hashlib.sha256(np.packbits(needed).tobytes()).hexdigest()}

    def build(folder: Path) -> Transient | None:
        model.open()  # a checkpoint that cannot be opened is the user's error, not every row's
        given = records(ingested, ["record_id", "content_sha256", "text"])
        wanted = given.filter(pa.array(needed))
        distinct = _distinct(wanted)
        known = _known_scores(home, base)
        fresh = distinct
        if known is not None:
            fresh = distinct.filter(pc.invert(pc.is_in(distinct["content_sha256"], known["content_sha256"])))
        with progress("toxicity", len(fresh)) as advance:
            scored = score_table(fresh, model, engine, advance)
        scored = scored.append_column("content_sha256", _column_for(scored, fresh, "content_sha256")).drop_columns(
            ["record_id"]
        )
        if known is not None:
            scored = pa.concat_tables([scored, known.select(scored.column_names)])
        position = pc.index_in(given["content_sha256"], scored["content_sha256"])
        position = pc.if_else(pa.array(needed), position, pa.scalar(None, pa.int32()))
        columns = [scored[name].take(position.combine_chunks()) for name in (*(f"toxicity.{x}" for x in LABELS),)]
        by = pc.fill_null(scored["scored_by"].take(position.combine_chunks()), decisions.NOT_NEEDED)
        error = pc.fill_null(scored["error"].take(position.combine_chunks()), "")
        names = ["record_id", *(f"toxicity.{x}" for x in LABELS), "scored_by", "error"]
        write_parquet(pa.table([given["record_id"], *columns, by, error], names=names), folder / "scores.parquet")
        return transient(error, given["record_id"])

    return run_stage(home.stages, "toxicity", model.VERSION, inputs, build)


def _distinct(table: pa.Table) -> pa.Table:
    """The first row for each content_sha256."""
    if len(table) == 0:
        return table
    indexed = table.select(["content_sha256"]).append_column("row", pa.array(np.arange(len(table))))
    first = indexed.group_by("content_sha256").aggregate([("row", "min")])["row_min"]
    return table.take(first.combine_chunks().sort())


def _column_for(scored: pa.Table, given: pa.Table, column: str) -> pa.ChunkedArray:
    return given[column].take(pc.index_in(scored["record_id"], given["record_id"]).combine_chunks())


def _known_scores(home: Home, base: dict[str, Any]) -> pa.Table | None:
    """Scores by content_sha256 from earlier toxicity stages with the same records and model, if there are any."""
    found = []
    for path in sorted(home.stages.glob("toxicity-*/stage.json")):
        inputs = json.loads(path.read_text())["inputs"]
        if {key: inputs.get(key) for key in base} != base:
            continue
        table = pq.read_table(path.parent / "scores.parquet")
        ids = pq.read_table(
            home.stages / f"ingest-{base['records'][:16]}" / "records.parquet", columns=["content_sha256"]
        )
        table = table.append_column("content_sha256", ids["content_sha256"])
        good = pc.and_(pc.not_equal(table["scored_by"], decisions.NOT_NEEDED), pc.equal(table["error"], ""))
        found.append(table.filter(good).drop_columns(["record_id"]))
    return _distinct(pa.concat_tables(found)) if found else None


def decide_stage(home: Home, ingested: Stage, stages: Sequence[Stage], policy: Policy) -> Stage:
    """Each record alone: verdicts.parquet."""

    def build(folder: Path) -> None:
        table = cheap_scores(ingested, stages)
        with progress("decide", len(table)) as advance:
            verdicts = decisions.decide(table, policy)
            advance(len(table))
        write_parquet(verdicts, folder / "verdicts.parquet")

    inputs = {"records": ingested.digest, "scores": [stage.digest for stage in stages], "policy": policy.sha256()}
    return run_stage(home.stages, "decide", DECIDE_VERSION, inputs, build)


def pairs_stage(
    home: Home, ingested: Stage, stages: Sequence[Stage], decided: Stage, policy: Policy, engine: Engine
) -> Stage:
    """Classes of equal texts and verified near-duplicate pairs among the admissible records.

    Signed for the policy's threshold or DESIGN_THRESHOLD, whichever is lower: raising it signs nothing again.
    """
    from tasks.curation.duplicates import VERSION, election_order, find_pairs

    admissible = admissible_ids(decided)
    design = min(policy.duplicates.threshold, DESIGN_THRESHOLD)

    def build(folder: Path) -> None:
        wanted = np.asarray(pc.is_in(records(ingested, ["record_id"])["record_id"], admissible))
        texts = FileBlocks(Path(ingested.path) / "records.parquet", wanted)
        order = election_order(_standing(ingested, stages, policy, wanted))
        with progress("duplicates", len(texts)) as advance:
            find_pairs(texts, design, engine, advance, order).write(folder)

    inputs = {"records": ingested.digest, "admissible": sha256_json(admissible.to_pylist()), "threshold": design}
    inputs["licences"] = list(policy.licences.allow)  # their order is that of the election
    return run_stage(home.stages, "duplicates", VERSION, inputs, build)


def _standing(ingested: Stage, stages: Sequence[Stage], policy: Policy, wanted: np.ndarray) -> pa.Table:
    """What the records stand for election with, as far as it is known before redaction."""
    by_name = {stage.name: stage for stage in stages}
    given = records(ingested, ["record_id", "bytes"]).filter(wanted)
    licence = scores(by_name["licences"], ["licence"])["licence"].filter(wanted)
    return pa.table(
        {
            "record_id": given["record_id"],
            "licence_rank": licence_ranks(licence, policy),
            "quality": election_quality(by_name["quality"]).filter(wanted),
            "length": given["bytes"],
        }
    )


def election_quality(quality: Stage) -> pa.ChunkedArray:
    """A coarse quality for the election: the share of letters in tenths; among equals the longer text survives."""
    share = scores(quality, ["quality.basic.letter_ratio"])["quality.basic.letter_ratio"]
    return pc.round(pc.fill_null(share, 0.0), 1)


def admissible_ids(decided: Stage) -> pa.Array:
    """The ids of the records that no rule refuses, sorted."""
    verdicts = pq.read_table(Path(decided.path) / "verdicts.parquet", columns=["record_id", "verdict"])
    kept = verdicts.filter(pc.is_in(verdicts["verdict"], pa.array([decisions.KEEP, decisions.REDACT])))
    return kept["record_id"].combine_chunks()


def licence_ranks(licence: pa.ChunkedArray, policy: Policy) -> pa.Array:
    """Each record's place in the policy's order of licences (int64)."""
    order = {name: rank(name or "", policy.licences.allow) for name in pc.unique(licence).to_pylist()}
    return pa.array([order[name] for name in licence.to_pylist()], pa.int64())
