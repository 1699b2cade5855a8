"""From scores and verdicts to the ledger's rows: erasures, redaction, duplicates, splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_policies.decide import SCREEN, span_actions
from data_policies.licences import DETECTOR_VERSION
from data_policies.media_rules import GIVEN, KIND
from data_policies.schema import Policy
from data_policies.spdx import admitted
from tasks.curation import gate, shards
from tasks.curation.beside import beside
from tasks.curation.duplicates import elect, read_pairs
from tasks.curation.media import extensions_of, kind_of, media_of
from tasks.curation.steps import cheap_scores, election_quality, licence_ranks, records
from tasks.curation.written import written_facts
from tasks.governance.ledger import ADMITTED, SPAN
from tasks.stages import Stage, sha256_json

VERSION = 2  # 2: the ledger's column bytes
#: Of a record, what goes into the ledger or a shard besides its text.
MEDIA_COLUMNS = (KIND, GIVEN, "image.", "audio.", "pair.")  # of the gate's frame; texts have none
COLUMNS = ["record_id", "source", "uri", "group", "label", "content_sha256", "bytes"]


@dataclass(frozen=True)
class Curated:
    """What `build_corpus` needs: the finished stages and the choices of the recipe."""

    name: str
    curation_sha256: str
    validation: float
    group_by: str
    ingested: Stage
    scored: Sequence[Stage]  # licences, languages, quality, pii, media, captions, toxicity
    decided: Stage
    pairs: Stage
    key_id: str
    suppressed: tuple[str, ...] = ()  # record ids and content digests that were erased and must not come back

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.ingested, *self.scored, self.decided, self.pairs)

    @property
    def media(self) -> Stage | None:
        """The stage that made images or clips regular; None in a corpus of texts."""
        return media_of(self.scored)

    @property
    def extensions(self) -> tuple[str, ...]:
        """The members of a sample besides its JSON."""
        return extensions_of(self.media) if self.media else shards.TEXT

    def duplicate_threshold(self, policy: Policy) -> float:
        """The similarity from which one of two goes; 1 where only copies that are equal once made regular do."""
        if self.media is None:
            return policy.duplicates.threshold
        return {"image": policy.duplicates.images, "audio": policy.duplicates.audio}[kind_of(self.media)] or 1.0

    def steps(self) -> dict[str, int]:
        """The VERSION of every step, by its name."""
        return {stage.name: stage.version for stage in self.stages} | {
            "corpus": VERSION,
            "gate": gate.VERSION,
            "shards": shards.VERSION,
            "licence-detector": DETECTOR_VERSION,
        }

    def inputs_sha256(self, policy: Policy) -> str:
        """Digest of everything the version's bytes depend on, besides its parent."""
        return sha256_json(
            {
                "recipe": self.curation_sha256,
                "records": self.ingested.digest,
                "verdicts": self.decided.digest,
                "pairs": self.pairs.digest,
                "policy": policy.sha256(),
                "key": self.key_id,
                "suppressed": list(self.suppressed),
                "steps": self.steps(),
            }
        )


def assemble(curated: Curated, policy: Policy, verdicts: pa.Table | None = None) -> pa.Table:
    """The ledger's rows, with the shard's own columns, and of the text as written its length and bytes, not itself.

    `verdicts`: others than those of the decide stage, for a policy that is only tried.
    """
    base = records(curated.ingested, COLUMNS)
    scored = cheap_scores(
        curated.ingested, [stage for stage in curated.scored if stage.name in ("licences", "languages", "pii")]
    )
    table = beside(
        base,
        scored.drop_columns(["ingest_rule", "ingest_detail"]),
        "scores",
    )
    if verdicts is None:
        verdicts = pq.read_table(Path(curated.decided.path) / "verdicts.parquet")
    table = beside(table, verdicts, "verdicts")
    table = _without_erased(table, curated.suppressed)
    table = _set(table, "spans", _with_actions(table["spans"], policy))
    facts = written_facts(curated.ingested, table, policy, curated.media)
    for name in facts.column_names:
        table = table.append_column(name, facts[name])
    table = _without_duplicates(table, curated, policy)
    kept = pc.is_in(table["verdict"], pa.array(ADMITTED))
    for column in facts.column_names:
        table = _set(table, column, pc.if_else(kept, table[column], pa.scalar(None, table[column].type)))
    split = [split_of(value, curated.validation) for value in _groups(table, curated.group_by)]
    table = table.append_column("split", pa.array(split, pa.string()))
    return table.append_column("policy_sha256", pa.array([policy.sha256()] * len(table), pa.string()))


