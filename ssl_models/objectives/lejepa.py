"""LeJEPA: views agree with their mean, and embeddings are an isotropic Gaussian along random directions.

(arXiv 2511.08544.) No teacher, no negatives, no predictor; one weight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ssl_models.images import ImageBatch
from ssl_models.keys import stream
from ssl_models.losses import lejepa
from ssl_models.objectives.joint import JointMethod, Views, draw_views, project


class LeJEPAMethod(JointMethod):
    def view(self, batch: ImageBatch) -> Views:
        return draw_views(batch, self.config.augment, self.encoder.image_size, self.seed, self.config.views)

    def joint_loss(
        self, model: Any, embedded: tuple[Tensor, ...], targets: tuple[Tensor, ...], keys_B: Tensor
    ) -> Tensor:
        """The step's directions are keyed by its first sample: the same after a resume."""
        generator = torch.Generator().manual_seed(stream("directions", self.seed, int(keys_B[0])))
        directions = torch.randn(self.config.projection, self.config.directions, generator=generator)
        z_VBD = project(model.projector, embedded[0])
        return lejepa(z_VBD, directions.to(z_VBD.device), weight=self.config.weight)
