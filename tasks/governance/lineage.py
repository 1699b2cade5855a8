"""Lineage: where a record went and which models saw it; and the same for a corpus version, as a graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import UserError
from tasks.governance.manifest import Manifest, versions
from tasks.governance.verdicts import ADMITTED, VERDICTS
from tasks.home import Home

if TYPE_CHECKING:
    import duckdb

Models = Callable[[str], list[dict[str, Any]]]  # run id -> [{model, version, aliases}]

#: What `trace` tells of a record, from its ledger row.
COLUMNS = (
    "record_id", "verdict", "rule", "rules", "policy_sha256", "survivor_id", "source", "uri", "split", "licence",
    "licence_declared", "language", "detail", "value", "threshold", "similarity", "shard", "offset", "length",
)  # fmt: skip
PLACE = ("shard", "offset", "length", "split")  # of one version: they go into `corpora`
#: The figures that the graph shows, in this order.
FIGURES = (
    "cross_entropy", "unigram_cross_entropy", "bigram_cross_entropy",
    "linear_top1", "random_init_top1", "tfidf_top1", "majority_top1",
)  # fmt: skip
SHOWN = 5  # candidates that an ambiguous question lists


def trace(home: Home, record: str, models: Models = lambda run_id: []) -> dict[str, Any]:
    """Everything that is known of one record: its verdict and rule, the versions that hold it, the runs that read it.

    `record` is a record id, the start of one (8 hex or more), or a uri. `models(run_id)` names a run's model versions;
    it is called for runs that read the record and for no others. The verdict is that of the newest version of a corpus
    that read it, an admitting one first; `decisions` has them all, refused corpora (version None) last.
    UserError when nothing, or more than one record, is meant.
    """
    ledgers = _ledgers(home)
    if not ledgers:
        raise UserError("there is no ledger yet", where=str(home.root), hint="make one: `gristmill curate RECIPE`")
    with _connect() as connection:
        rows = _find(connection, list(ledgers), record)
        newest: dict[str, int | None] = {}
        for row in rows:
            row["corpus"], row["version"] = ledgers[row.pop("filename")]
            newest[row["corpus"]] = max(row["version"] or 0, newest.get(row["corpus"]) or 0)
        rows.sort(key=lambda row: (row["version"] is None, row["corpus"], -(row["version"] or 0)))
        current = [row for row in rows if row["version"] == newest[row["corpus"]]] or rows
        row = next((row for row in current if row["verdict"] in ADMITTED), current[0])
        similar = _near_duplicates(connection, list(ledgers), row)
        runs = _runs(connection, home, row["record_id"], models)
    kept = [row for row in rows if row["shard"] is not None and row["version"] is not None]
    places = [{"name": row["corpus"], "version": row["version"], **{key: row[key] for key in PLACE}} for row in kept]
    decided = ("corpus", "version", "verdict", "rule", "policy_sha256")
    return {
        **{key: row[key] for key in COLUMNS if key not in PLACE},
        "corpora": sorted(places, key=lambda place: (place["name"], place["version"])),
        "decisions": [{key: row[key] for key in decided} for row in rows],
        "runs": runs,
        "near_duplicates": [item["record_id"] for item in similar],
        "near_duplicate_details": similar,
    }


def _ledgers(home: Home) -> dict[str, tuple[str, int | None]]:
    """Every ledger file: path -> (corpus, version); version None: refused by a gate."""
    found: dict[str, tuple[str, int | None]] = {}
    for corpus in sorted((home.root / "corpora").glob("*")):
        for number in versions(corpus):
            for path in sorted((corpus / f"v{number}" / "ledger").glob("*.parquet")):
                found[str(path)] = (corpus.name, number)
    for path in sorted((home.root / "refused").glob("*/*/ledger/*.parquet")):
        found[str(path)] = (path.parts[-4], None)
    return found


def _connect() -> duckdb.DuckDBPyConnection:
    """A connection of one's own to the process's one database: a new one takes 25 ms."""
    return _database().cursor()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    import duckdb

    # Parquet is built in; nothing may be fetched for a question.
    offline: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(":memory:", config=offline)
    connection.execute("SET parquet_metadata_cache = true")  # several questions read the same footers
    return connection


def _query(connection: duckdb.DuckDBPyConnection, sql: str, files: Iterable[str], *values: Any) -> list[dict[str, Any]]:
    # DuckDB reads each name as a glob pattern.
    names = [re.sub(r"[\[*?]", lambda match: f"[{match[0]}]", name) for name in files]
    cursor = connection.execute(sql, [names, *values])
    columns = [column[0] for column in cursor.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _find(connection: duckdb.DuckDBPyConnection, files: list[str], record: str) -> list[dict[str, Any]]:
    """The ledger rows of the one record that is meant."""
    names = ", ".join(f'"{name}"' for name in COLUMNS)  # offset is a word of SQL
    select = f"SELECT filename, {names} FROM read_parquet(?) WHERE"
    rows: list[dict[str, Any]] = []
    if re.fullmatch(r"[0-9a-f]{8,32}", record):  # as a range: row groups are sorted, so all but one are skipped
        rows = _query(connection, f"{select} record_id >= ? AND record_id < ?", files, record, record + "g")
    rows = rows or _query(connection, f"{select} uri = ?", files, record)
    found = sorted({row["record_id"] for row in rows})
    if not found:
        hint = "give a record id, at least 8 hex digits of one, or a uri"
        raise UserError(f"no ledger has the record '{record}'", hint=hint)
    if len(found) > 1:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        hint = f"give one of: {', '.join(found[:SHOWN])}{more}"
        raise UserError(f"'{record}' means {len(found)} records", hint=hint)
    return rows


def _near_duplicates(
    connection: duckdb.DuckDBPyConnection, files: list[str], row: dict[str, Any]
) -> list[dict[str, Any]]:
    """The record that this one was dropped for, then those that any version dropped for this one."""
    sql = "SELECT record_id, rule, similarity FROM read_parquet(?) WHERE survivor_id = ?"
    found = _query(connection, sql, files, row["record_id"])
    dropped = {item["record_id"]: item | {"relation": "dropped"} for item in sorted(found, key=lambda item: str(item))}
    similar = [dropped[name] for name in sorted(dropped)]
    if row["survivor_id"]:
        survivor = {"record_id": row["survivor_id"], "rule": row["rule"], "similarity": row["similarity"]}
        similar.insert(0, survivor | {"relation": "survivor"})
    return similar


def _runs(connection: duckdb.DuckDBPyConnection, home: Home, record_id: str, models: Models) -> list[dict[str, Any]]:
    """One entry for each (run that read the record, model version made from it); a run without a model has one too."""
    files = [str(path) for path in sorted(home.runs.glob("*/exposure.parquet"))]
    if not files:
        return []
    sql = (
        "SELECT filename, min(first_step) AS first_step FROM read_parquet(?)"
        " WHERE record_id = ? GROUP BY filename ORDER BY filename"
    )
    found = []
    for row in _query(connection, sql, files, record_id):
        run_id = Path(row["filename"]).parent.name
        for made in models(run_id) or [{"model": None, "version": None, "aliases": []}]:
            entry = {"run_id": run_id, "first_step": row["first_step"], "model": made["model"]}
            found.append({**entry, "version": made.get("version"), "aliases": list(made.get("aliases") or [])})
    return found


def lineage_mermaid(
    manifest: Manifest,
    run: dict[str, Any] | None = None,
    evaluation: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
) -> str:
    """A fenced Mermaid block (Markdown): sources -> corpus version -> verdicts -> run -> figures and model version.

    `run`: ``run_id`` and, if known, ``steps`` and ``loss``. `evaluation`: ``metrics`` [{name, value, low, high}], of
    which FIGURES are shown. `model`: ``model``, ``version``, ``aliases``.
    """
    counts = manifest.counts.model_dump()
    lines = ["```mermaid", "graph LR"]
    for number, source in enumerate(manifest.sources):
        lines.append(f'  source{number}[("{_label(source.name)}<br/>{source.records:,} records")] --> corpus')
    title = f"{_label(manifest.name)}@v{manifest.version}<br/>root {manifest.root[:16]}"
    lines.append(f'  corpus["{title}<br/>policy {_label(manifest.policy.name)}"]')
    for verdict in VERDICTS:
        arrow = "-->" if verdict in ADMITTED else "-.->"
        lines.append(f'  corpus {arrow} {verdict}(["{verdict} {counts[verdict]:,}"])')
    if run:
        steps = f"<br/>{run['steps']:,} steps" if run.get("steps") is not None else ""
        loss = f"<br/>loss {run['loss']:.3f}" if run.get("loss") is not None else ""
        lines.append(f'  run["run {_label(run["run_id"])}{steps}{loss}"]')
        lines += [f"  {verdict} --> run" for verdict in ADMITTED if counts[verdict]]
    if figures := _figures((evaluation or {}).get("metrics", [])):
        lines.append(f'  run --> figures{{{{"{"<br/>".join(figures)}"}}}}')
    if model:
        aliases = "".join(f" @{_label(alias)}" for alias in model.get("aliases") or [])
        lines.append(f'  run --> model[["model {_label(model["model"])} v{model["version"]}{aliases}"]]')
    return "\n".join([*lines, "```", ""])


def _figures(metrics: Iterable[dict[str, Any]]) -> list[str]:
    by_name = {metric["name"].removeprefix("eval/"): metric for metric in metrics}
    figures = []
    for name in FIGURES:
        if metric := by_name.get(name):
            known = metric.get("low") is not None and metric.get("high") is not None
            interval = f" ({metric['low']:.3f} to {metric['high']:.3f})" if known else ""
            figures.append(f"{name} {metric['value']:.3f}{interval}")
    return figures


def _label(text: Any) -> str:
    """A name as Mermaid label text: its own quoting, and no line breaks or back-ticks that would end the block."""
    escaped = str(text).replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return re.sub(r"[\s`]+", " ", escaped)
