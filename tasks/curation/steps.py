"""The stages of curation: each a folder named by everything that it depends on, built by one pure step.

Every scored table has exactly the rows of the records table, sorted by record_id; so columns are put side by side
without a join, after the ids are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_policies import decide as decisions
from data_policies.schema import Policy
from data_policies.spdx import rank
from tasks.curation.beside import Part, side_by_side
from tasks.curation.blocks import FileBlocks, write_blocks
from tasks.curation.media import MEDIA_DUPLICATES, kind_of
from tasks.curation.records import Engine, Scorer
from tasks.engine import output_schema, score_blocks, transient
from tasks.governance.ledger import ROW_GROUP
from tasks.home import Home
from tasks.progress import progress
from tasks.stages import Stage, Transient, run_stage

DECIDE_VERSION = 1
DESIGN_THRESHOLD = 0.8  # Jaccard


def ingest_stage(home: Home, sources: Sequence[Any], digests: list[dict[str, Any]]) -> Stage:
    """sources -> records.parquet, evidence.parquet, sources.json."""
    from tasks.curation.ingest import VERSION, ingest

    def build(folder: Path) -> None:
        with progress("ingest", None) as advance:
            ingest(sources, folder, advance)

    return run_stage(home.stages, "ingest", VERSION, {"sources": digests}, build)


def protected_stage(home: Home, sets: Sequence[Any], digests: list[dict[str, Any]]) -> Stage:
    """Evaluation sets -> one items-NUMBER.parquet each, and sets.json."""
    from tasks.curation.protected import VERSION, write_items

    return run_stage(home.stages, "protected", VERSION, {"sources": digests}, lambda folder: write_items(sets, folder))


def records(stage: Stage, columns: Sequence[str] | None = None) -> pa.Table:
    """The records table of an ingest stage."""
    return pq.read_table(Path(stage.path) / "records.parquet", columns=columns)


def scores(stage: Stage, columns: Sequence[str] | None = None) -> pa.Table:
    """A score stage's table."""
    return pq.read_table(Path(stage.path) / "scores.parquet", columns=columns)


def licence_stage(home: Home, ingested: Stage, engine: Engine) -> Stage:
    """Concluded licence per record."""
    from tasks.curation.licences import CONCLUDED, Licences, conclude_blocks

    scorer = Licences()

    def build(folder: Path) -> None:
        given = FileBlocks(Path(ingested.path) / "records.parquet")
        evidence = pq.read_table(Path(ingested.path) / "evidence.parquet")
        with progress("licences", len(given)) as advance:
            concluded = conclude_blocks(given, evidence)
            write_blocks(concluded, folder / "scores.parquet", CONCLUDED, ROW_GROUP)
            advance(len(given))

    inputs = {"records": ingested.digest, "config": scorer.config()}
    return run_stage(home.stages, "licences", scorer.VERSION, inputs, build)


def score_stage(home: Home, ingested: Stage, scorer: Scorer, engine: Engine) -> Stage:
    """One scorer over all records."""

    def build(folder: Path) -> Transient | None:
        given = FileBlocks(Path(ingested.path) / "records.parquet", factor=engine.block_factor)
        path = folder / "scores.parquet"
        with progress(scorer.name, len(given)) as advance:
            write_blocks(score_blocks(given, scorer, engine, advance), path, output_schema(scorer), ROW_GROUP)
        failed = pq.read_table(path, columns=["record_id", "error"], filters=pc.field("error") != "")
        return transient(failed["error"], failed["record_id"])

    inputs = {"records": ingested.digest, "config": scorer.config()}
    return run_stage(home.stages, scorer.name, scorer.VERSION, inputs, build)


def score_blocks_beside(ingested: Stage, stages: Sequence[Stage]) -> Iterator[pa.Table]:
    """Side by side: the records' ids and ingest rules, and every scorer's columns (``error`` as ``error.NAME``).

    A block of records at a time; one empty table when there are none.
    """
    given = Part(Path(ingested.path) / "records.parquet", "ingest", ["ingest_rule", "ingest_detail"])
    return side_by_side([given, *(Part(Path(stage.path) / "scores.parquet", stage.name) for stage in stages)])


