"""wav2vec 2.0's three terms. Legend: N masked frames, K distractors, D dimensions, G codebooks of V entries."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_models.losses.shared import check_embeddings, check_positive, no_autocast, nothing, unit, wide


def wav2vec2(
    context_ND: Tensor,
    quantised_ND: Tensor,
    distractors_NKD: Tensor,
    probability_NGV: Tensor,
    features: Tensor,
    temperature: float = 0.1,
) -> tuple[Tensor, Tensor, Tensor]:
    """wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477): (contrastive, diversity, feature penalty), each a mean.

    Contrastive: InfoNCE by cosine of each masked frame's context against its own quantised target among its K
    distractors (other masked frames of the same utterance). A distractor equal to the target counts as none, so rows
    with fewer than K are filled up with the target itself. Diversity: (G V - sum over g of exp(entropy of the mean of
    codebook g's probabilities)) / (G V), from 0 (all entries used alike) to 1 - 1 / V. Penalty: the mean square of the
    convolutions' `features` (any shape). The paper weighs them 1, 0.1 and, in its code, 10. With no masked frame the
    first two are 0.
    """
    check_embeddings(context_ND=context_ND, quantised_ND=quantised_ND)
    check_positive(temperature=temperature)
    N, D = context_ND.shape
    if distractors_NKD.ndim != 3 or (len(distractors_NKD), distractors_NKD.shape[2]) != (N, D):
        raise ValueError(f"expected distractors [{N}, K, {D}], got {tuple(distractors_NKD.shape)}")
    if probability_NGV.ndim != 3 or len(probability_NGV) != N or not probability_NGV.shape[1:].numel():
        raise ValueError(f"expected probabilities [{N}, G, V], got {tuple(probability_NGV.shape)}")
    if not features.is_floating_point():
        raise ValueError(f"expected floating features, got {features.dtype}")
    penalty = wide(features).square().mean() if features.numel() else nothing(features)
    if not N:
        return nothing(context_ND, quantised_ND, distractors_NKD), nothing(probability_NGV), penalty
    with no_autocast(context_ND):
        context, target, distractors = unit(context_ND), unit(quantised_ND), unit(distractors_NKD)
        logits = torch.cat(
            [(context * target).sum(1, keepdim=True), torch.einsum("nd,nkd->nk", context, distractors)], dim=1
        )
        same_NK = (distractors_NKD == quantised_ND[:, None]).all(-1)
        logits = (logits / temperature).masked_fill(F.pad(same_NK, (1, 0)), -torch.inf)
        contrastive = F.cross_entropy(logits, torch.zeros(N, dtype=torch.long, device=logits.device))
        mean_GV = wide(probability_NGV).mean(0)
        safe_GV = mean_GV.clamp(min=torch.finfo(mean_GV.dtype).tiny)  # 0 log 0 = 0, with a finite gradient
        perplexity_G = torch.exp(-(mean_GV * safe_GV.log()).sum(-1))
        diversity = 1 - perplexity_G.sum() / mean_GV.numel()
    return contrastive, diversity, penalty
