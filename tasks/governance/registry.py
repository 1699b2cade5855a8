"""The model registry: encoders logged and registered once, promoted by alias, found again by run, and compared.

A version carries the way back in its tags: run, corpus, Merkle root, policy.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import UserError
from tasks.governance.mlflow_store import Store, import_mlflow
from tasks.stages import sha256_file, sha256_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_TAG = "gristmill.run_id"
ENCODER_TAG = "gristmill.encoder_sha256"
REQUIREMENTS = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "pandas")
EXAMPLE = ["Grind the corpus, keep the ledger."]
IMAGE_REQUIREMENTS = ("mlflow", "torch", "transformers", "timm", "pillow", "safetensors", "pandas")
_DELETED = "Deleted_Internal"  # MLflow keeps the rows of deleted versions


def folder_sha256(folder: Path) -> str:
    """Digest of a folder's files: their relative names and bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return sha256_json([[path.relative_to(folder).as_posix(), sha256_file(path)] for path in files])


def log_encoder(client: MlflowClient, experiment_id: str, run_id: str, encoder: Path, step: int) -> str:
    """Log the encoder folder as a models-from-code pyfunc of MLflow run `run_id`; return its model id.

    Safe to repeat: a model of the same bytes that is READY is returned, one that a kill left half-written is finished.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    digest = folder_sha256(encoder)
    models = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
    model = next((model for model in models if model.tags.get(ENCODER_TAG) == digest), None)
    if model is None:
        model = client.create_logged_model(
            experiment_id, "encoder", run_id, tags={ENCODER_TAG: digest}, model_type="encoder"
        )
    if model.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as folder:
            _save(Path(folder) / "model", encoder, model, run_id)
            client.log_model_artifacts(model.model_id, f"{folder}/model")
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    outputs = client.get_run(run_id).outputs
    if model.model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    return str(model.model_id)


def _save(folder: Path, encoder: Path, model: Any, run_id: str) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import Array, ColSpec, Schema

    images = (encoder / "preprocessor_config.json").is_file()
    # Without a column name, lists, series and one-column tables of texts are all accepted.
    given = ColSpec("binary", "image") if images else ColSpec("string")
    signature = ModelSignature(Schema([given]), Schema([ColSpec(Array("double"), "embedding")]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Operation with range")  # MLflow 3.17 compares columns in pandas 2's way
        mlflow.pyfunc.save_model(
            str(folder),
            mlflow_model=Model(model.artifact_location, run_id, model_uuid=model.model_id, model_id=model.model_id),
            python_model=str(Path(__file__).parents[1] / "learning" / f"served_{'image_' if images else ''}model.py"),
            artifacts={"encoder": str(encoder)},
            signature=signature,
            input_example=_example_image() if images else EXAMPLE,
            # Given, not inferred: inference would import torch here. A local version (+cpu) is on no index.
            pip_requirements=[
                f"{name}=={installed(name).partition('+')[0]}"
                for name in (IMAGE_REQUIREMENTS if images else REQUIREMENTS)
            ],
        )


def _example_image() -> Any:
    """A white image, as the image model takes it."""
    import io

    import pandas
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (8, 8), 255).save(file, "PNG")
    return pandas.DataFrame({"image": [file.getvalue()]})


def register(
    store: Store, client: MlflowClient, name: str, model_id: str, run_id: str, tags: dict[str, str], description: str
) -> str:
    """Register logged model `model_id` under `name`; return its version. A second call updates what has changed."""
    source = f"models:/{model_id}"
    known = {
        version.source: version for version in client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
    }
    version = known.get(source)
    if version is None:
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        with store.as_default():  # the SQL registry looks the model up in the process-wide store, not in the client's
            version = client.create_model_version(
                name, source, run_id, tags=tags, description=description, model_id=model_id
            )
    elif version.description != description:
        client.update_model_version(name, version.version, description)
    for key, value in tags.items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(name, version.version, key, value)
    # What the UI draws the link from the logged model to its version with.
    link = json.dumps([{"name": name, "version": str(version.version)}])
    if client.get_logged_model(model_id).tags.get("mlflow.modelVersions") != link:
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
    return str(version.version)


def promote(store: Store, name: str, version: str | int, alias: str, reason: str) -> dict[str, Any]:
    """Point `alias` at a version, and write why beside it: {model, version, alias, previous, changed}.

    UserError when there is no such version. Nothing is written when the alias already stands there.
    """
    version, previous = str(version), current(store, name, alias)
    if previous != version:
        client = store.client()
        exception = import_mlflow()[1]
        try:
            client.get_model_version(name, version)
        except exception:
            hint = "list the versions in the MLflow UI, or run the pipeline first"
            raise UserError(f"there is no version {version} of the model '{name}'", where=name, hint=hint) from None
        client.set_model_version_tag(name, version, f"gristmill.promoted.{alias}", reason[:5000])
        if previous:
            client.set_model_version_tag(name, version, f"gristmill.previous.{alias}", previous)
        client.set_registered_model_alias(name, alias, version)
    return {"model": name, "version": version, "alias": alias, "previous": previous, "changed": previous != version}


def current(store: Store, name: str, alias: str) -> str | None:
    """The version that `alias` names, or None."""
    rows = store.look("SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?", name, alias)
    if rows is not None:
        return str(rows[0][0]) if rows else None
    models = store.client().search_registered_models(f"name = '{name}'")
    return next((str(model.aliases[alias]) for model in models if alias in model.aliases), None)


def model_versions_of(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The versions made from Gristmill run `run_id`: [{model, version, aliases}], oldest first."""
    rows = store.look(
        "SELECT v.name, v.version, a.alias FROM model_version_tags t"
        " JOIN model_versions v ON v.name = t.name AND v.version = t.version"
        " LEFT JOIN registered_model_aliases a ON a.name = v.name AND a.version = v.version"
        " WHERE t.key = ? AND t.value = ? AND v.current_stage IS NOT ? ORDER BY v.name, v.version, a.alias",
        RUN_TAG, run_id, _DELETED,
    )  # fmt: skip
    if rows is None:
        client = store.client()  # a search leaves the aliases out
        named = client.search_model_versions(f"tags.`{RUN_TAG}` = '{run_id}'")
        found = [client.get_model_version(version.name, version.version) for version in named]
        rows = [(v.name, int(v.version), alias) for v in found for alias in (v.aliases or (None,))]
    versions: dict[tuple[str, int], list[str]] = {}
    for name, number, alias in sorted(rows, key=lambda row: (row[0], row[1], row[2] or "")):
        versions.setdefault((name, number), []).extend([alias] if alias else [])
    return [{"model": name, "version": str(number), "aliases": aliases} for (name, number), aliases in versions.items()]


