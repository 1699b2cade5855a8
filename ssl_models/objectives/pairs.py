"""What CLIP and SigLIP share: a picture's view with its caption's tokens, and two towers.

Legend: B pairs, C channels, S pixels a side, T tokens, D dimensions.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_models.objectives.joint import JointMethod, draw_views
from ssl_models.pair_config import PairEncoder
from ssl_models.pair_encoders import build_pair_encoder, image_embeddings, text_embeddings
from ssl_models.pairs import PairBatch

MAXIMUM_SCALE = 100.0  # CLIP's own bound: above it training is not stable


@dataclass(frozen=True)
class PairView:
    """`pixels` [B, C, S, S] of one view a picture, `ids` int64 [B, T], `captions` int64 [B]: equal for equal texts."""

    pixels_BCSS: Tensor
    ids_BT: Tensor
    captions_B: Tensor
    keys_B: Tensor

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> PairView:
        rest = (x.to(device, non_blocking=True) for x in (self.ids_BT, self.captions_B, self.keys_B))
        return PairView(self.pixels_BCSS.to(device, dtype, non_blocking=True), *rest)

    def __len__(self) -> int:
        return len(self.keys_B)

    def rows(self, begin: int, end: int) -> PairView:
        parts = (self.pixels_BCSS, self.ids_BT, self.captions_B, self.keys_B)
        return PairView(*(part[begin:end] for part in parts))


class PairMethod(JointMethod):
    """One view of each picture against all captions of the batch. Two pairs of one caption are no negatives."""

    def __init__(self, config: Any, encoder: PairEncoder, seed: int, vocabulary: int, special: dict[str, int]) -> None:
        self.config, self.towers, self.seed = config, encoder, seed
        self.vocabulary, self.special = vocabulary, special

    def build(self) -> nn.Module:
        return build_pair_encoder(self.towers, self.config, self.vocabulary, self.special, self.seed)

    def view(self, batch: PairBatch) -> PairView:  # type: ignore[override]
        drawn = draw_views(batch.pictures, self.config.augment, self.towers.image_size, self.seed, 1)
        return PairView(drawn.pixels_VBCSS[0], batch.ids_BT, batch.captions_B, drawn.keys_B)

    def embed(self, model: Any, view: PairView) -> tuple[Tensor, ...]:  # type: ignore[override]
        return image_embeddings(model, view.pixels_BCSS), text_embeddings(model, view.ids_BT)

    def targets(self, model: Any, view: PairView) -> tuple[Tensor, ...]:  # type: ignore[override]
        """No teacher: which captions are equal, so that it is known of the whole batch."""
        return (view.captions_B,)

    def joint_loss(
        self, model: Any, embedded: tuple[Tensor, ...], targets: tuple[Tensor, ...], keys_B: Tensor
    ) -> Tensor:
        return self.pair_loss(model, embedded[0], embedded[1], targets[0])

    @abstractmethod
    def pair_loss(self, model: Any, image_BD: Tensor, text_BD: Tensor, captions_B: Tensor) -> Tensor:
        """The loss of a whole batch."""

    def after_step(self, model: Any, step: int) -> None:
        """The scale stays within 1..100."""
        model.logit_scale.clamp_(0, math.log(MAXIMUM_SCALE))

    def rowwise(self, model: Any) -> nn.Module:
        return model

    def trained_encoder(self, model: Any) -> nn.Module:
        return model
