"""Tracking: a run folder projected into MLflow, safe to repeat.

The run folder is the truth (run.json, metrics.jsonl, encoder/); MLflow is a view of it. Whatever a kill left behind is
found again by tag and completed: nothing is logged twice.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.governance import registry
from tasks.governance.manifest import Manifest, read_manifest
from tasks.governance.mlflow_store import Store, without_credentials
from tasks.governance.registry import RUN_TAG
from tasks.home import Home
from tasks.learning import projection
from tasks.stages import sha256_file, sha256_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

VERSION = 1
PARAMS_A_BATCH = 100  # MLflow's limits
METRICS_A_BATCH = 1000
STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


@dataclass(frozen=True)
class Tracking:
    """MLflow for one HOME: SQLite under HOME/mlflow, or what ``MLFLOW_TRACKING_URI`` names."""

    home: Home

    @property
    def store(self) -> Store:
        return Store(self.home)

    def project_run(
        self,
        run_folder: Path,
        corpus: Path,
        recipe: dict[str, Any],
        evaluation: dict[str, Any] | None = None,
        prefect: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Bring the MLflow run, model and version of `run_folder` up to date.

        `recipe`: plain values, with ``name``. `evaluation`: ``metrics`` [{name, value, low, high}] and ``pictures``
        (paths). `prefect`: ``flow_run_id`` and ``url`` of the flow that asks, written when anything else has changed.
        Returns {experiment, experiment_id, run_id, url, ui, model, version, reused}; `model` and `version` are None as
        long as there is no encoder. ``mlflow.json`` in the run folder says which state is projected: while that holds,
        MLflow is not even imported. UserError when the store cannot be used.
        """
        recipe = projection.scrub(recipe)
        evaluation = evaluation or {}
        inputs = self._inputs(run_folder, corpus, recipe, evaluation)
        if done := self._done(run_folder, inputs):
            return {**done, "reused": True}
        with self.store.lock():
            result = self._project(run_folder, read_manifest(corpus), corpus, recipe, evaluation, prefect or {})
        _write_whole(
            run_folder / "mlflow.json", json.dumps({"inputs": inputs, "result": result}, indent=1, sort_keys=True)
        )
        return {**result, "reused": False}

    def promote(self, name: str, version: str | int, alias: str = "champion", reason: str = "") -> dict[str, Any]:
        """Point `alias` at a version: {model, version, alias, previous, changed}; UserError when there is none."""
        with self.store.lock():
            return registry.promote(self.store, name, version, alias, reason)

    def current(self, name: str, alias: str = "champion") -> str | None:
        """The version that `alias` names, or None."""
        return registry.current(self.store, name, alias)

    def model_versions_of(self, run_id: str) -> list[dict[str, Any]]:
        """The versions made from Gristmill run `run_id`: [{model, version, aliases}]."""
        return registry.model_versions_of(self.store, run_id)

    def compare(self, runs: Sequence[str]) -> list[dict[str, Any]]:
        """Rows {kind, name, values: {run: value}}: what differs in corpus and params, then all metrics."""
        return registry.compare(self.store, runs)

    def _inputs(self, run_folder: Path, corpus: Path, recipe: dict[str, Any], evaluation: dict[str, Any]) -> str:
        files = [
            run_folder / "run.json",
            run_folder / "metrics.jsonl",
            run_folder / "exposure.parquet",
            corpus / "manifest.json",
        ]
        encoder = run_folder / "encoder"
        return sha256_json(
            {
                "version": VERSION,
                "store": without_credentials(self.store.uri),
                "files": [sha256_file(path) if path.exists() else None for path in files],
                "pictures": [[path.name, sha256_file(path)] for path in projection.picture_paths(evaluation)],
                "encoder": registry.folder_sha256(encoder) if encoder.is_dir() else None,
                "recipe": recipe,
                "metrics": evaluation.get("metrics", []),
            }
        )

    def _done(self, run_folder: Path, inputs: str) -> dict[str, Any] | None:
        try:
            marker = json.loads((run_folder / "mlflow.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        if marker.get("inputs") != inputs:
            return None
        result = marker["result"]
        there = self.store.look(
            "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'", result["run_id"]
        )
        if there == []:  # the store was deleted, or the run in it
            return None
        versions = [(found["model"], found["version"]) for found in self.model_versions_of(run_folder.name)]
        registered = result["version"] is None or (result["model"], result["version"]) in versions
        return dict(result) if registered else None

    def _project(
        self,
        run_folder: Path,
        manifest: Manifest,
        corpus: Path,
        recipe: dict[str, Any],
        evaluation: dict[str, Any],
        prefect: dict[str, Any],
    ) -> dict[str, Any]:
        from mlflow.entities import RunTag

        state = projection.read_json(run_folder / "run.json")
        lines = list(projection.read_metrics(run_folder / "metrics.jsonl"))
        metrics = evaluation.get("metrics", [])
        step = max((line["step"] for line in lines), default=0)
        name = str(recipe["name"])
        client = self.store.client()
        experiment_id = _experiment(client, name, self.store.artifacts)
        run = registry.find_run(client, [experiment_id], run_folder.name) or _create_run(
            client, experiment_id, run_folder, lines
        )
        run_id = str(run.info.run_id)

        tags = {
            RUN_TAG: run_folder.name,
            "gristmill.corpus": f"{manifest.name}@v{manifest.version}",
            "gristmill.root": manifest.root,
            "gristmill.policy_sha256": manifest.policy.sha256,
        }
        description = projection.describe(run_folder.name, manifest, metrics)
        links = {f"prefect.{key}": str(value) for key, value in prefect.items() if value}
        notes = {**tags, **links, "mlflow.note.content": description}
        params = _log_params(client, run, projection.flatten(recipe))
        if params:  # params are written once: say so where the recipe has moved on
            notes["gristmill.params_changed"] = ", ".join(params)[:5000]
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in notes.items()])
        _log_metrics(client, run, lines, metrics, step)
        client.log_inputs(run_id, [corpus_input(manifest, corpus)])
        with tempfile.TemporaryDirectory() as folder:
            projection.stage_artifacts(
                Path(folder), run_folder, corpus, recipe, metrics, projection.picture_paths(evaluation)
            )
            client.log_artifacts(run_id, folder)

        version = None
        if (run_folder / "encoder").is_dir():
            model_id = registry.log_encoder(client, experiment_id, run_id, run_folder / "encoder", step)
            version = registry.register(self.store, client, name, model_id, run_id, tags, description)
        status = STATUS.get(str(state.get("status", "finished")), "RUNNING")
        if run.info.status != status:
            client.set_terminated(run_id, status, end_time=_end_time(run, lines))
        return {
            "experiment": name,
            "experiment_id": experiment_id,
            "run_id": run_id,
            "url": f"{self.store.base_url}/#/experiments/{experiment_id}/runs/{run_id}",
            "ui": self.store.ui_command,
            "model": name if version else None,
            "version": version,
        }


