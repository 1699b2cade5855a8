"""SigLIP: of every picture and every caption of the batch, do they belong together? (arXiv 2303.15343)"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ssl_models.losses import siglip
from ssl_models.objectives.pairs import PairMethod


class SigLIPMethod(PairMethod):
    def pair_loss(self, model: Any, image_BD: Tensor, text_BD: Tensor, captions_B: Tensor) -> Tensor:
        return siglip(image_BD, text_BD, model.logit_scale.exp(), model.logit_bias, captions_B)
