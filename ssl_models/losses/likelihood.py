"""Likelihoods and measures, in nats. Legend: N predictions, B rows, T positions, V classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def masked_cross_entropy(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Mean of -log softmax(logits)[target] over the N masked positions (Devlin et al. 2019, arXiv 1810.04805).

    Computed in float32 or better. With N = 0 it is 0 with zero gradient: a batch without a masked token teaches
    nothing, and a mean over nothing would be NaN.
    """
    if logits_NV.ndim != 2 or targets_N.ndim != 1 or len(logits_NV) != len(targets_N):
        raise ValueError(
            f"expected logits [N, V] and targets [N], got {tuple(logits_NV.shape)} and {tuple(targets_N.shape)}"
        )
    if logits_NV.dtype in (torch.bfloat16, torch.float16):
        logits_NV = logits_NV.float()
    if not len(targets_N):
        return logits_NV.sum()  # an empty sum: 0, and connected to the graph
    # On a GPU the check would wait for the device; there its own assertion speaks.
    if targets_N.device.type == "cpu" and (int(targets_N.min()) < 0 or int(targets_N.max()) >= logits_NV.shape[1]):
        raise ValueError(f"targets must be in 0..{logits_NV.shape[1] - 1}")
    return F.cross_entropy(logits_NV, targets_N)


def next_token_cross_entropy(logits_BTV: Tensor, ids_BT: Tensor, document_BT: Tensor | None = None) -> Tensor:
    """Mean of -log softmax(logits[t])[ids[t + 1]] over all t that have a target (GPT; Radford et al. 2019).

    `document_BT`: which document a position belongs to, negative where it is padding; a target counts only if it is of
    the same document as the position that predicts it. 0 with zero gradient where nothing is to be predicted.
    """
    if logits_BTV.ndim != 3 or ids_BT.shape != logits_BTV.shape[:2]:
        raise ValueError(
            f"expected logits [B, T, V] and ids [B, T], got {tuple(logits_BTV.shape)} and {tuple(ids_BT.shape)}"
        )
    if document_BT is not None and document_BT.shape != ids_BT.shape:
        raise ValueError(f"expected documents {tuple(ids_BT.shape)}, got {tuple(document_BT.shape)}")
    logits, targets = logits_BTV[:, :-1], ids_BT[:, 1:]
    if document_BT is None:
        return masked_cross_entropy(logits.flatten(0, 1), targets.flatten())
    predicts = (document_BT[:, 1:] == document_BT[:, :-1]) & (document_BT[:, 1:] >= 0)
    return masked_cross_entropy(logits[predicts], targets[predicts])


def entropy(p_V: Tensor) -> Tensor:
    """H(p) = -sum p log p, with 0 log 0 = 0. `p_V`: a distribution over the last axis; the mean over leading axes."""
    _check_distributions(p_V)
    return -torch.xlogy(p_V, p_V).sum(-1).mean()


def cross_entropy(p_V: Tensor, q_V: Tensor) -> Tensor:
    """H(p, q) = -sum p log q: the nats that a code made for q spends on p. Infinite where q = 0 < p."""
    _check_distributions(p_V, q_V)
    return -torch.xlogy(p_V, q_V).sum(-1).mean()


def kl_divergence(p_V: Tensor, q_V: Tensor) -> Tensor:
    """KL(p || q) = sum p log(p / q) = H(p, q) - H(p), never below 0. Infinite where q = 0 < p."""
    _check_distributions(p_V, q_V)
    ratio = torch.where(p_V > 0, p_V / q_V, torch.ones_like(p_V))
    return torch.xlogy(p_V, ratio).sum(-1).mean()


def _check_distributions(*distributions: Tensor) -> None:
    shape = distributions[0].shape
    for p in distributions:
        if not p.is_floating_point() or p.ndim < 1 or p.shape[-1] < 1 or p.shape != shape:
            raise ValueError(
                f"expected distributions [..., V] of one shape, got {[tuple(d.shape) for d in distributions]}"
            )
        if bool((p < 0).any()) or not torch.allclose(p.sum(-1), torch.ones_like(p.sum(-1)), atol=1e-4):
            raise ValueError("a distribution must be non-negative and sum to 1")
