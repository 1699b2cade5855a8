"""SimCLR: two views of an image are each other's only match among all views of the batch (arXiv 2002.05709)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ssl_models.losses import nt_xent
from ssl_models.objectives.joint import JointMethod, project


class SimCLRMethod(JointMethod):
    def joint_loss(
        self, model: Any, embedded: tuple[Tensor, ...], targets: tuple[Tensor, ...], keys_B: Tensor
    ) -> Tensor:
        first, second = project(model.projector, embedded[0])
        return nt_xent(first, second, self.config.temperature)
