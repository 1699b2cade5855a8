"""The verbs that run flows: prepare HOME, check the input before anything is written, run, show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.outcome import Outcome
from flows.runtime import enter, prepare, show_progress
from tasks.errors import Refused, UserError, VerificationFailed
from tasks.home import Home


def run(name: str, home: Path | None, overrides: tuple[str, ...]) -> Outcome:
    """The whole way, and the one screen at its end."""
    recipe, place = _checked(name, home, overrides, learns=True)
    from flows import screen
    from flows.pipeline import pipeline

    outcome = pipeline(recipe, str(place.root))
    stages = outcome.pop("stages")
    screen.summary(place, recipe, outcome, stages)
    return Outcome(outcome, stages)


def curate(name: str, home: Path | None, overrides: tuple[str, ...]) -> Outcome:
    """Curate, and show the closed ledger."""
    recipe, place = _checked(name, home, overrides)
    from flows import screen
    from flows.curate import curate as flow

    outcome = flow(recipe, str(place.root))
    stages = outcome.pop("stages")
    screen.corpus(place, outcome)
    return Outcome(outcome, stages)


def pretrain(name: str, corpus: str | None, home: Path | None, overrides: tuple[str, ...]) -> Outcome:
    """Train on a corpus version that is there already."""
    from flows.preflight import require_method
    from flows.recipe import load_recipe

    recipe = load_recipe(name, overrides)
    require_method(recipe)
    place = prepare(home)
    _find_corpus(place, corpus or recipe.name)
    enter(place)
    show_progress()
    from flows import screen
    from flows.pretrain import pretrain as flow

    outcome = flow(recipe, corpus, str(place.root))
    stages = outcome.pop("stages")
    screen.training(outcome)
    return Outcome(outcome, stages)


def evaluate(run_id: str, home: Path | None, overrides: tuple[str, ...]) -> Outcome:
    """Measure a finished run."""
    place = prepare(home)
    _find_run(place, run_id)
    enter(place)
    show_progress()
    from flows import screen
    from flows.evaluate import evaluate as flow

    outcome = flow(run_id, str(place.root))
    stages = outcome.pop("stages")
    screen.evaluation(outcome)
    return Outcome(outcome, stages)


def promote(run_id: str, home: Path | None, overrides: tuple[str, ...]) -> Outcome:
    """Give the alias, or exit 3 with the reason."""
    place = prepare(home)
    _find_run(place, run_id)
    enter(place)
    from flows.evaluate import promote_run

    outcome = promote_run(place, run_id)
    print(f"{'promoted' if outcome['promoted'] else 'not promoted'}: {outcome['reason']}")
    if not outcome["promoted"]:
        raise Refused(outcome["reason"], where=run_id, hint="the rule stands in the recipe under `promote`")
    return Outcome(outcome)


def compare(runs: list[str], home: Path | None) -> Outcome:
    """A table: what was set differently, what came out."""
    place = prepare(home)
    for run_id in runs:
        _find_run(place, run_id)
    from flows import screen
    from tasks.learning.track import Tracking

    rows = Tracking(place).compare(runs)
    screen.comparison(runs, rows)
    return Outcome(rows)


def audit_report(corpus: str, home: Path | None) -> Outcome:
    """Write the page and say where."""
    place = prepare(home)
    folder = _find_corpus(place, corpus)
    from tasks.governance.report import write_report

    path, values = write_report(place, folder)
    print(path)
    return Outcome({"report": str(path), **values})


def audit_trace(record: str, home: Path | None) -> Outcome:
    """One record's whole story, as JSON on the terminal."""
    place = Home.at(home)
    from tasks.governance.lineage import trace
    from tasks.governance.models import models_of

    found = trace(place, record, models_of(place))
    print(json.dumps(found, indent=1, ensure_ascii=False))
    return Outcome(found)


def audit_verify(corpus: str, home: Path | None) -> Outcome:
    """Exit 4 and the first findings when bytes differ."""
    place = prepare(home)
    folder = _find_corpus(place, corpus)
    show_progress()
    from tasks.governance.verification import verified

    result = verified(folder)
    for finding in result["findings"][:20]:
        print(f"{finding['kind']}: {finding['path']} {finding['record_id'] or ''}".rstrip())
    if not result["verified"]:
        message = f"{len(result['findings'])} findings"
        raise VerificationFailed(message, where=str(folder), hint="restore the version, or curate again", result=result)
    print(f"every byte matches the manifest; root {result['root']}")
    return Outcome(result)


def audit_diff(corpus: str, policy: str, home: Path | None) -> Outcome:
    """What another policy would change, by rule and source."""
    place = prepare(home)
    folder = _find_corpus(place, corpus)
    from flows import screen
    from flows.preflight import load_policy
    from tasks.governance.diff import diff

    result = diff(place, folder, load_policy(policy))
    screen.difference(result)
    return Outcome(result)


def audit_erase(records: list[str], reason: str, yes: bool, home: Path | None) -> Outcome:
    """Show what an erasure would do; with --yes do it and write the certificate."""
    place = prepare(home)
    if yes and not reason:
        raise UserError(
            "an erasure needs a reason", where="--reason", hint="for example --reason 'request 17 of 2026-11-22'"
        )
    show_progress()
    from flows import screen
    from tasks.governance.erasure import erase
    from tasks.governance.lineage import trace
    from tasks.governance.models import models_of

    models = models_of(place)
    ids = [trace(place, record, lambda run_id: [])["record_id"] for record in records]
    result = erase(place, ids, reason, not yes, models)
    screen.erasure(result)
    return Outcome(result)


def _checked(name: str, home: Path | None, overrides: tuple[str, ...], learns: bool = False) -> tuple[Any, Home]:
    """The recipe with its policy and sources checked: a mistake in them leaves nothing behind."""
    from flows import preflight
    from flows.recipe import load_recipe

    recipe = load_recipe(name, overrides)
    if learns:
        preflight.require_method(recipe)
    place = prepare(home)
    show_progress()
    preflight.check(recipe)
    enter(place)
    return recipe, place


def _find_corpus(place: Home, name: str) -> Path:
    from tasks.governance.manifest import find_corpus

    return find_corpus(place, name)


def _find_run(place: Home, run_id: str) -> Path:
    folder = place.run(run_id)
    if not (folder / "run.json").is_file():
        there = sorted(path.parent.name for path in place.runs.glob("*/run.json"))
        hint = f"there are: {', '.join(there)}" if there else "there is none yet: `gristmill run`"
        raise UserError(f"there is no run '{run_id}'", where=str(place.runs), hint=hint)
    return folder