def corpus_input(manifest: Manifest, corpus: Path) -> Any:
    """The corpus version as a dataset input: digest = the first 32 hex of the root (MLflow allows 36), all in a tag.

    An entity rather than an ``mlflow.data`` class: those hash what they are given, and our digest is the Merkle root.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=f"{manifest.name}@v{manifest.version}",
        digest=manifest.root[:32],
        source_type="local",
        source=json.dumps({"uri": corpus.absolute().as_uri()}),
        profile=json.dumps({"counts": manifest.counts.model_dump(), "splits": manifest.splits}, sort_keys=True),
    )
    return DatasetInput(
        dataset, [InputTag("mlflow.data.context", "pretraining"), InputTag("gristmill.root", manifest.root)]
    )


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name, artifact_location=artifacts))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _create_run(client: MlflowClient, experiment_id: str, run_folder: Path, lines: list[dict[str, Any]]) -> Run:
    """A run that began when training did: at the last write to ``metrics.jsonl``, less the seconds that it took."""
    metrics = run_folder / "metrics.jsonl"
    end = metrics.stat().st_mtime if metrics.exists() else time.time()
    start = int(1000 * (end - _seconds(lines)))
    return client.create_run(experiment_id, start_time=start, tags={RUN_TAG: run_folder.name}, run_name=run_folder.name)


def _seconds(lines: list[dict[str, Any]]) -> float:
    return max((float(line.get("seconds") or 0) for line in lines), default=0.0)


def _end_time(run: Run, lines: list[dict[str, Any]]) -> int:
    return int(run.info.start_time + 1000 * _seconds(lines))


def _log_params(client: MlflowClient, run: Run, params: dict[str, str]) -> list[str]:
    """Log the params that the run has not; return those whose value has changed since (MLflow writes a param once)."""
    from mlflow.entities import Param

    known = run.data.params
    new = [Param(key, value) for key, value in params.items() if key not in known]
    for start in range(0, len(new), PARAMS_A_BATCH):
        client.log_batch(run.info.run_id, params=new[start : start + PARAMS_A_BATCH])
    return sorted(key for key, value in params.items() if known.get(key, value) != value)


def _log_metrics(
    client: MlflowClient, run: Run, lines: list[dict[str, Any]], evaluation: list[dict[str, Any]], last_step: int
) -> None:
    """Log the (metric, step) pairs that the run has not, and evaluation figures that differ from the latest logged."""
    from mlflow.entities import Metric

    known = run.data.metrics
    steps = {key: {metric.step for metric in client.get_metric_history(run.info.run_id, key)} for key in known}
    new: dict[tuple[str, int], Metric] = {}
    for line in lines:
        at = int(run.info.start_time + 1000 * float(line.get("seconds") or 0))
        for key, value in projection.step_metrics(line).items():
            if line["step"] not in steps.get(key, ()):
                new[key, line["step"]] = Metric(key, value, at, line["step"])
    now = max(int(1000 * time.time()), _end_time(run, lines) + 1)
    for key, value in projection.evaluation_metrics(evaluation).items():
        if key not in known or not math.isclose(known[key], value, rel_tol=1e-12):
            new[key, last_step] = Metric(key, value, now, last_step)
    batch = list(new.values())
    for start in range(0, len(batch), METRICS_A_BATCH):
        client.log_batch(run.info.run_id, metrics=batch[start : start + METRICS_A_BATCH])


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text + "\n")
    temporary.replace(path)
