"""Losses without negatives: what keeps them from collapsing differs. BYOL: a slow teacher; DINO: centring and
sharpening; VICReg: variance and covariance; LeJEPA: a test for an isotropic Gaussian.

Legend: B samples, D dimensions, V views, S student and T teacher views, K prototypes, M directions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_models.losses.shared import check_embeddings, check_positive, no_autocast, nothing, unit, wide


def byol(online_BD: Tensor, target_BD: Tensor) -> Tensor:
    """BYOL, one direction (Grill et al. 2020, arXiv 2006.07733): the mean of 2 - 2 cos(online, target).

    No gradient flows into `target_BD`: that is the method. The full loss is the sum of both directions.
    """
    check_embeddings(online_BD=online_BD, target_BD=target_BD)
    if not len(online_BD):
        return nothing(online_BD)
    return (2 - 2 * (unit(online_BD) * unit(target_BD.detach())).sum(1)).mean()


def vicreg(
    z1_BD: Tensor, z2_BD: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> Tensor:
    """VICReg (Bardes et al. 2022, arXiv 2105.04906), weighted and normalised as its authors' code does:

    `invariance` times the mean squared difference + `variance` times the mean over both views and all dimensions of
    max(0, 1 - sqrt(var + 1e-4)) + `covariance` times the sum over both views of (squared off-diagonal covariances) / D.

    Variances and covariances divide by B - 1: ValueError for B < 2. They are of this batch, so the loss of a batch is
    no mean of losses of its parts.
    """
    check_embeddings(z1_BD=z1_BD, z2_BD=z2_BD)
    if len(z1_BD) < 2:
        raise ValueError(f"VICReg needs two samples or more for a variance, got {len(z1_BD)}")
    with no_autocast(z1_BD):
        first, second = wide(z1_BD), wide(z2_BD)
        loss = invariance * F.mse_loss(first, second)
        for z in (first, second):
            z = z - z.mean(0)
            covariances = z.T @ z / (len(z) - 1)
            own = covariances.diagonal()
            loss = loss + variance * F.relu(1 - torch.sqrt(own + 1e-4)).mean() / 2
            others = covariances.masked_fill(torch.eye(z.shape[1], dtype=torch.bool, device=z.device), 0)
            loss = loss + covariance * others.square().sum() / z.shape[1]
        return loss


def dino(
    student_SBK: Tensor,
    teacher_TBK: Tensor,
    centre_K: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    """DINO (Caron et al. 2021, arXiv 2104.14294): the cross-entropy of the student's distribution over K prototypes
    under the teacher's, softmax((teacher - centre) / t), the mean over samples and all pairs of **different** views.

    The first T student views are the teacher's views. No gradient flows into teacher or centre. ValueError where no
    pair of different views exists.
    """
    S, T = len(student_SBK), len(teacher_TBK)
    if student_SBK.ndim != 3 or teacher_TBK.ndim != 3 or student_SBK.shape[1:] != teacher_TBK.shape[1:]:
        raise ValueError(
            f"expected student [S, B, K] and teacher [T, B, K], got {tuple(student_SBK.shape)} and "
            f"{tuple(teacher_TBK.shape)}"
        )
    if not 1 <= T <= S or S < 2 or centre_K.shape != student_SBK.shape[2:]:
        raise ValueError(f"expected 1 <= T <= S, S >= 2 and a centre [K]; got S {S}, T {T}, {tuple(centre_K.shape)}")
    check_positive(student_temperature=student_temperature, teacher_temperature=teacher_temperature)
    if not student_SBK.shape[1]:
        return nothing(student_SBK)
    with no_autocast(student_SBK):
        target = F.softmax((wide(teacher_TBK) - wide(centre_K)).detach() / teacher_temperature, dim=-1)
        log_q = F.log_softmax(wide(student_SBK) / student_temperature, dim=-1)
        crossed_TS = -torch.einsum("tbk,sbk->ts", target, log_q) / student_SBK.shape[1]
        same = torch.eye(T, S, dtype=torch.bool, device=crossed_TS.device)
        return crossed_TS.masked_fill(same, 0).sum() / (T * S - T)


def dino_centre(centre_K: Tensor, teacher_TBK: Tensor, momentum: float = 0.9) -> Tensor:
    """The next centre: an exponential mean of the teacher's batch means; once a step, over the whole batch of it."""
    if teacher_TBK.shape[-1:] != centre_K.shape or not teacher_TBK.numel():
        raise ValueError(f"expected teacher [..., {len(centre_K)}], got {tuple(teacher_TBK.shape)}")
    with torch.no_grad():
        return centre_K * momentum + wide(teacher_TBK).flatten(0, -2).mean(0) * (1 - momentum)


def sigreg(z_BD: Tensor, directions_DM: Tensor, knots: int = 17, reach: float = 3.0) -> Tensor:
    """SIGReg (Balestriero and LeCun 2025, arXiv 2511.08544): how far the embeddings are from an isotropic Gaussian.

    Along each of M unit directions, Epps and Pulley's statistic: B times the integral over t in [-reach, reach] of
    |mean exp(i t z) - exp(-t^2 / 2)|^2 exp(-t^2 / 2); the mean over directions. The integrand is even: the trapezoid
    rule takes `knots` points of [0, reach], twice. The directions are drawn anew each step, and made unit here.
    """
    if z_BD.ndim != 2 or directions_DM.ndim != 2 or z_BD.shape[1] != len(directions_DM) or not directions_DM.numel():
        raise ValueError(f"expected [B, D] and [D, M], got {tuple(z_BD.shape)} and {tuple(directions_DM.shape)}")
    if knots < 2 or not reach > 0:
        raise ValueError(f"expected two knots or more and a positive reach, got {knots} and {reach}")
    if not len(z_BD):
        return nothing(z_BD)
    with no_autocast(z_BD):
        z = wide(z_BD)
        projected_BM = z @ unit(directions_DM.to(z.dtype).T).T
        t_K = torch.linspace(0, reach, knots, dtype=z.dtype, device=z.device)
        normal_K = torch.exp(-0.5 * t_K.square())
        angle_BMK = projected_BM[:, :, None] * t_K
        distance_MK = (angle_BMK.cos().mean(0) - normal_K).square() + angle_BMK.sin().mean(0).square()
        return 2 * torch.trapezoid(distance_MK * normal_K, t_K, dim=1).mean() * len(z)


def lejepa(z_VBD: Tensor, directions_DM: Tensor, global_views: int | None = None, weight: float = 0.05) -> Tensor:
    """LeJEPA (Balestriero and LeCun 2025, arXiv 2511.08544): (1 - weight) times the mean squared distance of every view
    to the mean of the first `global_views` (all, by default) + weight times the views' mean SIGReg.
    """
    V = len(z_VBD)
    if z_VBD.ndim != 3 or not V or not 1 <= (global_views or V) <= V:
        raise ValueError(f"expected [V, B, D] with 1 <= global_views <= V, got {tuple(z_VBD.shape)}, {global_views}")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be in 0..1, got {weight}")
    if not z_VBD.shape[1]:
        return nothing(z_VBD)
    z = wide(z_VBD)
    apart = (z[: global_views or V].mean(0) - z).square().mean()
    return (1 - weight) * apart + weight * torch.stack([sigreg(view, directions_DM) for view in z]).mean()
