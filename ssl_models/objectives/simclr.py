"""SimCLR: two views of an image are each other's only match among all views of the batch (arXiv 2002.05709)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ssl_models.losses import nt_xent
from ssl_models.objectives.joint import Method, Views, embed_views


class SimCLRMethod(Method):
    def loss(self, model: Any, view: Views) -> Tensor:
        first, second = embed_views(model, view)
        return nt_xent(first, second, self.config.temperature)
