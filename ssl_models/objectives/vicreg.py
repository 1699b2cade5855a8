"""VICReg: two views agree, every dimension varies, and no two say the same (arXiv 2105.04906)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ssl_models.losses import vicreg
from ssl_models.objectives.joint import Method, Views, embed_views


class VICRegMethod(Method):
    def loss(self, model: Any, view: Views) -> Tensor:
        first, second = embed_views(model, view)
        return vicreg(first, second, self.config.invariance, self.config.variance, self.config.covariance)
