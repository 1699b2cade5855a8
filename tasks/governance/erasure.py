"""Take records out: a new corpus version without them, and the list of every run that saw them.

The new version is built from the stages of the old one with the records suppressed before duplicates are elected, so it
is, byte for byte, what curating the same source without those records gives. The list of what is suppressed goes with
every later version: a record that was erased does not come back with the next curation.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.curation.records import Engine
from tasks.errors import UserError
from tasks.governance.contact_sheets import forget_erased, write_sheets
from tasks.governance.corpus import build_corpus, reopen
from tasks.governance.ledger import ADMITTED
from tasks.governance.manifest import read_manifest, versions
from tasks.home import Home
from tasks.stages import sha256_json


def erase(
    home: Home,
    record_ids: Sequence[str],
    reason: str,
    dry_run: bool,
    models: Callable[[str], list[dict[str, Any]]],
    engine: Engine = Engine(),
) -> dict[str, Any]:
    """Erase the records from every corpus whose newest version holds them; ``audit erase``'s result.

    `models(run_id)` gives a run's registered models. UserError when no corpus holds any of the records.
    """
    found = [(folder, rows) for folder in newest_versions(home) if len(rows := _held(folder, record_ids))]
    if not found:
        raise UserError(
            "no newest corpus version holds these records", where=str(home.root), hint="see `gristmill audit trace ID`"
        )
    made: list[Path] = []
    corpora, shards, runs = [], 0, exposed_runs(home, record_ids, models)
    for folder, rows in found:
        old = read_manifest(folder)
        touched = sorted({name for name in rows["shard"].to_pylist() if name})
        new = old
        if not dry_run:
            curated, policy = reopen(home, folder)
            gone = [*curated.suppressed, *rows["record_id"].to_pylist(), *rows["content_sha256"].to_pylist()]
            curated = dataclasses.replace(curated, suppressed=tuple(sorted(set(gone))))
            place, new = build_corpus(home, curated, policy, engine)
            made.append(place)
            forget_erased(home)  # at once: what fails later must not leave a picture of it behind
        before = {shard.name: shard.sha256 for shard in old.shards}
        after = {shard.name: shard.sha256 for shard in new.shards}
        changed = touched if dry_run else sorted(name for name in before if after.get(name) != before[name])
        shards += len(changed)
        corpora.append(
            {
                "corpus": old.name,
                "from_version": old.version,
                "version": new.version,
                "from_root": old.root,
                "root": new.root,
                "records": rows["record_id"].to_pylist(),
                "shards_rewritten": changed,
                "versions_that_still_hold_them": [
                    number for number in versions(home.corpus(old.name)) if number <= old.version
                ],
            }
        )
    result = {
        "dry_run": dry_run,
        "records": sorted({record for item in corpora for record in item["records"]}),
        "shards_rewritten": shards,
        "version": corpora[0]["version"],
        "root": corpora[0]["root"],
        "corpora": corpora,
        "runs": runs,
        "certificate": None,
    }
    for folder in made:
        write_sheets(home, folder)
    if not dry_run:
        result["certificate"] = str(_certify(home, result, reason))
    return result


def newest_versions(home: Home) -> list[Path]:
    """The folder of each corpus's newest version."""
    return [
        folder / f"v{versions(folder)[-1]}" for folder in sorted((home.root / "corpora").glob("*")) if versions(folder)
    ]


def exposed_runs(
    home: Home, record_ids: Sequence[str], models: Callable[[str], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Runs that read any of the records, the first step at which they did, and the models made from them."""
    found = []
    for path in sorted(home.runs.glob("*/exposure.parquet")):
        seen = pq.read_table(path, filters=[("record_id", "in", list(record_ids))])
        if len(seen):
            run_id = path.parent.name
            first = pc.min(seen["first_step"]).as_py()
            found.append({"run_id": run_id, "first_step": first, "records": len(seen), "models": models(run_id)})
    return found


def _held(folder: Path, record_ids: Sequence[str]) -> pa.Table:
    rows = pq.read_table(
        folder / "ledger",
        columns=["record_id", "content_sha256", "verdict", "shard"],
        filters=[("record_id", "in", list(record_ids))],
    )
    return rows.filter(pc.is_in(rows["verdict"], pa.array(ADMITTED)))


def _certify(home: Home, result: dict[str, Any], reason: str) -> Path:
    """Write down what was erased, from where, and which models had seen it."""
    body = {key: result[key] for key in ("records", "corpora", "runs")}
    certificate = {
        "format": "gristmill-erasure/1",
        "reason": reason,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **body,
    }
    folder = home.root / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"erasure-{sha256_json(body)[:16]}.json"
    path.write_text(json.dumps(certificate, indent=1) + "\n")
    return path
