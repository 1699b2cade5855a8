"""From verdicts to a corpus version: assemble the ledger, ask the gate, write shards, publish the folder whole."""

from __future__ import annotations

import datetime
import json
import platform
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from data_policies.schema import Policy
from tasks.curation import gate as gates
from tasks.curation.assemble import Curated, gate_blocks
from tasks.curation.ledger_rows import LedgerRows
from tasks.curation.media import MEDIA_DUPLICATES
from tasks.curation.records import Engine
from tasks.curation.shards import shard_count
from tasks.curation.toxicity_cascade import REPORT as CASCADE
from tasks.curation.written import PLACED, write_in_rounds, written_samples
from tasks.errors import Refused, UserError
from tasks.governance import manifest as manifests
from tasks.governance.ledger import ADMITTED, ledger_blocks, write_ledger
from tasks.governance.manifest import Counts, GateRef, Manifest, PolicyRef, SourceRef, read_manifest, versions
from tasks.governance.placing import SAMPLE, kept, leaves, placed, sizes
from tasks.home import Home
from tasks.progress import progress
from tasks.stages import publish, read_stage, sha256_file


def corpus_version(home: Home, name: str, inputs_sha256: str) -> tuple[Path, Manifest] | None:
    """The newest version of the corpus, when it was made from exactly these inputs."""
    found = versions(home.corpus(name))
    if not found:
        return None
    folder = home.corpus(name) / f"v{found[-1]}"
    manifest = read_manifest(folder)
    return (folder, manifest) if manifest.inputs_sha256 == inputs_sha256 else None


def build_corpus(home: Home, curated: Curated, policy: Policy, engine: Engine) -> tuple[Path, Manifest]:
    """Publish ``corpora/NAME/vN``; Refused, with the evidence under ``refused/``, when the gate says no."""
    parent = _newest(home, curated.name)
    inputs = curated.inputs_sha256(policy)
    sources = json.loads((Path(curated.ingested.path) / "sources.json").read_text())
    read = sum(item["records"] for item in sources)
    with LedgerRows(curated, policy) as rows:
        with progress("gate", None) as advance:
            facts = {"read": read, "previous_source_mix": _previous_mix(home, curated.name, parent)}
            result = gates.run_gate(lambda columns: gate_blocks(rows, columns), facts, policy)
            advance(len(rows))
        counts = Counts(read=read, **result.totals.count())
        if counts.keep + counts.redact == 0 or not result.passed:
            raise _refuse(home, curated.name, inputs, rows, result)
        number = (parent.version if parent else 0) + 1
        temporary = home.corpus(curated.name) / f".v{number}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            manifest = _write(temporary, rows, engine, parent, number, counts, sources, result, inputs)
            publish(temporary, home.corpus(curated.name) / f"v{number}")
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return home.corpus(curated.name) / f"v{number}", manifest


