"""What every flow needs: the recipe resolved, the policy loaded, a name for the run, a key for an artifact."""

from __future__ import annotations

import re
import threading

from prefect.runtime import flow_run

from flows.recipe import Recipe, load_recipe
from tasks import engine as engines
from tasks.curation.records import Engine


def resolve(recipe: Recipe | str) -> Recipe:
    """A deployment may name a shipped recipe or a file; a form gives the recipe itself."""
    return load_recipe(recipe) if isinstance(recipe, str) else recipe


def flow_run_name() -> str:
    """``curate-python-docs``: the flow and the recipe."""
    parameters = flow_run.parameters or {}
    subject = parameters.get("recipe") or parameters.get("run") or parameters.get("corpus") or ""
    if isinstance(subject, dict):
        subject = subject.get("name", "")
    return f"{flow_run.flow_name}-{getattr(subject, 'name', subject)}"


def artifact_key(*parts: str) -> str:
    """Prefect's artifact keys are lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def in_main_thread(engine: Engine) -> None:
    """Start the data plane where signal handlers can be set, if this is that thread."""
    if threading.current_thread() is threading.main_thread():
        engines.start(engine.ray_address)
