"""BYOL: predict, from one view, what a slow teacher makes of the other (arXiv 2006.07733)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_models import ema
from ssl_models.losses import byol
from ssl_models.objectives.joint import Method, Projected, Views, embed_views, mlp


class Online(Projected):
    """Encoder, projector and predictor, with the teacher (encoder and projector only) beside them."""

    def __init__(self, encoder: nn.Module, hidden: int, projection: int) -> None:
        super().__init__(encoder, hidden, projection)
        self.teacher = ema.teacher_of(nn.ModuleDict({"encoder": self.encoder, "projector": self.projector}))
        self.predictor = mlp(projection, hidden, projection)

    def student(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "projector": self.projector})


class BYOLMethod(Method):
    def module(self, encoder: nn.Module) -> nn.Module:
        return Online(encoder, self.config.hidden, self.config.projection)

    def loss(self, model: Any, view: Views) -> Tensor:
        """The sum of both directions, as the paper has it."""
        first, second = embed_views(model, view)
        with torch.no_grad():
            targets = embed_views(_Joined(model.teacher), view)
        return byol(model.predictor(first), targets[1]) + byol(model.predictor(second), targets[0])

    def after_step(self, model: Any, step: int) -> None:
        ema.update(model.teacher, model.student(), ema.rising(self.config.momentum, step, self.steps))


class _Joined(nn.Module):
    def __init__(self, parts: nn.ModuleDict) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, pixels: Tensor) -> Tensor:
        from ssl_models.image_encoders import features

        return self.parts["projector"](features(self.parts["encoder"], pixels))
