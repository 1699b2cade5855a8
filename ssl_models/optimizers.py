"""Optimizers over the parameters of an encoder, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ssl_models.config import Train


def build_optimizers(model: nn.Module, config: Train) -> list[torch.optim.Optimizer]:
    """AdamW alone, or Muon (Jordan et al. 2024) for the matrices of the layers and AdamW for all else.

    Weight decay falls on matrices only: never on biases, norms and embeddings.
    """
    layers: list[nn.Parameter] = []
    tables: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    filters: list[nn.Parameter] = []  # of convolutions
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # a teacher follows, it does not learn
            continue
        if (
            "embed" in name
            or name.startswith("decoder")
            or name == "lm_head.weight"
            or {"wte", "wpe"} & {*name.split(".")}
        ):
            (tables if parameter.ndim == 2 else rest).append(parameter)
        else:
            (layers if parameter.ndim == 2 else filters if parameter.ndim > 2 else rest).append(parameter)
    table_rate = config.embedding_learning_rate or config.peak_learning_rate
    groups: list[dict[str, Any]] = [
        {"params": tables, "weight_decay": 0.0, "peak": table_rate},
        {"params": rest, "weight_decay": 0.0, "peak": table_rate},
        {"params": filters, "weight_decay": config.weight_decay, "peak": table_rate},
    ]
    if config.optimizer == "adamw":
        groups.insert(0, {"params": layers, "weight_decay": config.weight_decay, "peak": config.peak_learning_rate})
    adamw = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.peak_learning_rate,
        betas=(config.beta1, config.beta2),
        eps=1e-8,
        fused=True,
    )
    if config.optimizer == "adamw":
        return [adamw]
    # Scaled to AdamW's usual step size (Liu et al. 2025, arXiv 2502.16982), so one learning rate means one thing.
    muon = torch.optim.Muon(
        layers,
        lr=config.peak_learning_rate,
        weight_decay=config.weight_decay,
        momentum=0.95,
        adjust_lr_fn="match_rms_adamw",
    )
    for group in muon.param_groups:
        group["peak"] = config.peak_learning_rate
    return [muon, adamw]


def schedule(step: int, config: Train) -> float:
    """The factor on every learning rate at `step` (1..steps): linear warm-up, plateau, decay to zero past the last."""
    warmup_steps = min(config.warmup_steps, config.steps)
    if step <= warmup_steps:
        return step / warmup_steps
    decay_steps = round(config.decay_share * config.steps)
    begin = max(warmup_steps, config.steps - decay_steps)
    if step <= begin:
        return 1.0
    progress = (step - begin) / (config.steps - begin + 1)
    if config.decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - (progress if config.decay == "linear" else math.sqrt(progress))


def set_learning_rate(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
