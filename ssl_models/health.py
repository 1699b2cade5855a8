"""Is the run still sound? Checked before the optimizer may spoil the weights."""

from __future__ import annotations

import math

import torch
from torch import nn


class NonFinite(ValueError):
    """The loss or the gradient is no finite number; the weights are those from before the step."""


def gradient_norm(model: nn.Module, maximum: float | None) -> float:
    """The global 2-norm of the gradients, which are scaled down to `maximum` where it is above."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf if maximum is None else maximum)
    return float(norm)


def require_finite(step: int, **values: float) -> None:
    """NonFinite, naming the step and the value, unless every value is finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise NonFinite(f"step {step}: {name.replace('_', ' ')} is {value}")
