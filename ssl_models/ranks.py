"""Several processes as one: the same batch in slices, gradients and statistics of the whole.

Every rank computes a loss of its own such that the sum over ranks is the loss of the whole batch; gradients are summed
once a step. What crosses ranks in the forward (`gather`, batch statistics) has the true adjoint in the backward, a sum
over ranks: so no gradient is off by the number of ranks, whatever a loss does with what it gathered. torch has no
SyncBatchNorm on CPUs; `shared_statistics` computes any BatchNorm over all ranks' rows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

STORE = "GRISTMILL_STORE"  # the file by which ranks that the trainer started itself meet
_PATIENCE = timedelta(minutes=10)  # what one rank may spend alone, on a checkpoint for instance


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is; alone, every method is the identity. Needs torch.distributed's group."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return not self.rank

    def slice(self, rows: int) -> tuple[int, int]:
        """This rank's [begin, end) of a batch of `rows`. ValueError where they do not divide."""
        if rows % self.count:
            raise ValueError(f"a batch of {rows} rows cannot be divided among {self.count} ranks")
        each = rows // self.count
        return self.rank * each, (self.rank + 1) * each

    def total(self, number: int) -> int:
        """The sum over ranks."""
        if self.count == 1:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found)
        return int(found)

    def gather(self, x: Tensor) -> Tensor:
        """All ranks' rows in the order of ranks (which may have different numbers of them), with gradient."""
        if self.count == 1:
            return x
        sizes = [torch.empty((), dtype=torch.long) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor(len(x)))
        return _Gather.apply(x, self.rank, [int(size) for size in sizes])

    @contextlib.contextmanager
    def shared_statistics(self) -> Iterator[None]:
        """Every BatchNorm inside, of whatever library, has the mean and variance of all ranks' rows."""
        with _SharedStatistics(self.count) if self.count > 1 else contextlib.nullcontext():
            yield

    def reduce(self, model: nn.Module, loss: float, stop: bool) -> tuple[float, bool]:
        """Sum the gradients over ranks, in one message; the summed loss, and whether any rank wants to stop."""
        if self.count == 1:
            return loss, stop
        learning = [p for p in model.parameters() if p.requires_grad]
        # A parameter that no rank used must stay without a gradient: the optimizer then leaves it alone.
        news = [loss, float(stop), *(float(p.grad is not None) for p in learning)]
        pieces = [torch.tensor(news, dtype=torch.float64)]
        pieces += [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning]
        for dtype in dict.fromkeys(piece.dtype for piece in pieces):
            chosen = [n for n, piece in enumerate(pieces) if piece.dtype == dtype]
            flat = torch.cat([pieces[n] for n in chosen])
            dist.all_reduce(flat)
            for n, piece in zip(chosen, flat.split([pieces[n].numel() for n in chosen]), strict=True):
                pieces[n] = piece
        loss, stops, *used = pieces[0].tolist()
        for p, count, piece in zip(learning, used, pieces[1:], strict=True):
            p.grad = piece.view_as(p) if count else None
        return loss, bool(stops)


@contextlib.contextmanager
def joined(rank: int, count: int, store: str | None) -> Iterator[Ranks]:
    """In a group of `count` processes over gloo: by the file `store`, or as torchrun's environment says."""
    if count == 1:
        yield Ranks()
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine; torchrun over several sets its own
    method = f"file://{store}" if store else "env://"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=count, timeout=_PATIENCE)
    try:
        yield Ranks(rank, count)
    finally:
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward: every rank's gradient for this rank's rows, summed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rank: int, sizes: list[int]) -> Tensor:
        ctx.rank, ctx.sizes = rank, sizes
        padded = F.pad(x[..., None].flatten(1), (0, 0, 0, max(sizes) - len(x))).contiguous()
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded)
        return torch.cat([y[:size] for y, size in zip(found, sizes, strict=True)]).view(-1, *x.shape[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad.split(ctx.sizes)[ctx.rank], None, None


class _Sum(torch.autograd.Function):
    """The sum over ranks; its adjoint is the same sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous().clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad


class _SharedStatistics(TorchFunctionMode):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        others = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        rows = self.count * x.numel() // x.shape[1]  # every rank has as many
        mean = _Sum.apply(wide.sum(others)) / rows
        centred = wide - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(others)) / rows
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((variance * rows / max(1, rows - 1)).to(running_var.dtype), momentum)
        found = centred * torch.rsqrt(variance + eps).view(shape)
        if weight is not None:
            found = found * weight.view(shape)
        return (found if bias is None else found + bias.view(shape)).to(x.dtype)
