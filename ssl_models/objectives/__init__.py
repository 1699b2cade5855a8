"""One file a self-supervised method: its view of a batch, its module, its loss call."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ssl_models.config import MaskedLanguageModelling
from ssl_models.views.masking import Vocabulary

_IMAGES = {
    "simclr": "SimCLRMethod",
    "byol": "BYOLMethod",
    "vicreg": "VICRegMethod",
    "dino": "DINOMethod",
    "lejepa": "LeJEPAMethod",
    "mae": "MAEMethod",
}

_PAIRS = {"clip": "CLIPMethod", "siglip": "SigLIPMethod"}


def build_objective(config: Any, vocabulary: Vocabulary, seed: int) -> Any:
    """What the loop calls: ``view(batch)`` on the CPU, and ``loss(model, view)``."""
    if isinstance(config, MaskedLanguageModelling):
        from ssl_models.objectives.mlm import MaskedLanguageObjective

        return MaskedLanguageObjective(config, vocabulary, seed)
    from ssl_models.objectives.clm import CausalLanguageObjective

    return CausalLanguageObjective(config)


def build_pair_method(config: Any, encoder: Any, seed: int, vocabulary: int, special: dict[str, int]) -> Any:
    """A method on image-text pairs, with the hooks of one on images."""
    module = import_module(f"ssl_models.objectives.{config.method}")
    return getattr(module, _PAIRS[config.method])(config, encoder, seed, vocabulary, special)


def build_image_method(config: Any, encoder: Any, seed: int, steps: int) -> Any:
    """A method on images: also ``build()``, ``after_step(model, step)`` and ``trained_encoder(model)``."""
    module = import_module(f"ssl_models.objectives.{config.method}")
    return getattr(module, _IMAGES[config.method])(config, encoder, seed, steps)
