"""DINO: a student gives every view the distribution over prototypes that a slow teacher gives other views of the image.

(arXiv 2104.14294.) The centre moves once an optimizer step, by the mean of all teacher outputs of that step: updated by
every micro-batch it would drift.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_models import ema
from ssl_models.image_config import DINO
from ssl_models.images import ImageBatch
from ssl_models.losses import dino, dino_centre
from ssl_models.objectives.joint import JointMethod, Projected, Views, draw_views, encode, project


class Prototyped(Projected):
    """Encoder, projector to a bottleneck of length 1, and prototypes of length 1: outputs are cosines."""

    def __init__(self, encoder: nn.Module, config: DINO) -> None:
        super().__init__(encoder, config.hidden, config.projection)
        self.prototypes_KD = nn.Parameter(torch.randn(config.prototypes, config.projection) * 0.02)

    def head(self, features_BF: Tensor) -> Tensor:
        return F.normalize(self.projector(features_BF)) @ F.normalize(self.prototypes_KD).T


class Taught(nn.Module):
    """`seen`: the teacher's outputs since the last step, from which the centre moves."""

    def __init__(self, encoder: nn.Module, config: DINO) -> None:
        super().__init__()
        self.student = Prototyped(encoder, config)
        self.teacher = ema.teacher_of(self.student)
        self.register_buffer("centre", torch.zeros(config.prototypes))
        self.seen: list[Tensor] = []


class DINOMethod(JointMethod):
    def module(self, encoder: nn.Module) -> nn.Module:
        return Taught(encoder, self.config)

    def view(self, batch: ImageBatch) -> Views:
        c = self.config
        size = self.encoder.image_size
        return draw_views(batch, c.augment, size, self.seed, 2, c.small_views, c.small_crop_low)

    def embed(self, model: Any, view: Views) -> tuple[Tensor, ...]:
        return (encode(model.student.encoder, view),)

    def targets(self, model: Any, view: Views) -> tuple[Tensor, ...]:
        return (encode(model.teacher.encoder, Views(view.pixels_VBCSS[:2], view.keys_B)),)

    def rowwise(self, model: Any) -> nn.Module:
        return model.student.encoder

    def joint_loss(
        self, model: Any, embedded: tuple[Tensor, ...], targets: tuple[Tensor, ...], keys_B: Tensor
    ) -> Tensor:
        with torch.no_grad():
            taught = project(model.teacher.head, targets[0])
        model.seen.append(taught)
        student = project(model.student.head, embedded[0])
        c = self.config
        return dino(student, taught, model.centre, c.student_temperature, c.teacher_temperature)

    def after_step(self, model: Any, step: int) -> None:
        model.centre.copy_(dino_centre(model.centre, torch.cat(model.seen, dim=1), self.config.centre_momentum))
        model.seen.clear()
        ema.update(model.teacher, model.student, ema.rising(self.config.momentum, step, self.steps))

    def trained_encoder(self, model: Any) -> nn.Module:
        return model.teacher.encoder
