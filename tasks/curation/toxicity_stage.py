"""The toxicity stage: the policy's model over the records that need it, behind a screen when the policy pins one."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_policies import decide as decisions
from data_policies.schema import Policy
from data_policies.schema import Toxicity as Asked
from tasks.curation.blocks import FileBlocks
from tasks.curation.media import media_of
from tasks.curation.records import Engine
from tasks.curation.steps import records, score_blocks_beside
from tasks.curation.toxicity import LABELS, Toxicity, Unavailable, load
from tasks.curation.toxicity_cascade import REPORT, Outcome, cascade
from tasks.curation.toxicity_screen import COLUMN, Screen, open_screen
from tasks.engine import score_table, transient
from tasks.errors import UserError
from tasks.governance.ledger import write_parquet
from tasks.home import Home
from tasks.progress import progress
from tasks.stages import Stage, Transient, run_stage

NAMES = tuple(f"toxicity.{label}" for label in LABELS)


def toxicity_stage(
    home: Home, ingested: Stage, cheap: Sequence[Stage], policy: Policy, engine: Engine, download: bool = False
) -> Stage:
    """Toxicity scores of the records that no cheaper rule refuses; each distinct text is scored once.

    Scores that an earlier stage over the same records with the same model holds are taken over: after a change of
    another rule only the records that are newly needed are scored. With a screen, the stage's folder also holds
    ``cascade.json``: how many it cleared, the sample, and the bound.
    """
    assert policy.toxicity is not None
    asked = policy.toxicity
    model = load(asked.model, stand_in=asked.stand_in, models=home.root / "models", allow_download=download)
    if isinstance(model, Unavailable):
        print(f"toxicity: every record that needs a score is quarantined: {model.message}", file=sys.stderr)
    screen = pinned_screen(asked, model) if asked.screen and isinstance(model, Toxicity) else None
    scored = score_blocks_beside(ingested, cheap)
    needed = np.concatenate([decisions.needs_toxicity(block, policy) for block in scored])
    base = {"records": ingested.digest, "config": model.config()}
    inputs = {**base, "needed": hashlib.sha256(np.packbits(needed).tobytes()).hexdigest()}
    if screen and asked.screen:
        # Whether the bound holds decides who is scored, and what counts as toxic decides whether the bound holds.
        inputs["screen"] = {
            **screen.config(),
            "version": screen.VERSION,
            "threshold": asked.screen.threshold,
            "maximum_missed": asked.screen.maximum_missed,
            "thresholds": dict(asked.thresholds),
        }

    def build(folder: Path) -> Transient | None:
        model.open()  # a checkpoint that cannot be opened is the user's error, not every row's
        given = _contents(ingested, captions=media_of(cheap) is not None)
        wanted = given.filter(pa.array(needed))
        known = None if media_of(cheap) else _known_scores(home, base, model.VERSION)
        memory = Memory(model, engine, _distinct_texts(ingested, given, needed), known)
        if screen and asked.screen:
            outcome, screened, failed = _behind_screen(wanted, memory, screen, asked, engine)
            (folder / REPORT).write_text(json.dumps(outcome.report, indent=1, sort_keys=True) + "\n")
            table = _rows(given, needed, memory, outcome, screened)
        else:
            memory.score(memory.texts["content_sha256"])
            table, failed = _rows(given, needed, memory), None
        write_parquet(table, folder / "scores.parquet")
        # A text that the screen had no time for is the model's; in the next run it may be cleared.
        return transient(table["error"], table["record_id"]) or failed

    return run_stage(home.stages, "toxicity", model.VERSION, inputs, build)


def _contents(ingested: Stage, captions: bool) -> pa.Table:
    """record_id, content_sha256; of captions the digest of the text, for the content is the image or the clip."""
    if not captions:
        return records(ingested, ["record_id", "content_sha256"])
    ids, digests = [pa.table({"record_id": pa.array([], pa.string())})], []
    for block in FileBlocks(Path(ingested.path) / "records.parquet").blocks(["record_id", "text"]):
        ids.append(block.select(["record_id"]))
        digests += [hashlib.sha256((text or "").encode()).hexdigest() for text in block["text"].to_pylist()]
    return pa.concat_tables(ids).append_column("content_sha256", pa.array(digests, pa.string()))


def _distinct_texts(ingested: Stage, given: pa.Table, needed: np.ndarray) -> pa.Table:
    """record_id, content_sha256, text: of the texts that are needed the first record of each; no other is read."""
    rows = given.append_column("row", pa.array(np.arange(len(given)))).filter(pa.array(needed))
    first = np.zeros(len(given), bool)
    first[distinct(rows)["row"].to_numpy()] = True
    blocks = FileBlocks(Path(ingested.path) / "records.parquet", first).blocks(["text"])
    texts = pa.concat_tables([pa.table({"text": pa.array([], pa.large_string())}), *blocks])
    return given.filter(pa.array(first)).append_column("text", texts["text"])


def pinned_screen(asked: Asked, model: Toxicity) -> Screen:
    """The policy's screen; UserError when it was calibrated for another model, or for thresholds that are higher."""
    assert asked.screen is not None
    screen = open_screen(Path(asked.screen.model), asked.screen.sha256)
    hint = "calibrate a screen for this policy: gristmill policies calibrate"
    if screen.model != model.digest:
        raise UserError("the screen was calibrated for another toxicity model", where=asked.screen.model, hint=hint)
    for label, threshold in asked.thresholds.items():
        if screen.thresholds.get(label, 2.0) > threshold:
            raise UserError(
                f"the screen was calibrated for a higher threshold of {label} than {threshold:g}",
                where=asked.screen.model,
                hint=hint,
            )
    return screen


