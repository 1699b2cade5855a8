"""The gradients of a batch's loss, where the batch is in parts: micro-batches in turn, and ranks side by side.

Two kinds of loss can be put together exactly. A mean over terms (`terms(view)` says how many): the parts' losses,
weighted by their terms. A joint one, in which each row's loss hangs on all the others: `embed` and `targets` are of
each row alone, `joint_loss` of all of them; with micro-batches the encoder runs twice, first without a graph to have
all embeddings, then part by part with the embeddings' gradients (GradCache; Gao et al. 2021, arXiv 2101.06983). Of any
other loss, of dropout and of a BatchNorm below the embeddings, the parts say nothing about the whole: ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ssl_models.ranks import Ranks


def require_divisible(objective: Any, model: nn.Module, micro_batch: int | None, ranks: int) -> None:
    """ValueError, saying why, where parts of a batch would not train as the batch does."""
    if not micro_batch and ranks == 1:
        return
    setting = "train.micro_batch" if micro_batch else "train.ranks"
    if not hasattr(objective, "terms") and not hasattr(objective, "joint_loss"):
        name = type(objective).__name__
        raise ValueError(f"{setting}: {name} cannot be computed in parts: its loss is neither a mean nor made to join")
    below = objective.rowwise(model) if hasattr(objective, "rowwise") else model
    for name, module in below.named_modules():
        if micro_batch and isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"{setting}: the encoder's BatchNorm {name} takes its statistics from whole batches; use an encoder "
                "without (vit, or a timm model with group or layer norm), or train.ranks"
            )
    for name, module in model.named_modules():
        chance = getattr(module, "p", 0.0) if "Dropout" in type(module).__name__ else getattr(module, "drop_prob", 0.0)
        if isinstance(chance, float) and chance > 0:
            raise ValueError(f"{setting}: the dropout {name} is drawn for a whole batch; set it to 0")
    config = getattr(model, "config", None)
    for name, value in (config.to_dict() if config is not None else {}).items():
        named = "dropout" in name or name.endswith("_pdrop")
        named = named and not name.startswith(("classifier_", "summary_"))  # of heads that nothing here trains
        if named and isinstance(value, float) and value > 0:
            raise ValueError(f"{setting}: the dropout {name} is drawn for a whole batch; set it to 0")


def backward(
    objective: Any,
    model: nn.Module,
    view: Any,
    *,
    micro_batch: int | None = None,
    ranks: Ranks = Ranks(),
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> float:
    """Add to .grad this rank's part of the gradient of the whole batch's loss; this rank's part of the loss.

    `view`: this rank's rows; ``len(view)`` of them, ``view.rows(begin, end)`` some. Summed over ranks, both are those
    of the whole batch in one process.
    """
    if not micro_batch and ranks.count == 1:
        with precision():
            loss = objective.loss(model, view)
        loss.backward()
        return float(loss.detach())
    step = micro_batch or len(view)
    parts = [view.rows(begin, begin + step) for begin in range(0, len(view), step)]
    if hasattr(objective, "terms"):
        return _mean(objective, model, parts, ranks, precision)
    return _joint(objective, model, view, parts, ranks, precision)


def _mean(objective: Any, model: nn.Module, parts: list[Any], ranks: Ranks, precision: Any) -> float:
    terms = [objective.terms(part) for part in parts]
    every = max(1, ranks.total(sum(terms)))
    whole = 0.0
    for part, some in zip(parts, terms, strict=True):
        with precision(), ranks.shared_statistics():
            loss = objective.loss(model, part) * (some / every)
        loss.backward()
        whole += float(loss.detach())
    return whole


def _joint(objective: Any, model: nn.Module, view: Any, parts: list[Any], ranks: Ranks, precision: Any) -> float:
    with precision(), ranks.shared_statistics():
        with torch.no_grad():
            targets = _joined([objective.targets(model, part) for part in parts])
        with torch.set_grad_enabled(len(parts) == 1):
            embedded = _joined([objective.embed(model, part) for part in parts])
    leaves = embedded if len(parts) == 1 else tuple(x.requires_grad_() for x in embedded)
    with precision():
        whole = (tuple(ranks.gather(x) for x in group) for group in (leaves, targets))
        loss = objective.joint_loss(model, *whole, ranks.gather(view.keys_B)) / ranks.count
    loss.backward()
    if len(parts) > 1:
        begin = [0] * len(leaves)
        for part in parts:
            with precision():
                again = objective.embed(model, part)
            outputs, gradients = [], []
            for n, (x, leaf) in enumerate(zip(again, leaves, strict=True)):
                if x.requires_grad and leaf.grad is not None:
                    outputs.append(x)
                    gradients.append(leaf.grad[begin[n] : begin[n] + len(x)])
                begin[n] += len(x)
            if outputs:
                torch.autograd.backward(outputs, gradients)
    return float(loss.detach())


def _joined(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return parts[0] if len(parts) == 1 else tuple(torch.cat(group) for group in zip(*parts, strict=True))
