"""The exponential mean of a model: what BYOL and DINO call their teacher."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn


def teacher_of(student: nn.Module) -> nn.Module:
    """A copy that no gradient reaches."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher <- momentum teacher + (1 - momentum) student: parameters and floating buffers; counters are copied.

    A teacher whose BatchNorm statistics stay at their start is wrong in evaluation, though its training looks right.
    """
    for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.lerp_(other, 1 - momentum)
    for kept, now in zip(teacher.buffers(), student.buffers(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - momentum)
        else:
            kept.copy_(now)


def rising(base: float, step: int, steps: int) -> float:
    """BYOL's momentum after `step` of `steps` optimizer steps (never epochs): from `base` to 1 by half a cosine."""
    return 1 - (1 - base) * (math.cos(math.pi * min(step, steps) / steps) + 1) / 2
