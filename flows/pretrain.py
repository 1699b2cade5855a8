"""corpus -> a checkpoint and an MLflow run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect import flow, runtime, tags
from prefect.artifacts import create_link_artifact

from flows.common import artifact_key, flow_run_name, resolve
from flows.preflight import require_method
from flows.recipe import Recipe
from ssl_models.config import CorpusRef, TextEncoder, TrainSpec
from ssl_models.members import members
from ssl_models.pair_config import PairEncoder
from tasks.errors import UserError
from tasks.governance.manifest import Manifest, corpus_of, find_corpus, read_manifest
from tasks.home import Home
from tasks.learning.evaluate import read_evaluation
from tasks.prefect_task import as_task
from tasks.progress import progress
from tasks.stages import Stage, run_stage, sha256_file, sha256_json


def tokenizer_stage(home: Home, corpus: Path, manifest: Manifest, recipe: Recipe) -> Stage:
    """A vocabulary from the train split."""
    from tasks.learning.tokenize import VERSION, copy_tokenizer, train_tokenizer

    checkpoint = recipe.encoder.continue_from if isinstance(recipe.encoder, TextEncoder) else None

    def build(folder: Path) -> None:
        if checkpoint:  # its vocabulary is the checkpoint's
            copy_tokenizer(checkpoint, folder, recipe.objective.method)
            return
        with progress("tokenizer", None) as advance:
            train_tokenizer(corpus, recipe.tokenizer, folder)
            advance(manifest.splits["train"])

    inputs = {"root": manifest.root, "config": recipe.plain()["tokenizer"], "checkpoint": checkpoint}
    return run_stage(home.stages, "tokenizer", VERSION, inputs, build)


def train_model(
    home: Home, corpus: Path, manifest: Manifest, tokenizer: Stage | None, recipe: Recipe
) -> dict[str, Any]:
    """Run the trainer in its own process, or take up the run where it stopped, or return it when it is finished."""
    from tasks.learning.train import pretrain as train
    from tasks.learning.train import run_id

    name = run_id(recipe.name, recipe.learning_sha256(), manifest.root, recipe.train.seed)
    spec = TrainSpec(
        run_id=name,
        recipe=recipe.name,
        recipe_sha256=recipe.learning_sha256(),
        folder=str(home.run(name)),
        tokenizer_folder=tokenizer.path if tokenizer else "",
        tokenizer_sha256=sha256_file(Path(tokenizer.path) / "tokenizer.json") if tokenizer else "",
        corpus=CorpusRef(name=manifest.name, version=manifest.version, root=manifest.root, folder=str(corpus)),
        encoder=recipe.encoder,
        objective=require_method(recipe),
        train=recipe.train,
    )
    with progress("training", recipe.train.steps, "steps") as advance:
        result = train(spec, _reporter(advance))
    (home.run(name) / "recipe.json").write_text(json.dumps(recipe.plain(), indent=1, sort_keys=True) + "\n")
    return result


def _reporter(advance: Any) -> Any:
    """From the trainer's metric lines to steps done, with the loss beside the bar."""
    seen = 0

    def report(line: dict[str, Any]) -> None:
        nonlocal seen
        advance(line["step"] - seen, f"loss {line['loss']:.3f}, {line.get('tokens_per_second') or 0:,.0f} tokens/s")
        seen = line["step"]

    return report


tokenizer_task = as_task(tokenizer_stage, "tokenizer")
train_task = as_task(train_model, "train")


@flow(name="pretrain", flow_run_name=flow_run_name, persist_result=False)
def pretrain(recipe: Recipe | str, corpus: str | None = None, home: str | None = None) -> dict[str, Any]:
    """Train the recipe's model on a corpus version (``NAME@vN``; else the newest of the recipe's) and track it.

    Raises UserError when there is no such corpus, Stopped when it was interrupted: the same call goes on.
    """
    recipe, place = resolve(recipe), Home.at(home)
    require_method(recipe)
    folder = find_corpus(place, corpus or recipe.name)
    manifest = read_manifest(folder)
    with tags(recipe.name, recipe.objective.method, f"{manifest.name}@v{manifest.version}"):
        tokenizer = None
        if isinstance(recipe.encoder, TextEncoder | PairEncoder):
            _require_texts(folder, recipe)
            tokenizer = tokenizer_task(place, folder, manifest, recipe)
        result = train_task(place, folder, manifest, tokenizer, recipe)
        tracked = track_task(place, result["run_id"])
    create_link_artifact(
        key=artifact_key(recipe.name, "mlflow-run"),
        link=tracked.get("url") or tracked["uri"],
        link_text=tracked["run_id"],
    )
    stage = Stage(
        "train",
        sha256_json(result["run_id"]),
        bool(result.get("reused")),
        float(result.get("seconds") or 0),
        result["encoder"],
    )
    return {
        **result,
        "mlflow_run_id": tracked["run_id"],
        "mlflow": tracked,
        "stages": [*([tokenizer.public()] if tokenizer else []), stage.public()],
    }


def _require_texts(corpus: Path, recipe: Recipe) -> None:
    """UserError when the corpus is one of images or clips without texts: a text method has nothing to learn from."""
    if "txt" not in members(corpus):
        raise UserError(
            f"objective {recipe.objective.method} learns from texts, and the samples of this corpus have none",
            where=str(corpus),
            hint="name a method for images under `objective`, or curate only",
        )


def track(home: Home, run_id: str) -> dict[str, Any]:
    """Project a run, and its evaluation if there is one, into MLflow; safe to repeat."""
    from tasks.learning.track import Tracking

    folder = home.run(run_id)
    record = json.loads((folder / "run.json").read_text())
    corpus = find_corpus(home, corpus_of(record))
    recipe = json.loads((folder / "recipe.json").read_text())
    pointer, evaluation = folder / "evaluation.json", None
    if pointer.is_file():
        stage = home.stages / json.loads(pointer.read_text())["stage"]
        evaluation = read_evaluation(stage).public()
    flow_run_id = str(runtime.flow_run.id) if runtime.flow_run.id else None
    prefect = {"flow_run_id": flow_run_id, "url": runtime.flow_run.ui_url} if flow_run_id else None
    with progress("MLflow", None):
        return Tracking(home).project_run(folder, corpus, recipe, evaluation, prefect)


track_task = as_task(track, "track")
