"""From verdicts to a corpus version: assemble the ledger, ask the gate, write shards, publish the folder whole."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from data_policies.decide import span_actions
from data_policies.schema import Policy
from data_policies.spdx import admitted
from tasks.curation import gate as gates
from tasks.curation.pii import redact
from tasks.curation.records import Engine
from tasks.curation.shards import shard_count, write_shards
from tasks.curation.steps import beside, cheap_scores, licence_ranks, records
from tasks.errors import Refused
from tasks.governance import manifest as manifests
from tasks.governance.ledger import ADMITTED, LEDGER_SCHEMA, count_verdicts, write_ledger
from tasks.governance.manifest import Counts, GateRef, Manifest, PolicyRef, SourceRef, read_manifest, versions
from tasks.home import Home
from tasks.progress import progress
from tasks.stages import Stage, publish, sha256_file, sha256_json

VERSION = 1
SHARD_BYTES = 8 << 20  # a shard's aim in bytes: small enough to rewrite one for an erasure, large enough to stream


@dataclass(frozen=True)
class Curated:
    """What `build_corpus` needs: the finished stages and the choices of the recipe."""

    name: str
    curation_sha256: str
    validation: float
    group_by: str
    ingested: Stage
    scored: Sequence[Stage]  # licences, languages, quality, pii, toxicity
    decided: Stage
    pairs: Stage
    key_id: str
    suppressed: tuple[str, ...] = ()  # record ids and content digests that were erased and must not come back

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.ingested, *self.scored, self.decided, self.pairs)

    def steps(self) -> dict[str, int]:
        """The VERSION of every step, by its name."""
        return {stage.name: stage.version for stage in self.stages} | {"corpus": VERSION}

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


def corpus_version(home: Home, name: str, inputs_sha256: str) -> tuple[Path, Manifest] | None:
    """The newest version of the corpus, when it was made from exactly these inputs."""
    found = versions(home.corpus(name))
    if not found:
        return None
    folder = home.corpus(name) / f"v{found[-1]}"
    manifest = read_manifest(folder)
    return (folder, manifest) if manifest.inputs_sha256 == inputs_sha256 else None


def build_corpus(home: Home, curated: Curated, policy: Policy, engine: Engine) -> tuple[Path, Manifest]:
    """Publish ``corpora/NAME/vN`` and return it; Refused (with the evidence under ``refused/``) when the gate says no."""
    parent = _newest(home, curated.name)
    rows = assemble(curated, policy)
    inputs = curated.inputs_sha256(policy)
    sources = json.loads((Path(curated.ingested.path) / "sources.json").read_text())
    counts = Counts(read=sum(item["records"] for item in sources), **count_verdicts(rows))
    facts = {
        "read": counts.read,
        "source_mix": source_mix(rows),
        "previous_source_mix": _previous_mix(home, curated.name, parent),
    }
    with progress("gate", None) as advance:
        result = gates.run_gate(gate_frame(rows, curated, policy), facts, policy)
        advance(len(rows))
    if counts.keep + counts.redact == 0 or not result.passed:
        raise _refuse(home, curated.name, inputs, rows, result)
    number = (parent.version if parent else 0) + 1
    temporary = home.corpus(curated.name) / f".v{number}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        manifest = _write(temporary, curated, policy, engine, rows, parent, number, counts, sources, result, inputs)
        publish(temporary, home.corpus(curated.name) / f"v{number}")
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return home.corpus(curated.name) / f"v{number}", manifest


def assemble(curated: Curated, policy: Policy) -> pa.Table:
    """The ledger's rows, still with the text as written (``text``; null where refused) and the shard's own columns."""
    base = records(curated.ingested)
    scored = cheap_scores(
        curated.ingested, [stage for stage in curated.scored if stage.name in ("licences", "languages", "pii")]
    )
    table = beside(
        base.drop_columns(["ingest_rule", "ingest_detail"]),
        scored.drop_columns(["ingest_rule", "ingest_detail"]),
        "scores",
    )
    verdicts = pq.read_table(Path(curated.decided.path) / "verdicts.parquet")
    table = beside(table, verdicts, "verdicts")
    table = _without_erased(table, curated.suppressed)
    table = _set(table, "spans", _with_actions(table["spans"], policy))
    admitted_rows = pc.is_in(table["verdict"], pa.array(ADMITTED))
    table = _set(table, "text", _written(table, admitted_rows, policy))
    table = table.append_column("sample_sha256", _text_digests(table["text"]))
    table = _without_duplicates(table, curated, policy)
    kept = pc.is_in(table["verdict"], pa.array(ADMITTED))
    for column in ("text", "sample_sha256"):
        table = _set(table, column, pc.if_else(kept, table[column], pa.scalar(None, table[column].type)))
    split = pa.array([split_of(value, curated.validation) for value in _groups(table, curated.group_by)])
    table = table.append_column("split", split)
    return table.append_column("policy_sha256", pa.array([policy.sha256()] * len(table), pa.string()))


def split_of(group: str, validation: float) -> str:
    """Train or validation, by a hash of the group alone: a group's side never depends on what else is there."""
    position = int.from_bytes(hashlib.sha256(f"split\0{group}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return "validation" if position < validation * 2**64 else "train"


def gate_frame(rows: pa.Table, curated: Curated, policy: Policy) -> pa.Table:
    """The gate's view: derived columns only, never text."""
    frame = rows.drop_columns(["text"])
    allowed = {value: admitted(value or "", policy.licences.allow) for value in pc.unique(rows["licence"]).to_pylist()}
    frame = frame.append_column("licence_allowed", pa.array([allowed[value] for value in rows["licence"].to_pylist()]))
    for stage in curated.scored:
        table = pq.read_table(Path(stage.path) / "scores.parquet")
        for column in table.column_names:
            if column.startswith(("toxicity.", "language_score", "quality.")) and column not in frame.column_names:
                frame = frame.append_column(column, table[column])
    return frame


def source_mix(rows: pa.Table) -> dict[str, int]:
    """Kept records by source."""
    kept = rows.filter(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    return {
        item["values"]: item["counts"]
        for item in sorted(kept["source"].value_counts().to_pylist(), key=lambda x: x["values"])
    }


def _write(temporary, curated, policy, engine, rows, parent, number, counts, sources, result, inputs) -> Manifest:
    kept = rows.filter(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    shard_counts = dict(parent.shard_counts) if parent else _shard_counts(kept)
    with progress("shards", len(kept)) as advance:
        placed, shards = write_shards(kept, temporary, shard_counts, engine, advance)
    position = pc.index_in(rows["record_id"], placed["record_id"]).combine_chunks()
    for column in ("shard", "offset", "length"):
        rows = rows.append_column(column, placed[column].take(position))
    path = write_ledger(rows, temporary / "ledger")
    gates.write(result, temporary)
    evidence = _write_evidence(temporary, curated, policy)
    kept = kept.sort_by("record_id")
    leaves = zip(
        kept["record_id"].to_pylist(), kept["sample_sha256"].to_pylist(), kept["licence"].to_pylist(), strict=True
    )
    splits = kept["split"].to_pylist()
    manifest = Manifest(
        name=curated.name,
        version=number,
        parent=parent.version if parent else None,
        root=manifests.merkle_root(manifests.leaf(*item) for item in leaves),
        inputs_sha256=inputs,
        policy=PolicyRef(name=policy.name, sha256=policy.sha256()),
        recipe_sha256=curated.curation_sha256,
        steps=curated.steps(),
        counts=counts,
        sources=[SourceRef(**{key: item[key] for key in ("name", "digest", "records", "bytes")}) for item in sources],
        splits={name: splits.count(name) for name in ("train", "validation")},
        shard_counts=shard_counts,
        shards=shards,
        ledger={path.name: sha256_file(path)},
        evidence=evidence,
        gate=GateRef(passed=result.passed, sha256=result.sha256),
    )
    manifest.write(temporary)
    created = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
    }
    (temporary / "created.json").write_text(json.dumps(created, indent=1) + "\n")
    return manifest


def _write_evidence(folder: Path, curated: Curated, policy: Policy) -> dict[str, str]:
    """The policy, the choices and the erasures that made this version, with their digests."""
    files = {
        "policy.json": TypeAdapter(Policy).dump_python(policy, mode="json"),
        "recipe.json": {
            "name": curated.name,
            "sha256": curated.curation_sha256,
            "validation": curated.validation,
            "group_by": curated.group_by,
            "key_id": curated.key_id,
            "stages": [Path(stage.path).name for stage in curated.stages],
        },
        "suppressed.json": list(curated.suppressed),
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    return {name: sha256_file(folder / name) for name in files}


def suppressed_in(home: Home, name: str) -> tuple[str, ...]:
    """What the newest version of the corpus says must not come back."""
    found = versions(home.corpus(name))
    path = home.corpus(name) / f"v{found[-1]}" / "suppressed.json" if found else None
    return tuple(json.loads(path.read_text())) if path and path.is_file() else ()


def _newest(home: Home, name: str) -> Manifest | None:
    found = versions(home.corpus(name))
    return read_manifest(home.corpus(name) / f"v{found[-1]}") if found else None


def _previous_mix(home: Home, name: str, parent: Manifest | None) -> dict[str, int] | None:
    if parent is None:
        return None
    ledger = home.corpus(name) / f"v{parent.version}" / "ledger"
    return source_mix(pq.read_table(ledger, columns=["source", "verdict"]))


def _shard_counts(kept: pa.Table) -> dict[str, int]:
    sizes = {}
    for split in ("train", "validation"):
        part = kept.filter(pc.equal(kept["split"], split))
        sizes[split] = shard_count(pc.sum(pc.binary_length(part["text"])).as_py() or 0, SHARD_BYTES)
    return sizes


def _with_actions(spans: pa.ChunkedArray, policy: Policy) -> pa.Array:
    actions = span_actions(policy)
    flat = spans.combine_chunks()
    filled = [
        [{**span, "action": actions[span["type"]]} for span in row] if row else row
        for row in flat.to_pylist()
    ]  # fmt: skip
    return pa.array(filled, LEDGER_SCHEMA.field("spans").type)


def _written(table: pa.Table, admitted_rows: pa.ChunkedArray, policy: Policy) -> pa.Array:
    """The text as it goes into a shard: redacted where the policy says so; null where it goes nowhere."""
    actions = span_actions(policy)
    texts, spans, keep = table["text"].to_pylist(), table["spans"].to_pylist(), admitted_rows.to_pylist()
    written = [
        (redact(text, row, actions) if row else text) if ok else None
        for text, row, ok in zip(texts, spans, keep, strict=True)
    ]
    return pa.array(written, pa.large_string())


def _text_digests(texts: pa.ChunkedArray) -> pa.Array:
    return pa.array(
        [None if text is None else hashlib.sha256(text.encode()).hexdigest() for text in texts.to_pylist()], pa.string()
    )


def _without_erased(table: pa.Table, suppressed: tuple[str, ...]) -> pa.Table:
    """Drop what was erased, before duplicates are elected: a near-copy of it then stands on its own merits."""
    listed = pa.array(suppressed, pa.string())
    gone = pc.or_(pc.is_in(table["record_id"], listed), pc.is_in(table["content_sha256"], listed))
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
    from tasks.curation.duplicates import elect, read_pairs

    admissible = table.filter(pc.is_in(table["verdict"], pa.array(ADMITTED)))
    candidates = pa.table(
        {
            "record_id": admissible["record_id"],
            "licence_rank": licence_ranks(admissible["licence"], policy),
            "quality": _quality(curated, admissible),
            "length": pc.cast(pc.utf8_length(admissible["text"]), pa.int64()),
            "written_sha256": admissible["sample_sha256"],
        }
    )
    dropped = elect(candidates, read_pairs(Path(curated.pairs.path)), policy.duplicates.threshold)
    position = pc.index_in(table["record_id"], dropped["record_id"]).combine_chunks()
    gone = pc.is_valid(position)
    rule = dropped["rule"].take(position)
    similarity = dropped["similarity"].take(position)
    rules = [
        [*row, name] if name else row for row, name in zip(table["rules"].to_pylist(), rule.to_pylist(), strict=True)
    ]
    table = _set(table, "verdict", pc.if_else(gone, "drop", table["verdict"]))
    table = _set(table, "rule", pc.if_else(gone, rule, table["rule"]))
    table = _set(table, "rules", pa.array(rules, pa.list_(pa.string())))
    table = _set(table, "value", pc.if_else(gone, similarity, table["value"]))
    table = _set(table, "threshold", pc.if_else(gone, policy.duplicates.threshold, table["threshold"]))
    table = table.append_column("survivor_id", dropped["survivor_id"].take(position))
    return table.append_column("similarity", similarity)


def _quality(curated: Curated, admissible: pa.Table) -> pa.ChunkedArray:
    """A coarse quality for the election: the share of letters in tenths, so that among equals the longer text survives."""
    stage = next(stage for stage in curated.scored if stage.name == "quality")
    table = pq.read_table(Path(stage.path) / "scores.parquet", columns=["record_id", "quality.basic.letter_ratio"])
    share = table["quality.basic.letter_ratio"].take(
        pc.index_in(admissible["record_id"], table["record_id"]).combine_chunks()
    )
    return pc.round(pc.fill_null(share, 0.0), 1)


def _groups(table: pa.Table, group_by: str) -> list[str]:
    values, ids = table[group_by].to_pylist(), table["record_id"].to_pylist()
    return [value or record_id for value, record_id in zip(values, ids, strict=True)]


def _set(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _refuse(home: Home, name: str, inputs: str, rows: pa.Table, result: Any) -> Refused:
    """Keep the evidence of a refusal and say which expectation failed."""
    folder = home.refused(name) / inputs[:16]
    temporary = home.refused(name) / f".{inputs[:16]}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    nulls = {"shard": pa.string(), "offset": pa.int64(), "length": pa.int64()}
    for column, kind in nulls.items():
        rows = rows.append_column(column, pa.nulls(len(rows), kind))
    write_ledger(rows, temporary / "ledger")
    gates.write(result, temporary)
    shutil.rmtree(folder, ignore_errors=True)
    publish(temporary, folder)
    failed = [item for item in result.results if not item["passed"]]
    what = "; ".join(f"{item['expectation']} ({item.get('count', 0)} records)" for item in failed) or "nothing was kept"
    return Refused(
        f"the gate refused the corpus: {what}",
        where=str(folder),
        hint="the ledger there gives the rule for every record",
    )
