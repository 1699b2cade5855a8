"""What the losses share: shape checks, full precision, and cosines that are sound at any scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def check_embeddings(**named: Tensor) -> None:
    """ValueError unless all are floating [B, D] of one shape with D >= 1."""
    first = next(iter(named.values()))
    if any(
        x.ndim != 2 or x.shape != first.shape or x.shape[1] < 1 or not x.is_floating_point() for x in named.values()
    ):
        shapes = ", ".join(f"{name} {tuple(x.shape)} {x.dtype}" for name, x in named.items())
        raise ValueError(f"expected floating embeddings [B, D] of one shape, got {shapes}")


def check_positive(**named: float | Tensor) -> None:
    """ValueError unless each is above 0; one on a GPU is not looked at, which would wait for it."""
    for name, value in named.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            raise ValueError(f"{name} must be one number, got shape {tuple(value.shape)}")
        number = value.detach() if isinstance(value, Tensor) else value
        if (not isinstance(number, Tensor) or number.device.type == "cpu") and not float(number) > 0:
            raise ValueError(f"{name} must be above 0, got {float(number)}")


def wide(x: Tensor) -> Tensor:
    """float32 or better."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def no_autocast(x: Tensor) -> Any:
    """Products of the block in the type of their operands: at temperature 0.01 a bfloat16 cosine is off by 0.4 nats."""
    return torch.autocast(x.device.type, enabled=False)


def unit(x_BD: Tensor) -> Tensor:
    """Rows scaled to length 1, at any scale: first by the largest entry, so that no square over- or underflows.

    A zero row has no direction; it stays 0, so that its cosine with anything is 0, and its gradient stays finite.
    """
    x_BD = wide(x_BD)
    largest = x_BD.detach().abs().amax(-1, keepdim=True)
    scaled = x_BD / torch.where(largest > 0, largest, torch.ones_like(largest))
    # Of a row that is not 0 the scaled norm is at least 1.
    return scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True).clamp(min=0.5)


def nothing(*tensors: Tensor) -> Tensor:
    """0 with zero gradient for each of `tensors`, which are empty or of no consequence."""
    return sum((wide(x).flatten()[:0].sum() for x in tensors), start=torch.zeros((), device=tensors[0].device))
