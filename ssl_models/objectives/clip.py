"""CLIP: find each picture's caption among the batch's, and each caption's picture (arXiv 2103.00020)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ssl_models.losses import clip
from ssl_models.objectives.pairs import PairMethod


class CLIPMethod(PairMethod):
    def pair_loss(self, model: Any, image_BD: Tensor, text_BD: Tensor, captions_B: Tensor) -> Tensor:
        return clip(image_BD, text_BD, model.logit_scale.exp(), captions_B)
