"""checkpoint -> probe numbers and pictures, and the promotion that they allow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect import flow, tags
from prefect.artifacts import create_table_artifact

from flows.common import artifact_key, flow_run_name
from flows.pretrain import track_task
from flows.recipe import Recipe, validate
from tasks.errors import UserError
from tasks.governance.manifest import corpus_of, find_corpus, read_manifest
from tasks.home import Home
from tasks.learning.evaluate import read_evaluation
from tasks.prefect_task import as_task
from tasks.progress import progress
from tasks.stages import Stage, run_stage


def run_record(home: Home, run_id: str) -> dict[str, Any]:
    """run.json of a finished run; UserError otherwise."""
    path = home.run(run_id) / "run.json"
    if not path.is_file():
        raise UserError(f"there is no run '{run_id}'", where=str(home.runs), hint="list them with `gristmill ls`")
    record = json.loads(path.read_text())
    if record.get("status") != "finished":
        raise UserError(
            f"the run is not finished ({record.get('status')})", where=run_id, hint="pretrain again: it goes on"
        )
    return record


def run_recipe(home: Home, run_id: str) -> Recipe:
    """The recipe that the run was made with."""
    path = home.run(run_id) / "recipe.json"
    return validate(json.loads(path.read_text()), str(path))


def evaluate_stage(home: Home, run_id: str, recipe: Recipe) -> Stage:
    """metrics.json and pictures of a run; a pointer to them stands in the run's folder."""
    from tasks.learning.evaluate import VERSION, evaluate

    record = run_record(home, run_id)
    corpus = find_corpus(home, corpus_of(record))

    def build(folder: Path) -> None:
        with progress("evaluation", None, "rows") as advance:
            evaluate(home.run(run_id), corpus, recipe.evaluate, folder, _reporter(advance))

    inputs = {
        "weights": record["result"]["checkpoint_sha256"],
        "root": read_manifest(corpus).root,
        "config": recipe.plain()["evaluate"],
    }
    stage = run_stage(home.stages, "evaluate", VERSION, inputs, build)
    pointer = json.dumps({"stage": Path(stage.path).name}) + "\n"
    (home.run(run_id) / "evaluation.json").write_text(pointer)
    return stage


def _reporter(advance: Any) -> Any:
    """From (what, done, of how many) to rows done, with what is being measured beside the bar."""
    seen: dict[str, int] = {}

    def report(what: str, done: int, total: int) -> None:
        advance(done - seen.get(what, 0), f"{what} {done:,}/{total:,}")
        seen[what] = done

    return report


evaluate_task = as_task(evaluate_stage, "evaluate")


@flow(name="evaluate", flow_run_name=flow_run_name, persist_result=False)
def evaluate(run: str, home: str | None = None) -> dict[str, Any]:
    """Measure a finished run as its recipe says, and bring its MLflow run up to date."""
    place = Home.at(home)
    recipe = run_recipe(place, run)
    with tags(recipe.name, recipe.objective.method):
        stage = evaluate_task(place, run, recipe)
        tracked = track_task(place, run)
    outcome = read_evaluation(Path(stage.path)).public()
    create_table_artifact(
        key=artifact_key(recipe.name, "evaluation"), table=outcome["metrics"], description=f"Evaluation of {run}"
    )
    return {"run_id": run, **outcome, "mlflow": tracked, "stages": [stage.public()]}


def promote_run(home: Home, run_id: str) -> dict[str, Any]:
    """Give the run's registered model its recipe's alias, if the metric's interval lies above the recipe's bound."""
    from tasks.learning.track import Tracking

    run_record(home, run_id)
    rule = run_recipe(home, run_id).promote
    pointer = home.run(run_id) / "evaluation.json"
    if not pointer.is_file():
        raise UserError("the run has not been evaluated", where=run_id, hint=f"`gristmill evaluate {run_id}`")
    evaluation = read_evaluation(home.stages / json.loads(pointer.read_text())["stage"])
    metric = evaluation.metric(rule.metric)
    if metric is None:
        names = ", ".join(item.name for item in evaluation.metrics)
        raise UserError(
            f"the evaluation has no metric '{rule.metric}'", where="promote.metric", hint=f"there are: {names}"
        )
    low = metric.value if metric.low is None else metric.low
    reason = f"{rule.metric} {metric.value:.4f}, its 95 % interval begins at {low:.4f}; the bound is {rule.above:g}"
    if not low > rule.above:
        return {"promoted": False, "reason": reason}
    tracking = Tracking(home)
    versions = tracking.model_versions_of(run_id)
    if not versions:
        raise UserError(
            "the run has no registered model", where=run_id, hint=f"`gristmill evaluate {run_id}` tracks it"
        )
    newest = max(versions, key=lambda item: int(item["version"]))
    if rule.alias not in newest["aliases"]:
        tracking.promote(newest["model"], newest["version"], rule.alias, reason)
    return {"promoted": True, "reason": f"{newest['model']} v{newest['version']} is '{rule.alias}': {reason}"}
