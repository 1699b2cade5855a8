"""Losses and gradients beside those of lightly and open_clip: the worst relative error over random shapes.

``python -m benchmarks.parity_losses --site FOLDER``, where FOLDER holds both, as ``pip install --no-deps --target
FOLDER lightly==1.6.0 open_clip_torch==3.3.0 ftfy wcwidth`` fills it: they want other packages than the project is
locked to, and their losses need none of them. The tests hold every loss against transformers' models and naive loops.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import write
from ssl_models import losses

Pair = tuple[Callable[..., Tensor], Callable[..., Tensor], list[tuple[int, ...]]]
TEMPERATURES = (0.01, 0.05, 0.1, 0.5, 1.0)


def pairs(case: int) -> dict[str, Pair]:
    """name: (ours, theirs, shapes of the inputs) for one random shape."""
    from lightly.loss import DINOLoss, NegativeCosineSimilarity, NTXentLoss, SIGReg, VICRegLoss
    from open_clip.loss import ClipLoss, SigLipLoss

    B, D, t = 2 + case % 9, 2 + case * 3 % 13, TEMPERATURES[case % 5]
    unit = torch.nn.functional.normalize
    seeded = case + 1

    def directions(z: Tensor) -> Tensor:
        torch.manual_seed(seeded)
        return torch.randn(z.shape[-1], 32, dtype=z.dtype)

    def their_sigreg(z: Tensor) -> Tensor:
        torch.manual_seed(seeded)
        return SIGReg(num_vectors=32)(z)

    def their_lejepa(z1: Tensor, z2: Tensor) -> Tensor:
        z = torch.stack([z1, z2])
        regularised = torch.stack([their_sigreg(view) for view in z]).mean()
        return 0.95 * (z.mean(0) - z).square().mean() + 0.05 * regularised

    def their_dino(student: Tensor, teacher: Tensor) -> Tensor:
        loss = DINOLoss(output_dim=D, teacher_temp=0.04, warmup_teacher_temp=0.04, student_temp=t)
        loss.center = loss.center.to(student.dtype)
        return loss(teacher_out=list(teacher.detach()), student_out=list(student))

    negative_cosine = NegativeCosineSimilarity()
    clip, siglip = ClipLoss(), SigLipLoss()
    two = [(B, D), (B, D)]
    return {
        "nt_xent / lightly NTXentLoss": (
            lambda a, b: losses.nt_xent(a, b, t), lambda a, b: NTXentLoss(temperature=t)(a, b), two,
        ),
        "byol / lightly NegativeCosineSimilarity": (
            losses.byol, lambda a, b: 2 + 2 * negative_cosine(a, b.detach()), two,
        ),
        "vicreg / lightly VICRegLoss": (losses.vicreg, VICRegLoss(), two),
        "sigreg / lightly SIGReg": (lambda z: losses.sigreg(z, directions(z)), their_sigreg, [(B, D)]),
        "lejepa / lightly SIGReg, by the paper's sum": (
            lambda a, b: losses.lejepa(torch.stack([a, b]), directions(a)), their_lejepa, two,
        ),
        "dino / lightly DINOLoss": (
            lambda s, q: losses.dino(s, q, torch.zeros(D, dtype=s.dtype), t, 0.04), their_dino, [(3, B, D), (2, B, D)],
        ),
        "clip / open_clip ClipLoss": (
            lambda a, b: losses.clip(a, b, 1 / t), lambda a, b: clip(unit(a), unit(b), 1 / t), two,
        ),
        "siglip / open_clip SigLipLoss": (
            lambda a, b: losses.siglip(a, b, 1 / t, -3.0),
            lambda a, b: siglip(unit(a), unit(b), torch.tensor(1 / t), torch.tensor(-3.0)), two,
        ),
    }  # fmt: skip


def error(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], inputs: list[Tensor]) -> tuple[float, float]:
    """Relative errors of the value, and of the gradients by their largest entry (at least a tenth)."""
    found: list[Any] = []
    for loss in (ours, theirs):
        leaves = [x.clone().requires_grad_() for x in inputs]
        value = loss(*leaves)
        grads = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
        found.append((value.item(), torch.cat([g.flatten() for g in grads])))
    (mine, g1), (other, g2) = found
    return abs(mine - other) / max(abs(other), 0.1), float((g1 - g2).abs().max() / max(float(g2.abs().max()), 0.1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--shapes", type=int, default=25)
    options = parser.parse_args()
    sys.path.append(str(options.site))
    try:
        import lightly  # noqa: F401
        import open_clip  # noqa: F401
    except ImportError as problem:
        sys.exit(f"{options.site}: {problem}; see --help for the command that fills it")
    table: dict[str, dict[str, float]] = {}
    for case in range(options.shapes):
        for name, (ours, theirs, shapes) in pairs(case).items():
            generator = torch.Generator().manual_seed(case)
            drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
            row = table.setdefault(name, {})
            for dtype in (torch.float32, torch.float64):
                errors = error(ours, theirs, [x.to(dtype) for x in drawn])
                for what, value in zip(("loss", "gradient"), errors, strict=True):
                    key = f"{what}_{str(dtype).removeprefix('torch.')}"
                    row[key] = max(row.get(key, 0.0), value)
    for name, row in table.items():
        print(f"{name:45}", {key: f"{value:.1e}" for key, value in row.items()})
    write("parity_losses", {"shapes": options.shapes, "worst_relative_error": table})


if __name__ == "__main__":
    main()
