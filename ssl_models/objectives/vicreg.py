"""VICReg: two views agree, every dimension varies, and no two say the same (arXiv 2105.04906)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ssl_models.losses import vicreg
from ssl_models.objectives.joint import JointMethod, project


class VICRegMethod(JointMethod):
    def joint_loss(
        self, model: Any, embedded: tuple[Tensor, ...], targets: tuple[Tensor, ...], keys_B: Tensor
    ) -> Tensor:
        first, second = project(model.projector, embedded[0])
        return vicreg(first, second, self.config.invariance, self.config.variance, self.config.covariance)