def _write(temporary, rows, engine, parent, number, counts, sources, result, inputs) -> Manifest:
    curated, policy = rows.curated, rows.policy
    found = sizes(rows)
    shard_counts = (
        dict(parent.shard_counts) if parent else {name: shard_count(size) for name, (_, size) in found.items()}
    )
    with progress("shards", counts.keep + counts.redact) as advance:
        texts = written_samples(curated.ingested, rows.written, policy, curated.media)
        written = write_in_rounds(
            lambda: kept(rows, SAMPLE), texts, temporary, shard_counts, engine, advance, curated.extensions
        )
    path = write_ledger(placed(rows, written.places), temporary / "ledger")
    gates.write(result, temporary)
    evidence = _write_evidence(temporary, curated, policy)
    manifest = Manifest(
        name=curated.name,
        version=number,
        parent=parent.version if parent else None,
        root=manifests.merkle_root(leaves(rows)),
        inputs_sha256=inputs,
        policy=PolicyRef(name=policy.name, sha256=policy.sha256()),
        recipe_sha256=curated.curation_sha256,
        steps=curated.steps(),
        counts=counts,
        sources=[SourceRef(**{key: item[key] for key in ("name", "digest", "records", "bytes")}) for item in sources],
        splits={name: samples for name, (samples, _) in found.items()},
        shard_counts=shard_counts,
        shards=written.refs,
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
        "policy.json": policy.plain(),
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
    for stage in curated.scored:
        if (report := Path(stage.path) / CASCADE).is_file():
            files[CASCADE] = json.loads(report.read_text())
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    return {name: sha256_file(folder / name) for name in files}


def suppressed_in(home: Home, name: str) -> tuple[str, ...]:
    """What the newest version of the corpus says must not come back."""
    found = versions(home.corpus(name))
    path = home.corpus(name) / f"v{found[-1]}" / "suppressed.json" if found else None
    return tuple(json.loads(path.read_text())) if path and path.is_file() else ()


def reopen(home: Home, folder: Path) -> tuple[Curated, Policy]:
    """What a corpus version was made from: its stages, choices and policy; UserError when a stage was deleted."""
    recipe = json.loads((folder / "recipe.json").read_text())
    missing = [name for name in recipe["stages"] if not (home.stages / name).is_dir()]
    if missing:
        raise UserError(f"the stage {missing[0]} is gone", where=str(home.stages), hint="curate the recipe again first")
    stages = {name.rpartition("-")[0]: read_stage(home.stages / name) for name in recipe["stages"]}
    curated = Curated(
        name=recipe["name"],
        curation_sha256=recipe["sha256"],
        validation=recipe["validation"],
        group_by=recipe["group_by"],
        ingested=stages.pop("ingest"),
        decided=stages.pop("decide"),
        pairs=stages.pop("duplicates" if "duplicates" in stages else MEDIA_DUPLICATES),
        scored=tuple(stages.values()),
        key_id=recipe["key_id"],
        suppressed=tuple(json.loads((folder / "suppressed.json").read_text())),
    )
    return curated, TypeAdapter(Policy).validate_json((folder / "policy.json").read_text())


def _newest(home: Home, name: str) -> Manifest | None:
    found = versions(home.corpus(name))
    return read_manifest(home.corpus(name) / f"v{found[-1]}") if found else None


def _previous_mix(home: Home, name: str, parent: Manifest | None) -> dict[str, int] | None:
    if parent is None:
        return None
    ledger = home.corpus(name) / f"v{parent.version}" / "ledger"
    mix: Counter[str] = Counter()
    for block in ledger_blocks(ledger, ["source", "verdict"]):
        sources = block["source"].filter(pc.is_in(block["verdict"], pa.array(ADMITTED)))
        mix.update({item["values"]: item["counts"] for item in sources.value_counts().to_pylist()})
    return dict(mix)


def _refuse(home: Home, name: str, inputs: str, rows: LedgerRows, result: gates.GateResult) -> Refused:
    """Keep the evidence of a refusal and say which expectation failed."""
    folder = home.refused(name) / inputs[:16]
    temporary = home.refused(name) / f".{inputs[:16]}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    nowhere = pa.table([pa.nulls(len(rows), kind.type) for kind in PLACED], schema=PLACED)
    write_ledger(placed(rows, nowhere), temporary / "ledger")
    gates.write(result, temporary)
    shutil.rmtree(folder, ignore_errors=True)
    publish(temporary, folder)
    what = "; ".join(_complaint(item) for item in result.failed) or "nothing was kept"
    return Refused(
        f"the gate refused the corpus: {what}",
        where=str(folder),
        hint="the ledger there gives the rule for every record",
        result=refusal(name, folder, result),
    )


def _complaint(item: dict[str, Any]) -> str:
    told = f"{item['expectation']}: {item['count']} records" if item["count"] else item["expectation"]
    return f"{told} (observed {item['observed']}, expected {item['expected']})"


def refusal(name: str, folder: Path, result: gates.GateResult) -> dict[str, Any]:
    """``curate``'s result when nothing was published."""
    totals = result.totals
    failed = [{"expectation": item["expectation"], "record_ids": item["record_ids"]} for item in result.failed]
    return {
        "corpus": name,
        "version": None,
        "root": None,
        "counts": {"read": totals.rows, **totals.count()},
        "by_rule": dict(totals.rules.most_common()),
        "gate": {"passed": result.passed, "checked": len(result.results), "failed": failed},
        "shards": 0,
        "samples": 0,
        "path": str(folder),
    }
