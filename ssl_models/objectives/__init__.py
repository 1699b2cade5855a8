"""One file a self-supervised method: its view of a batch, its module, its loss call."""

from __future__ import annotations

from typing import Any

from ssl_models.config import MaskedLanguageModelling, Objective
from ssl_models.views.masking import Vocabulary


def build_objective(config: Objective, vocabulary: Vocabulary, seed: int) -> Any:
    """What the loop calls: ``view(batch)`` on the CPU, and ``loss(model, view)``."""
    if isinstance(config, MaskedLanguageModelling):
        from ssl_models.objectives.mlm import MaskedLanguageObjective

        return MaskedLanguageObjective(config, vocabulary, seed)
    from ssl_models.objectives.clm import CausalLanguageObjective

    return CausalLanguageObjective(config)
