"""BYOL: predict, from one view, what a slow teacher makes of the other (arXiv 2006.07733)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_models import ema
from ssl_models.losses import byol
from ssl_models.objectives.joint import JointMethod, Projected, Views, encode, mlp, project


class Online(Projected):
    """Encoder, projector and predictor, with the teacher (encoder and projector only) beside them."""

    def __init__(self, encoder: nn.Module, hidden: int, projection: int) -> None:
        super().__init__(encoder, hidden, projection)
        self.teacher = ema.teacher_of(nn.ModuleDict({"encoder": self.encoder, "projector": self.projector}))
        self.predictor = mlp(projection, hidden, projection)

    def student(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "projector": self.projector})


class BYOLMethod(JointMethod):
    def module(self, encoder: nn.Module) -> nn.Module:
        return Online(encoder, self.config.hidden, self.config.projection)

    def targets(self, model: Any, view: Views) -> tuple[Tensor, ...]:
        return (encode(model.teacher["encoder"], view),)

    def joint_loss(
        self, model: Any, embedded: tuple[Tensor, ...], targets: tuple[Tensor, ...], keys_B: Tensor
    ) -> Tensor:
        """The sum of both directions, as the paper has it."""
        first, second = project(model.projector, embedded[0])
        with torch.no_grad():
            taught = project(model.teacher["projector"], targets[0])
        return byol(model.predictor(first), taught[1]) + byol(model.predictor(second), taught[0])

    def after_step(self, model: Any, step: int) -> None:
        ema.update(model.teacher, model.student(), ema.rising(self.config.momentum, step, self.steps))
