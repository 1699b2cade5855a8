"""The input of a flow, checked before anything is written and before Prefect is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_policies.load import PolicyError
from data_policies.load import load_policy as load
from data_policies.schema import Policy
from flows.recipe import CurateOnly, Recipe
from ssl_models.config import Objective
from tasks.errors import UserError

#: Digests of the sources: left here by the command line's check, taken out by the flow that follows it.
_digests: dict[str, list[dict[str, Any]]] = {}


def load_policy(name: str) -> Policy:
    """The policy, or a UserError that says what is wrong with it."""
    try:
        return load(name)
    except PolicyError as error:
        raise UserError(error.message, where=error.where, hint=error.hint) from None


def check(recipe: Recipe) -> None:
    """UserError for a bad policy, a model or screen that is not what it says, or a source that is missing or empty."""
    from tasks.curation.ingest import require_records, source_digests
    from tasks.curation.pii_names import open_names

    policy = load_policy(recipe.policy)
    if policy.toxicity is not None and policy.toxicity.screen is not None:
        from tasks.curation.toxicity_screen import open_screen

        open_screen(Path(policy.toxicity.screen.model), policy.toxicity.screen.sha256)
    open_names(policy.ner)
    if policy.pair_model is not None:
        from tasks.curation.pair_scores import PairScores

        PairScores(policy.pair_model)
        if recipe.modality == "audio":
            raise UserError(
                "the policy's pair_model looks at images, and the sources hold clips",
                where=recipe.policy,
                hint="take pair_model out of the policy",
            )
    _digests[recipe.curation_sha256()] = source_digests(recipe.sources)
    require_records(recipe.sources)
    require_records(recipe.protected.sets)


def require_method(recipe: Recipe) -> Objective:
    """The recipe's objective; UserError when it names none, before anything of it is curated for nothing."""
    if not isinstance(recipe.objective, CurateOnly):
        return recipe.objective
    if recipe.modality == "audio":
        why, how = "no training method for audio exists yet", ""
    else:
        why, how = "the recipe names no method", ", or name a method under `objective`"
    raise UserError(
        f"there is nothing to train: {why}",
        where=f"recipe {recipe.name}",
        hint=f"`gristmill curate {recipe.name}` makes the corpus{how} (docs/objectives.md)",
    )


def digests(recipe: Recipe) -> list[dict[str, Any]]:
    """The sources' digests: those that the check has just found, else read now."""
    from tasks.curation.ingest import source_digests

    return _digests.pop(recipe.curation_sha256(), None) or source_digests(recipe.sources)