@dataclass
class Memory:
    """What the model said so far about distinct texts: `scores` by content_sha256."""

    model: Toxicity | Unavailable
    engine: Engine
    texts: pa.Table  # record_id, content_sha256, text; one row a distinct text
    known: pa.Table | None  # from earlier stages
    scores: pa.Table | None = None

    def score(self, wanted: pa.ChunkedArray | pa.Array) -> pa.Table:
        """Score the texts with these digests that have no score yet; all scores so far."""
        new = self.texts.filter(pc.is_in(self.texts["content_sha256"], pa.array(wanted.to_pylist(), pa.string())))
        parts = [] if self.scores is None else [self.scores]
        if parts:
            new = new.filter(pc.invert(pc.is_in(new["content_sha256"], parts[0]["content_sha256"])))
        if self.known is not None:
            stored = self.known.filter(pc.is_in(self.known["content_sha256"], new["content_sha256"]))
            parts.append(stored)
            new = new.filter(pc.invert(pc.is_in(new["content_sha256"], stored["content_sha256"])))
        with progress("toxicity", len(new)) as advance:
            scored = score_table(new, self.model, self.engine, advance)
        content = new["content_sha256"].take(pc.index_in(scored["record_id"], new["record_id"]).combine_chunks())
        scored = scored.append_column("content_sha256", content).select(
            [*NAMES, "scored_by", "error", "content_sha256"]
        )
        self.scores = pa.concat_tables([part.select(scored.column_names) for part in (*parts, scored)])
        return self.scores


def _behind_screen(
    wanted: pa.Table, memory: Memory, screen: Screen, asked: Asked, engine: Engine
) -> tuple[Outcome, pa.ChunkedArray, Transient | None]:
    """The cascade over the records that need a score: its outcome, the screen's score a record, and its failures."""
    assert asked.screen is not None
    pin = asked.screen
    with progress("screen", len(memory.texts)) as advance:
        table = score_table(memory.texts, screen, engine, advance)
    failed = transient(table["error"], table["record_id"])
    text_of = table.take(pc.index_in(memory.texts["record_id"], table["record_id"]).combine_chunks())
    content = wanted["content_sha256"]
    screened = text_of[COLUMN].take(pc.index_in(content, memory.texts["content_sha256"]).combine_chunks())

    def toxic(mask_N: np.ndarray) -> np.ndarray:
        """A record that the model failed on is quarantined, and counts as toxic here: it must not help the bound."""
        scores = memory.score(content.filter(pa.array(mask_N)))
        bad = pc.or_(pc.not_equal(scores["error"], ""), hits(scores, asked))
        found = bad.take(pc.index_in(content, scores["content_sha256"]).combine_chunks())
        return mask_N & np.asarray(pc.fill_null(found, False)).astype(bool)

    ids, scores_N = wanted["record_id"].to_pylist(), screened.to_numpy()
    return cascade(ids, scores_N, pin.threshold, pin.maximum_missed, screen.sha256, toxic), screened, failed


