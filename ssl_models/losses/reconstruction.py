"""Reconstruction of what was hidden. Legend: B images, L patches, P values a patch."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_models.losses.shared import nothing, wide


def mae(pred_BLP: Tensor, target_BLP: Tensor, mask_BL: Tensor, normalise: bool = True) -> Tensor:
    """MAE (He et al. 2022, arXiv 2111.06377): the mean squared error over the hidden patches (mask 1 or true) only.

    With `normalise` the target of each patch is (x - mean) / sqrt(var + 1e-6), the variance dividing by P - 1. 0 where
    nothing is hidden. ValueError for other shapes, or P < 2 with `normalise`.
    """
    if pred_BLP.ndim != 3 or pred_BLP.shape != target_BLP.shape or mask_BL.shape != pred_BLP.shape[:2]:
        raise ValueError(
            f"expected pred and target [B, L, P] and mask [B, L], got {tuple(pred_BLP.shape)}, "
            f"{tuple(target_BLP.shape)}, {tuple(mask_BL.shape)}"
        )
    if normalise and pred_BLP.shape[2] < 2:
        raise ValueError("a patch of one value has no variance to normalise by")
    hidden_BL = mask_BL.bool()
    if mask_BL.device.type == "cpu":
        if not bool((mask_BL == hidden_BL.to(mask_BL.dtype)).all()):
            raise ValueError("a mask holds 0 and 1 only")
        if not bool(hidden_BL.any()):
            return nothing(pred_BLP)
    pred, target = wide(pred_BLP), wide(target_BLP)
    if normalise:
        mean = target.mean(-1, keepdim=True)
        target = (target - mean) / torch.sqrt(target.var(-1, keepdim=True) + 1e-6)
    error_BL = (pred - target).square().mean(-1).masked_fill(~hidden_BL, 0)
    return error_BL.sum() / hidden_BL.sum().clamp(min=1)