def find_run(client: MlflowClient, experiments: list[str], name: str) -> Run | None:
    """The run whose Gristmill RUN_ID or MLflow id is `name`; the oldest, if there is more than one."""
    for condition in (f"tags.`{RUN_TAG}` = '{name}'", f"attributes.run_id = '{name}'"):
        runs = client.search_runs(experiments, condition, max_results=1, order_by=["attributes.start_time ASC"])
        if runs:
            return runs[0]
    return None


def compare(store: Store, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Rows {kind, name, values: {run: value}}: corpora and params where they differ, then every metric side by side.

    A run is a Gristmill RUN_ID or an MLflow run id; UserError for one that MLflow does not know.
    """
    client = store.client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    data = {}
    for name in dict.fromkeys(runs):
        if (run := find_run(client, experiments, name)) is None:
            raise UserError(
                f"MLflow knows no run '{name}'", where=str(store.home.root), hint="list them with `gristmill ls`"
            )
        data[name] = run.data
    corpora = {name: {key: d.tags.get(f"gristmill.{key}") for key in ("corpus", "root")} for name, d in data.items()}
    rows = _rows("corpus", corpora, only_different=True)
    rows += _rows("param", {name: d.params for name, d in data.items()}, only_different=True)
    return rows + _rows("metric", {name: d.metrics for name, d in data.items()}, only_different=False)


def _rows(kind: str, values: Mapping[str, Mapping[str, Any]], only_different: bool) -> list[dict[str, Any]]:
    names = sorted({name for of_run in values.values() for name in of_run})
    rows = []
    for name in names:
        by_run = {run: of_run.get(name) for run, of_run in values.items()}
        if not only_different or len(set(by_run.values())) > 1:
            rows.append({"kind": kind, "name": name, "values": by_run})
    return rows