def hits(scores: pa.Table, asked: Asked) -> pa.Array:
    """Rows at or over a threshold of the policy, and rows that lack a score that it asks for."""
    mask = pa.array(np.zeros(len(scores), dtype=bool))
    for label, threshold in asked.thresholds.items():
        mask = pc.or_(mask, pc.fill_null(pc.greater_equal(scores[f"toxicity.{label}"], threshold), True))
    return mask


def _rows(
    given: pa.Table,
    needed: np.ndarray,
    memory: Memory,
    outcome: Outcome | None = None,
    screened: pa.ChunkedArray | None = None,
) -> pa.Table:
    """One row a record: its text's scores, or why it has none (``not_needed``, ``screen``)."""
    scores = memory.scores
    assert scores is not None
    content = given["content_sha256"]
    asked = np.zeros(len(given), dtype=bool)
    asked[needed] = True if outcome is None else outcome.scored_N
    if outcome is not None:  # a copy of a text that was scored is scored: what is known is said
        asked |= needed & np.asarray(pc.is_in(content, content.filter(pa.array(asked))))
    position = pc.index_in(content, scores["content_sha256"]).combine_chunks()
    position = pc.if_else(pa.array(asked), position, pa.scalar(None, pa.int32()))
    unasked = pc.if_else(pa.array(needed), pa.scalar(decisions.SCREEN), pa.scalar(decisions.NOT_NEEDED))
    columns: dict[str, Any] = {"record_id": given["record_id"]}
    columns |= {name: scores[name].take(position) for name in NAMES}
    columns["scored_by"] = pc.if_else(pa.array(asked), scores["scored_by"].take(position), unasked)
    if screened is not None:
        place = np.full(len(given), -1, dtype=np.int64)
        place[needed] = np.arange(int(needed.sum()))
        columns[COLUMN] = screened.take(pa.array(place, mask=place < 0))
    columns["error"] = pc.fill_null(scores["error"].take(position), "")
    return pa.table(columns)


def distinct(table: pa.Table) -> pa.Table:
    """The first row for each content_sha256."""
    if len(table) == 0:
        return table
    indexed = table.select(["content_sha256"]).append_column("row", pa.array(np.arange(len(table))))
    first = indexed.group_by("content_sha256").aggregate([("row", "min")])["row_min"]
    return table.take(first.combine_chunks().sort())


def _known_scores(home: Home, base: dict[str, Any], version: int) -> pa.Table | None:
    """Scores by content_sha256 from earlier toxicity stages with the same records and model, if there are any."""
    found = []
    for path in sorted(home.stages.glob("toxicity-*/stage.json")):
        stage = json.loads(path.read_text())
        if {key: stage["inputs"].get(key) for key in base} != base or stage["version"] != version:
            continue
        table = pq.read_table(path.parent / "scores.parquet", columns=[*NAMES, "scored_by", "error"])
        ids = pq.read_table(
            home.stages / f"ingest-{base['records'][:16]}" / "records.parquet", columns=["content_sha256"]
        )
        table = table.append_column("content_sha256", ids["content_sha256"])
        unscored = pc.is_in(table["scored_by"], pa.array([decisions.NOT_NEEDED, decisions.SCREEN]))
        good = pc.and_(pc.invert(unscored), pc.equal(table["error"], ""))
        found.append(table.filter(good))
    return distinct(pa.concat_tables(found)) if found else None
