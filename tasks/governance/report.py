"""The audit page of a corpus version: what is in it, by which rules, and which models saw it. Drawn from the ledger."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.curation.toxicity_cascade import REPORT as CASCADE
from tasks.governance.bias import MINIMUM_RECORDS, disparities, rates
from tasks.governance.contact_sheets import FOLDER, read_sheets, write_sheets
from tasks.governance.ledger import ADMITTED, VERDICTS, read_ledger
from tasks.governance.manifest import corpus_of, read_manifest
from tasks.governance.models import models_of
from tasks.home import Home

COLUMNS = [
    "record_id",
    "source",
    "verdict",
    "rule",
    "rules",
    "licence",
    "language",
    "split",
    "uri",
    "detail",
    "similarity",
    "bytes",
]
LARGEST = 25  # rows of a table on the page; the ledger has them all
LARGEST_RATES = 20_000  # rows of (rule, dimension, group) in the page's JSON; with more sources only the disparities


def facts(
    home: Home, folder: Path, models: Callable[[str], list[dict[str, Any]]] = lambda run_id: []
) -> dict[str, Any]:
    """Everything the page shows, as JSON-able values, from the manifest, the ledger, the gate and the runs.

    `models(run_id)` gives the registered models of a run: ``{model, version, aliases}``.
    """
    manifest = read_manifest(folder)
    ledger = read_ledger(folder / "ledger", COLUMNS)
    kept = ledger.filter(pc.is_in(ledger["verdict"], pa.array(ADMITTED)))
    measured = rates(ledger)
    hit = pc.list_flatten(ledger["rules"].combine_chunks())
    return {
        "manifest": manifest.model_dump(),
        "gate": json.loads((folder / "gate.json").read_text()),
        "rules": _rules(ledger),
        "rules_hit": _counts(pa.chunked_array([hit])),
        "licences": _counts(kept["licence"]),
        "licences_refused": _counts(_where(ledger, "licence.")["detail"]),
        "languages": _counts(kept["language"]),
        "cascade": read_cascade(folder),
        "sources": _by_source(ledger),
        "disparities": disparities(measured),
        "rates": measured.to_pylist() if len(measured) <= LARGEST_RATES else [],
        "sheets": _sheets(home, folder),
        "runs": runs_on(home, manifest.name, manifest.version, models),
    }


def read_cascade(folder: Path) -> dict[str, Any] | None:
    """How the toxicity screen did in this version: sample, bound and missed share; None when there was no screen."""
    path = folder / CASCADE
    return json.loads(path.read_text()) if path.is_file() else None


def write_report(home: Home, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The audit page beside the corpora (``reports/NAME-vN.html``) and the facts in it."""
    write_sheets(home, folder)
    values = facts(home, folder, models_of(home))
    path = home.root / "reports" / f"{values['manifest']['name']}-v{values['manifest']['version']}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(values), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(values, indent=1) + "\n")
    return path, values


def runs_on(home: Home, name: str, version: int, models: Callable[[str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The runs that were trained on this corpus version, with how many of its records they saw."""
    found = []
    for path in sorted(home.runs.glob("*/run.json")):
        record = json.loads(path.read_text())
        if corpus_of(record) != f"{name}@v{version}":
            continue
        exposure = path.parent / "exposure.parquet"
        seen = pq.read_metadata(exposure).num_rows if exposure.is_file() else 0
        run_id = path.parent.name
        found.append({"run_id": run_id, "status": record.get("status"), "records_seen": seen, "models": models(run_id)})
    return found


def render(values: dict[str, Any]) -> str:
    """The facts as one self-contained HTML page: no script, no outside address."""
    import jinja2

    template = resources.files("tasks.governance").joinpath("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        **values, largest=LARGEST, verdicts=VERDICTS, minimum_records=MINIMUM_RECORDS
    )


def _sheets(home: Home, folder: Path) -> list[dict[str, Any]]:
    """Linked, not embedded: no copy of a picture outlives its erasure in a page."""
    where = Path(os.path.relpath(folder / FOLDER, home.root / "reports"))
    return [
        {
            "verdict": sheet["verdict"],
            "rule": sheet["rule"],
            "of": sheet["of"],
            "path": (where / sheet["file"]).as_posix(),
        }
        for sheet in read_sheets(folder)
    ]


def _rules(ledger: pa.Table) -> list[dict[str, Any]]:
    grouped = ledger.group_by(["verdict", "rule"]).aggregate([("record_id", "count"), ("record_id", "min")])
    rows = [
        {
            "verdict": row["verdict"],
            "rule": row["rule"],
            "records": row["record_id_count"],
            "example": row["record_id_min"],
        }
        for row in grouped.to_pylist()
    ]
    return sorted(rows, key=lambda row: (VERDICTS.index(row["verdict"]), -row["records"], row["rule"] or ""))


def _by_source(ledger: pa.Table) -> list[dict[str, Any]]:
    grouped = ledger.group_by(["source", "verdict"]).aggregate([("record_id", "count")]).to_pylist()
    rows: dict[str, dict[str, Any]] = {}
    for item in grouped:
        row = rows.setdefault(item["source"], {"source": item["source"], **dict.fromkeys(VERDICTS, 0)})
        row[item["verdict"]] = item["record_id_count"]
    return sorted(rows.values(), key=lambda row: (-sum(row[verdict] for verdict in VERDICTS), row["source"]))


def _where(ledger: pa.Table, prefix: str) -> pa.Table:
    return ledger.filter(pc.fill_null(pc.starts_with(ledger["rule"], prefix), False))


def _counts(column: pa.ChunkedArray) -> list[dict[str, Any]]:
    counted = [{"name": item["values"] or "", "records": item["counts"]} for item in column.value_counts().to_pylist()]
    return sorted(counted, key=lambda row: (-row["records"], row["name"]))
