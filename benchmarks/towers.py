"""Small towers for losses without a method of their own yet, trained through the parts of a batch as methods are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_models import losses
from ssl_models.accumulate import backward, require_divisible
from ssl_models.keys import fold
from ssl_models.ranks import Ranks
from ssl_models.views.parameters import uniforms

STEPS, B, D, E = 5, 16, 12, 8
T, K, G, V = 10, 3, 2, 6  # frames, distractors, codebooks, entries
START, END, DECAY = 2.0, 0.5, 0.8  # of the codebook's temperature, a step


@dataclass(frozen=True)
class Rows:
    """`x` [B, ...] of the samples with `keys` [B]."""

    x: Tensor
    keys_B: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, begin: int, end: int) -> Rows:
        return Rows(self.x[begin:end], self.keys_B[begin:end])


def tower(inside: int = D) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, 16), nn.Tanh(), nn.Linear(16, E))


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = tower(), tower()
        self.log_scale, self.bias = nn.Parameter(torch.tensor(2.6592)), nn.Parameter(torch.tensor(-5.0))


class Joint:
    def targets(self, model: Any, view: Rows) -> tuple[Tensor, ...]:
        return ()

    def loss(self, model: Any, view: Rows) -> Tensor:
        return self.joint_loss(model, self.embed(model, view), (), view.keys_B)  # type: ignore[attr-defined]


class Clip(Joint):
    """Two towers on two halves of a row; the scale learned and clamped after each step."""

    module = Pairs

    def embed(self, model: Any, view: Rows) -> tuple[Tensor, ...]:
        return model.image(view.x[:, 0]), model.text(view.x[:, 1])

    def joint_loss(self, model: Any, embedded: Any, targets: Any, keys_B: Tensor) -> Tensor:
        return losses.clip(*embedded, model.log_scale.exp())

    def after_step(self, model: Any) -> None:
        model.log_scale.clamp_(0, np.log(100))


class Siglip(Clip):
    def joint_loss(self, model: Any, embedded: Any, targets: Any, keys_B: Tensor) -> Tensor:
        return losses.siglip(*embedded, model.log_scale.exp(), model.bias)


class Negatives(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = tower()
        self.register_buffer("queue", torch.randn(9, D))


class InfoNCE:
    """Queries and keys of a row, negatives from a queue that all parts share."""

    module = Negatives

    def terms(self, view: Rows) -> int:
        return len(view)

    def loss(self, model: Any, view: Rows) -> Tensor:
        return losses.info_nce(model.image(view.x[:, 0]), model.image(view.x[:, 1]), model.image(model.queue), 0.1)

    def after_step(self, model: Any) -> None:
        model.queue.mul_(0.99)


class Triplet(InfoNCE):
    def loss(self, model: Any, view: Rows) -> Tensor:
        anchor, positive, negative = (model.image(view.x[:, n]) for n in range(3))
        return losses.triplet(anchor, positive, negative, 0.3)


class Speech(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.context = nn.Linear(D, 16), nn.Sequential(nn.Tanh(), nn.Linear(16, E))
        self.choose = nn.Linear(16, G * V)
        self.codebook_GVE = nn.Parameter(torch.randn(G, V, E // G))
        self.register_buffer("temperature", torch.tensor(START))


class Wav2Vec2(Joint):
    """Masked frames of each utterance, as many as its key says (one in some); noise of the codebook keyed as well."""

    module = Speech

    def embed(self, model: Any, view: Rows) -> tuple[Tensor, ...]:
        words = view.keys_B.numpy().view(np.uint64)
        u_BU = torch.from_numpy(uniforms(words, 2 * T + T * G * V + T * K))
        masked_BT = u_BU[:, :T] < u_BU[:, T : T + 1] * 0.9
        masked_BT[:, 0] |= ~masked_BT.any(1)
        features = model.features(view.x)
        context = model.context(features.masked_fill(masked_BT[..., None], 0) + features.mean(1, keepdim=True))
        noise = -torch.log(-torch.log(u_BU[:, 2 * T : 2 * T + T * G * V].clamp(1e-9, 1 - 1e-9))).view(-1, T, G, V)
        logits = model.choose(features).unflatten(-1, (G, V))
        soft = F.softmax((logits + noise.to(logits.dtype)) / model.temperature, -1)
        quantised = torch.einsum("btgv,gve->btge", soft, model.codebook_GVE).flatten(2)
        contexts, targets, others = [], [], []
        for row, masked_T in enumerate(masked_BT):
            frames = masked_T.nonzero()[:, 0]
            pick = u_BU[row, -T * K :].view(T, K)[: len(frames)]
            shifts = 1 + (pick * max(1, len(frames) - 1)).long()  # with one frame alone: the target itself
            chosen = frames[(torch.arange(len(frames))[:, None] + shifts) % len(frames)]
            contexts.append(context[row, frames])
            targets.append(quantised[row, frames])
            others.append(quantised[row, chosen])
        probability = F.softmax(logits, -1)[masked_BT]
        return torch.cat(contexts), torch.cat(targets), torch.cat(others), probability, features

    def joint_loss(self, model: Any, embedded: Any, targets: Any, keys_B: Tensor) -> Tensor:
        contrastive, diversity, penalty = losses.wav2vec2(*embedded)
        return contrastive + 0.1 * diversity + 10 * penalty

    def after_step(self, model: Any) -> None:
        model.temperature.copy_((model.temperature * DECAY).clamp(min=END))


TOWERS = {"clip": Clip, "siglip": Siglip, "info_nce": InfoNCE, "triplet": Triplet, "wav2vec2": Wav2Vec2}


def train_all(folder: Path, micro_batch: int | None = None, ranks: Ranks = Ranks()) -> None:
    """Five steps of AdamW in float64 each; the first rank writes what came out."""
    folder.mkdir(exist_ok=True)
    for name, made in TOWERS.items():
        objective = made()
        torch.manual_seed(1)
        model = objective.module().double()
        require_divisible(objective, model, micro_batch, ranks.count)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(STEPS):
            generator = torch.Generator().manual_seed(step)
            shape = (B, T, D) if name == "wav2vec2" else (B, 3, D)
            x = torch.randn(shape, generator=generator, dtype=torch.float64)
            keys = fold(np.arange(B, dtype=np.uint64), step).view(np.int64)
            view = Rows(x, torch.from_numpy(keys)).rows(*ranks.slice(B))
            optimizer.zero_grad(set_to_none=True)
            loss = backward(objective, model, view, micro_batch=micro_batch, ranks=ranks)
            ranks.reduce(model, loss, False)
            optimizer.step()
            with torch.no_grad():
                objective.after_step(model)
        if ranks.first:
            save_file(model.state_dict(), folder / f"{name}.safetensors")
