"""curate -> pretrain -> evaluate -> promote -> audit: what the schedule runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact

from flows.common import artifact_key, flow_run_name, resolve
from flows.curate import curate
from flows.evaluate import evaluate, promote_run
from flows.preflight import require_method
from flows.pretrain import pretrain
from flows.recipe import Recipe
from tasks.governance.lineage import lineage_mermaid
from tasks.governance.manifest import read_manifest
from tasks.governance.models import models_of
from tasks.governance.report import write_report
from tasks.home import Home
from tasks.prefect_task import as_task

promote_task = as_task(promote_run, "promote")
report_task = as_task(write_report, "audit report")


@flow(name="pipeline", flow_run_name=flow_run_name, persist_result=False)
def pipeline(recipe: Recipe | str, home: str | None = None) -> dict[str, Any]:
    """The whole way for one recipe; every stage that is there already is taken over.

    Returns ``gristmill run``'s result: curate, pretrain, evaluate, promote, audit, mlflow, prefect, stages.
    """
    recipe, place = resolve(recipe), Home.at(home)
    require_method(recipe)
    curated = curate(recipe, str(place.root))
    corpus = f"{curated['corpus']}@v{curated['version']}"
    trained = pretrain(recipe, corpus, str(place.root))
    evaluated = evaluate(trained["run_id"], str(place.root))
    promoted = promote_task(place, trained["run_id"])
    page, _ = report_task(place, Path(curated["path"]))
    stages = [*curated.pop("stages"), *trained.pop("stages"), *evaluated.pop("stages")]
    tracked = evaluated["mlflow"]
    _lineage(place, recipe, curated, trained, evaluated)
    return {
        "curate": curated,
        "pretrain": trained,
        "evaluate": evaluated,
        "promote": promoted,
        "audit": {"report": str(page)},
        "mlflow": tracked,
        "prefect": {"flow_run_id": str(runtime.flow_run.id)},
        "stages": stages,
    }


def _lineage(place: Home, recipe: Recipe, curated: dict, trained: dict, evaluated: dict) -> None:
    """The lineage as a graph in Prefect's UI."""
    models = models_of(place)(trained["run_id"])
    graph = lineage_mermaid(read_manifest(Path(curated["path"])), trained, evaluated, models[-1] if models else None)
    create_markdown_artifact(
        key=artifact_key(recipe.name, "lineage"),
        markdown=graph,
        description="From sources to model",
    )
