"""A run folder as plain values for tracking: what MLflow is told, without MLflow."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import UserError, VerificationFailed
from tasks.governance.manifest import Manifest
from tasks.governance.mlflow_store import without_credentials
from tasks.stages import sha256_file

MAXIMUM_PARAM = 6000  # MLflow's limit, characters
EVIDENCE = ("manifest.json", "gate.json", "policy.json", "policy.yaml")  # of the corpus folder; the ledger stays there
#: Fields of ``metrics.jsonl`` that tell of the data rather than of the learning.
OF_DATA = ("starved_percent", "density", "tokens", "documents", "epoch")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; UserError when it is missing, VerificationFailed when it is broken."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        raise UserError(
            f"this is no run: it has no {path.name}", where=str(path.parent), hint="list them with `gristmill ls`"
        ) from None
    except (ValueError, TypeError):
        raise VerificationFailed("the file is no JSON object", where=str(path), hint="run the step again") from None


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` that have a step, less a last one that a kill cut short."""
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n") and "step" in (value := json.loads(line)):
                yield value


def step_metrics(line: dict[str, Any]) -> dict[str, float]:
    """The figures of one line of ``metrics.jsonl`` under their MLflow names."""
    return {
        metric_name(field): float(value)
        for field, value in line.items()
        if field not in ("step", "seconds") and is_number(value)
    }


def metric_name(field: str) -> str:
    """Where a field of ``metrics.jsonl`` stands in MLflow: throughput/, data/, train/; a name with a slash stays."""
    if "/" in field:
        return field
    if field.endswith("_per_second"):
        return f"throughput/{field}"
    return f"data/{field}" if field in OF_DATA else f"train/{field}"


def evaluation_metrics(metrics: Iterable[dict[str, Any]]) -> dict[str, float]:
    """``eval/NAME`` and its interval as ``eval/NAME_low``, ``eval/NAME_high``; a name with a slash keeps its prefix."""
    values: dict[str, float] = {}
    for metric in metrics:
        name = metric["name"] if "/" in metric["name"] else f"eval/{metric['name']}"
        for suffix, field in (("", "value"), ("_low", "low"), ("_high", "high")):
            if is_number(metric.get(field)):
                values[name + suffix] = float(metric[field])
    return values


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Dotted keys (``train.steps``, ``sources.0.kind``) to texts; leaves and lists of leaves that are no text as JSON.

    Keys and values are cut at MLflow's limits (250 and 6,000 characters).
    """
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple) for item in value):
        items = enumerate(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return {re.sub(r"[^\w.\- /:]", "_", prefix)[:250]: text[:MAXIMUM_PARAM]}
    flat: dict[str, str] = {}
    for key, item in items:
        flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def scrub(value: Any) -> Any:
    """Plain values with the credentials of every URL in them replaced: recipes are shown, secrets are not."""
    if isinstance(value, dict):
        return {key: scrub(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item) for item in value]
    return without_credentials(value) if isinstance(value, str) else value


def picture_paths(evaluation: dict[str, Any]) -> list[Path]:
    """The picture files that an evaluation names (a list of paths, or a mapping to paths) and that exist."""
    pictures = evaluation.get("pictures") or []
    paths = [Path(path) for path in (pictures.values() if isinstance(pictures, dict) else pictures)]
    return sorted(path for path in paths if path.is_file())


def stage_artifacts(
    folder: Path,
    run_folder: Path,
    corpus: Path,
    recipe: dict[str, Any],
    metrics: Sequence[dict[str, Any]],
    pictures: Sequence[Path],
) -> None:
    """Gather the small evidence in `folder`: recipe, figures, pictures, manifest, gate, policy, exposure in sum."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    (folder / "evaluation.json").write_text(json.dumps(list(metrics), indent=1))
    copies = [(path, folder / "pictures" / path.name) for path in pictures]
    copies += [(corpus / name, folder / "corpus" / name) for name in EVIDENCE]
    for source, target in copies:
        if source.is_file():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
    if (run_folder / "exposure.parquet").exists():
        summary = exposure_summary(run_folder / "exposure.parquet", corpus)
        (folder / "exposure.json").write_text(json.dumps(summary, indent=1))


def exposure_summary(exposure: Path, corpus: Path) -> dict[str, Any]:
    """How many documents the run read, between which steps, and of which sources and licences, by the ledger."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TEMP TABLE seen AS SELECT e.record_id, e.first_step, l.source, l.licence FROM read_parquet(?) e"
            " LEFT JOIN (SELECT record_id, source, licence FROM read_parquet(?)) l USING (record_id)",
            [str(exposure), [str(path) for path in sorted((corpus / "ledger").glob("*.parquet"))]],
        )
        counted = connection.execute("SELECT count(*), min(first_step), max(first_step) FROM seen").fetchone() or (
            0,
            None,
            None,
        )
        groups = {
            f"by_{column}": dict(
                connection.execute(
                    f"SELECT coalesce({column}, ''), count(*) FROM seen GROUP BY 1 ORDER BY 2 DESC, 1"
                ).fetchall()
            )
            for column in ("source", "licence")
        }
    documents, first, last = counted
    return {
        "documents": documents,
        "first_step": first,
        "last_first_step": last,
        **groups,
        "sha256": sha256_file(exposure),
    }


def describe(run_id: str, manifest: Manifest, metrics: Iterable[dict[str, Any]]) -> str:
    """The description of a run and of its model version, in Markdown: what it was made from, and its figures."""
    counts = manifest.counts
    lines = [
        f"Encoder of run `{run_id}`, trained on corpus `{manifest.name}@v{manifest.version}`"
        f" ({counts.keep + counts.redact:,} of {counts.read:,} records admitted by policy `{manifest.policy.name}`).",
        "",
        f"- corpus root `{manifest.root}`",
        f"- policy `{manifest.policy.sha256}`",
    ]
    rows = [metric for metric in metrics if is_number(metric.get("value"))]
    if rows:
        lines += ["", "| figure | value | 95 % interval | n |", "|---|---|---|---|"]
    for metric in rows:
        interval = (
            f"{metric['low']:.4f} to {metric['high']:.4f}"
            if is_number(metric.get("low")) and is_number(metric.get("high"))
            else ""
        )
        lines.append(f"| {metric['name']} | {metric['value']:.4f} | {interval} | {metric.get('n') or ''} |")
    return "\n".join(lines)[:5000]  # MLflow's limit for a version