def decide_stage(home: Home, ingested: Stage, stages: Sequence[Stage], policy: Policy) -> Stage:
    """Each record alone: verdicts.parquet."""

    def build(folder: Path) -> None:
        given = score_blocks_beside(ingested, stages)
        with progress("decide", len(FileBlocks(Path(ingested.path) / "records.parquet"))) as advance:
            verdicts = _decided(given, policy, advance)
            write_blocks(verdicts, folder / "verdicts.parquet", decisions.VERDICT_SCHEMA, ROW_GROUP)

    inputs = {"records": ingested.digest, "scores": [stage.digest for stage in stages], "policy": policy.sha256()}
    return run_stage(home.stages, "decide", DECIDE_VERSION, inputs, build)


def _decided(given: Iterator[pa.Table], policy: Policy, advance: Callable[[int], None]) -> Iterator[pa.Table]:
    """Verdicts of a block of records at a time: each is decided alone."""
    for block in given:
        yield decisions.decide(block, policy)
        advance(len(block))


def media_pairs_stage(home: Home, ingested: Stage, media: Stage, policy: Policy) -> Stage:
    """As `pairs_stage`, of images or clips: classes of those that are equal once made regular, texts beside them
    included, and verified pairs where the policy asks for near duplicates."""
    from tasks.curation.media_duplicates import VERSION, find_media_pairs, finder_version

    kind = kind_of(media)
    near = {"image": policy.duplicates.images, "audio": policy.duplicates.audio}[kind]

    def build(folder: Path) -> None:
        with progress(MEDIA_DUPLICATES, None) as advance:
            find_media_pairs(ingested, media, kind, near, advance).write(folder)

    inputs = {"media": media.digest, "records": ingested.digest, "threshold": near}
    if near is not None:
        inputs["finder"] = finder_version(kind)
    return run_stage(home.stages, MEDIA_DUPLICATES, VERSION, inputs, build)


def pairs_stage(home: Home, ingested: Stage, policy: Policy, engine: Engine) -> Stage:
    """Classes of equal texts and verified near-duplicate pairs among all records that could be read.

    Refused ones are compared too, so that no threshold but its own makes this stage again; they are not elected. Signed
    for the policy's threshold or DESIGN_THRESHOLD, whichever is lower: raising it signs nothing again.
    """
    from tasks.curation.duplicates import VERSION, find_pairs
    from tasks.curation.substrings import STORED_FROM

    design = min(policy.duplicates.threshold, DESIGN_THRESHOLD)

    def build(folder: Path) -> None:
        readable, order = _longest_first(ingested)
        texts = FileBlocks(Path(ingested.path) / "records.parquet", readable, engine.block_factor)
        with progress("duplicates", len(texts)) as advance:
            find_pairs(texts, design, engine, advance, order, substring).write(folder)

    inputs: dict[str, Any] = {"records": ingested.digest, "threshold": design}
    substring = policy.duplicates.substring
    if substring is not None:
        inputs["substring"] = {"words": substring.words, "from": min(substring.share, STORED_FROM)}
    return run_stage(home.stages, "duplicates", VERSION, inputs, build)


def _longest_first(ingested: Stage) -> tuple[np.ndarray, np.ndarray]:
    """(readable, order): which records could be read, and the numbers of these, the longest first."""
    given = FileBlocks(Path(ingested.path) / "records.parquet")
    readable, lengths, row = np.zeros(len(given), bool), np.zeros(len(given), np.int64), 0
    for block in given.blocks(["bytes", "ingest_rule"]):
        here = slice(row, row + len(block))
        readable[here], lengths[here] = pc.equal(block["ingest_rule"], ""), block["bytes"]
        row += len(block)
    order = np.argsort(-lengths[readable], kind="stable")  # on a tie by record_id
    return readable, order.astype(np.int32) if len(order) < 2**31 else order


def licence_ranks(licence: pa.ChunkedArray, policy: Policy) -> pa.Array:
    """Each record's place in the policy's order of licences (int64)."""
    names = licence.combine_chunks().fill_null("").dictionary_encode()
    ranks = [rank(name, policy.licences.allow) for name in names.dictionary.to_pylist()]
    return pa.array(ranks, pa.int64()).take(names.indices)
