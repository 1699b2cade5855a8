"""Contrastive losses: a pair that belongs together against pairs that do not. All by cosine, all by logsumexp.

Legend: B pairs, D dimensions, K explicit negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_models.losses.shared import check_embeddings, check_positive, no_autocast, nothing, unit, wide


def nt_xent(z1_BD: Tensor, z2_BD: Tensor, temperature: float | Tensor) -> Tensor:
    """SimCLR's NT-Xent (Chen et al. 2020, arXiv 2002.05709): the mean over all 2B views i, j(i) the other view of i, of

    -log exp(cos(i, j) / t) / sum over k != i of exp(cos(i, k) / t).

    0 where B is 1: the other view is the only candidate.
    """
    check_embeddings(z1_BD=z1_BD, z2_BD=z2_BD)
    check_positive(temperature=temperature)
    if not len(z1_BD):
        return nothing(z1_BD, z2_BD)
    with no_autocast(z1_BD):
        z = unit(torch.cat([z1_BD, z2_BD]))
        own = torch.eye(len(z), dtype=torch.bool, device=z.device)
        logits = (z @ z.T / temperature).masked_fill(own, -torch.inf)
        return F.cross_entropy(logits, torch.arange(len(z), device=z.device).roll(len(z1_BD)))


def info_nce(query_BD: Tensor, key_BD: Tensor, negatives_KD: Tensor, temperature: float | Tensor) -> Tensor:
    """InfoNCE with explicit negatives, shared by all queries (van den Oord et al. 2018, arXiv 1807.03748; as in MoCo):

    the mean of -log exp(cos(q, k) / t) / (exp(cos(q, k) / t) + sum over n of exp(cos(q, n) / t)). 0 without negatives.
    """
    check_embeddings(query_BD=query_BD, key_BD=key_BD)
    check_positive(temperature=temperature)
    if negatives_KD.ndim != 2 or negatives_KD.shape[1] != query_BD.shape[1]:
        raise ValueError(f"expected negatives [K, {query_BD.shape[1]}], got {tuple(negatives_KD.shape)}")
    if not len(query_BD):
        return nothing(query_BD, key_BD, negatives_KD)
    with no_autocast(query_BD):
        query, key, negatives = unit(query_BD), unit(key_BD), unit(negatives_KD)
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ negatives.T], dim=1) / temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def triplet(anchor_BD: Tensor, positive_BD: Tensor, negative_BD: Tensor, margin: float) -> Tensor:
    """Triplet loss on cosine distances (Schroff et al. 2015, arXiv 1503.03832):

    the mean of max(0, margin + cos(a, n) - cos(a, p)).
    """
    check_embeddings(anchor_BD=anchor_BD, positive_BD=positive_BD, negative_BD=negative_BD)
    if not margin >= 0:
        raise ValueError(f"margin must be at least 0, got {margin}")
    if not len(anchor_BD):
        return nothing(anchor_BD, positive_BD, negative_BD)
    anchor = unit(anchor_BD)
    return F.relu(margin + (anchor * (unit(negative_BD) - unit(positive_BD))).sum(1)).mean()


def clip(image_BD: Tensor, text_BD: Tensor, logit_scale: float | Tensor, captions_B: Tensor | None = None) -> Tensor:
    """CLIP (Radford et al. 2021, arXiv 2103.00020): half the cross-entropy of finding each image's text among the
    batch's, half that of finding each text's image; logits are cosines **times** `logit_scale` (itself, not its log).

    `captions_B`: numbers, equal for equal captions. Another pair's caption with the same words is no candidate.
    """
    check_embeddings(image_BD=image_BD, text_BD=text_BD)
    check_positive(logit_scale=logit_scale)
    if not len(image_BD):
        return nothing(image_BD, text_BD)
    with no_autocast(image_BD):
        logits = _scaled(unit(image_BD) @ unit(text_BD).T, logit_scale)
        logits = logits.masked_fill(_twins(captions_B, image_BD), -torch.inf)
        targets = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def siglip(
    image_BD: Tensor,
    text_BD: Tensor,
    logit_scale: float | Tensor,
    logit_bias: float | Tensor,
    captions_B: Tensor | None = None,
) -> Tensor:
    """SigLIP (Zhai et al. 2023, arXiv 2303.15343): every pair of the batch is asked by itself whether it belongs.

    The sum over all B x B pairs of -log sigmoid(y (cos times `logit_scale` + `logit_bias`)), y = 1 for a pair and -1
    otherwise, divided by B. `captions_B`: numbers, equal for equal captions; of a picture and a caption that is not
    its own but equal to it nothing is asked.
    """
    check_embeddings(image_BD=image_BD, text_BD=text_BD)
    check_positive(logit_scale=logit_scale)
    if isinstance(logit_bias, Tensor) and logit_bias.numel() != 1:
        raise ValueError(f"logit_bias must be one number, got shape {tuple(logit_bias.shape)}")
    if not len(image_BD):
        return nothing(image_BD, text_BD)
    with no_autocast(image_BD):
        logits = _scaled(unit(image_BD) @ unit(text_BD).T, logit_scale) + (
            wide(logit_bias).reshape(()) if isinstance(logit_bias, Tensor) else logit_bias
        )
        belongs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
        terms = F.logsigmoid(belongs * logits).masked_fill(_twins(captions_B, image_BD), 0)
        return -terms.sum() / len(logits)


def _twins(captions_B: Tensor | None, rows_BD: Tensor) -> Tensor:
    """bool [B, B]: another pair's caption, with the same words."""
    own = torch.eye(len(rows_BD), dtype=torch.bool, device=rows_BD.device)
    if captions_B is None:
        return torch.zeros_like(own)
    if captions_B.shape != rows_BD.shape[:1]:
        raise ValueError(f"expected captions [{len(rows_BD)}], got {tuple(captions_B.shape)}")
    return (captions_B[:, None] == captions_B[None]) & ~own


def _scaled(cosines: Tensor, logit_scale: float | Tensor) -> Tensor:
    return cosines * (wide(logit_scale).reshape(()) if isinstance(logit_scale, Tensor) else logit_scale)