def split_of(group: str, validation: float) -> str:
    """Train or validation, by a hash of the group alone: a group's side never depends on what else is there."""
    position = int.from_bytes(hashlib.sha256(f"split\0{group}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return "validation" if position < validation * 2**64 else "train"


def gate_frame(rows: pa.Table, curated: Curated, policy: Policy) -> pa.Table:
    """The gate's view: derived columns only, never text."""
    names = pc.unique(rows["licence"]).to_pylist()
    allowed = [name for name in names if admitted(name or "", policy.licences.allow)]
    frame = rows.append_column("licence_allowed", pc.is_in(rows["licence"], pa.array(allowed, pa.string())))
    for stage in curated.scored:
        table = pq.read_table(Path(stage.path) / "scores.parquet")
        for column in table.column_names:
            if (
                column.startswith(("toxicity.", "language_score", "quality.", "contamination.", *MEDIA_COLUMNS))
                and column not in frame.column_names
            ):
                frame = frame.append_column(column, table[column])
        if "toxicity.screen" in table.column_names:
            frame = _cleared_by_screen(frame, table)
    return frame


def _cleared_by_screen(frame: pa.Table, scores: pa.Table) -> pa.Table:
    """The model's scores are 0 where the screen cleared, and ``screen_cleared`` is the screen's score there."""
    cleared = pc.equal(scores["scored_by"], SCREEN)
    for column in frame.column_names:
        if column.startswith("toxicity.") and column != "toxicity.screen":
            frame = _set(frame, column, pc.if_else(cleared, 0.0, frame[column]))
    return frame.append_column("screen_cleared", pc.if_else(cleared, scores["toxicity.screen"], 0.0))


def source_mix(rows: pa.Table) -> dict[str, int]:
    """Kept records by source."""
    kept = rows.filter(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    return {
        item["values"]: item["counts"]
        for item in sorted(kept["source"].value_counts().to_pylist(), key=lambda x: x["values"])
    }


def _with_actions(spans: pa.ChunkedArray, policy: Policy) -> pa.Array:
    found = spans.combine_chunks()
    flat = pc.list_flatten(found)
    kinds = flat.field("type").dictionary_encode()
    actions = span_actions(policy)
    names = pa.array([actions[kind] for kind in kinds.dictionary.to_pylist()], pa.string())
    parts = [names.take(kinds.indices) if field.name == "action" else flat.field(field.name) for field in SPAN]
    filled = pa.StructArray.from_arrays(parts, fields=list(SPAN))
    ends = np.cumsum(np.append(0, np.asarray(pc.list_value_length(found).fill_null(0)))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), filled, type=pa.list_(SPAN), mask=found.is_null())


def _with_rule(rules: pa.ChunkedArray, row: np.ndarray, names: pa.Array) -> pa.Array:
    """The lists of rules with `names` put behind those of the rows `row` (ascending)."""
    found = rules.combine_chunks()
    flat = pc.list_flatten(found)
    ends = np.cumsum(np.append(0, np.asarray(pc.list_value_length(found).fill_null(0))))
    order = np.insert(np.arange(len(flat)), ends[row + 1], len(flat) + np.arange(len(row)))
    longer = np.zeros(len(ends), np.int64)
    longer[row + 1] = 1
    values = pa.concat_arrays([flat, names]).take(pa.array(order))
    return pa.ListArray.from_arrays(pa.array((ends + np.cumsum(longer)).astype(np.int32)), values)


def _without_erased(table: pa.Table, suppressed: tuple[str, ...]) -> pa.Table:
    """Drop what was erased, before duplicates are elected: a near-copy of it then stands on its own merits."""
    listed = pa.array(suppressed, pa.string())
    gone = pc.or_(pc.is_in(table["record_id"], listed), pc.is_in(table["content_sha256"], listed))
    if not pc.any(gone).as_py():
        return table
    rules = [
        ["override.erased", *row] if out else row
        for row, out in zip(table["rules"].to_pylist(), gone.to_pylist(), strict=True)
    ]
    for column, value in (("verdict", "drop"), ("rule", "override.erased")):
        table = _set(table, column, pc.if_else(gone, value, table[column]))
    for column in ("value", "threshold", "detail"):
        table = _set(table, column, pc.if_else(gone, pa.scalar(None, table[column].type), table[column]))
    return _set(table, "rules", pa.array(rules, pa.list_(pa.string())))


def _without_duplicates(table: pa.Table, curated: Curated, policy: Policy) -> pa.Table:
    """Let the duplicates among the admissible go: verdict drop, their survivor and the similarity beside it."""
    admissible = table.filter(pc.is_in(table["verdict"], pa.array(ADMITTED)))
    candidates = pa.table(
        {
            "record_id": admissible["record_id"],
            "licence_rank": licence_ranks(admissible["licence"], policy),
            "quality": _quality(curated, admissible, table),
            "length": admissible["written_length"],
            "written_sha256": admissible["sample_sha256"],
        }
    )
    similar = read_pairs(Path(curated.pairs.path))
    substring = None if curated.media else policy.duplicates.substring
    near = curated.duplicate_threshold(policy)
    dropped = elect(candidates, similar, near, substring.share if substring else None)
    position = pc.index_in(table["record_id"], dropped["record_id"]).combine_chunks()
    gone = pc.is_valid(position)
    rule = dropped["rule"].take(position)
    similarity = dropped["similarity"].take(position)
    rules = _with_rule(table["rules"], np.flatnonzero(np.asarray(gone)), rule.drop_null().combine_chunks())
    table = _set(table, "verdict", pc.if_else(gone, "drop", table["verdict"]))
    table = _set(table, "rule", pc.if_else(gone, rule, table["rule"]))
    table = _set(table, "rules", rules)
    table = _set(table, "value", pc.if_else(gone, similarity, table["value"]))
    long = substring.share if substring else 0.0
    threshold = pc.if_else(pc.equal(rule, "duplicate.substring"), long, near)
    table = _set(table, "threshold", pc.if_else(gone, threshold, table["threshold"]))
    table = table.append_column("survivor_id", dropped["survivor_id"].take(position))
    return table.append_column("similarity", similarity)


def _quality(curated: Curated, admissible: pa.Table, table: pa.Table) -> pa.ChunkedArray:
    stage = next(stage for stage in curated.scored if stage.name == "quality")
    rows = pc.index_in(admissible["record_id"], table["record_id"].combine_chunks())
    return election_quality(stage).take(rows.combine_chunks())


def _groups(table: pa.Table, group_by: str) -> Iterator[str]:
    for batch in table.select([group_by, "record_id"]).to_batches(max_chunksize=50_000):
        for value, record_id in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield value or record_id


def _set(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
