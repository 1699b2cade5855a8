"""What the image methods share: an encoder with a projector, and views drawn for a batch.

Legend: V views, B images, C channels, S pixels a side, D projected dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_models.image_config import Augment, ImageEncoder, Photo
from ssl_models.image_encoders import build_image_encoder, features, width_of
from ssl_models.images import ImageBatch
from ssl_models.keys import stream
from ssl_models.views.augment import augment, normalise_
from ssl_models.views.parameters import view_keys
from ssl_models.views.photo import Crops, multi_crop


@dataclass(frozen=True)
class Views:
    """`pixels` [V, B, C, S, S], as an encoder takes them; `keys` uint64-as-int64 [B], one a sample and epoch."""

    pixels_VBCSS: Tensor
    keys_B: Tensor

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Views:
        pixels = self.pixels_VBCSS.to(device, dtype, non_blocking=True)
        return Views(pixels, self.keys_B.to(device, non_blocking=True))

    def __len__(self) -> int:
        return len(self.keys_B)

    def rows(self, begin: int, end: int) -> Views:
        return Views(self.pixels_VBCSS[:, begin:end], self.keys_B[begin:end])


def draw_views(
    batch: ImageBatch, rule: Augment | Photo, size: int, seed: int, large: int, small: int = 0, small_low: float = 0.3
) -> Views:
    """`large` views of the rule's crop, then `small` ones of `small_low` up to it. No view depends on its batch."""
    keys = [view_keys(batch.words_B, batch.epochs_B, view, seed) for view in range(large + small)]
    low = min(small_low, rule.crop_low)
    if isinstance(rule, Photo):
        crops = [Crops(large, size, rule.crop_low)] + [Crops(small, size, low, rule.crop_low)] * bool(small)
        drawn = torch.cat(multi_crop(batch.images, batch.words_B, batch.epochs_B, rule, crops, seed))
    else:
        drawn = torch.empty(large + small, len(batch.images), batch.images[0].shape[0], size, size)
        for rows, pixels_BCHW in batch.by_shape():
            for view, keys_B in enumerate(keys):
                crop = None if view < large else (low, rule.crop_low)
                drawn[view, rows] = augment(pixels_BCHW, keys_B[rows], rule, size, crop)
    return Views(normalise_(drawn), torch.from_numpy(keys[0].view("int64")))


class Projected(nn.Module):
    """An encoder and the MLP after it, through which its loss looks: F -> hidden -> D, BatchNorm and ReLU between."""

    def __init__(self, encoder: nn.Module, hidden: int, projection: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = mlp(width_of(encoder), hidden, projection)

    def forward(self, pixels_BCSS: Tensor) -> Tensor:
        return self.projector(features(self.encoder, pixels_BCSS))


def mlp(inside: int, hidden: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inside, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outside)
    )


class Method(ABC):
    """What the loop asks of a method on images. One forward over all views of a batch: BatchNorm sees them together."""

    def __init__(self, config: Any, encoder: ImageEncoder, seed: int, steps: int) -> None:
        self.config, self.encoder, self.seed, self.steps = config, encoder, seed, steps

    def build(self) -> nn.Module:
        """The module that is trained, initialised by the seed alone."""
        encoder = build_image_encoder(self.encoder, self.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream("heads", self.seed))
            return self.module(encoder)

    def module(self, encoder: nn.Module) -> nn.Module:
        return Projected(encoder, self.config.hidden, self.config.projection)

    def view(self, batch: ImageBatch) -> Views:
        return draw_views(batch, self.config.augment, self.encoder.image_size, self.seed, 2)

    @abstractmethod
    def loss(self, model: Any, view: Views) -> Tensor:
        """The scalar that is minimised, for one batch's views."""

    def after_step(self, model: Any, step: int) -> None:  # noqa: B027 - a hook that most methods leave alone
        """Once an optimizer step, whatever the number of micro-batches: teachers and centres move here."""

    def trained_encoder(self, model: Any) -> nn.Module:
        """What is saved and evaluated."""
        return model.encoder


class JointMethod(Method):
    """A method whose loss compares the images of a batch: a part of each image alone, then one of all of them.

    The projector stands in the second part: its BatchNorm sees the whole batch, however that was cut.
    """

    def embed(self, model: Any, view: Views) -> tuple[Tensor, ...]:
        """[B, V, F] features: rows of images first, so that parts of a batch can be put together."""
        return (encode(model.encoder, view),)

    def targets(self, model: Any, view: Views) -> tuple[Tensor, ...]:
        """What a teacher makes of the views, in the same form, without gradient."""
        return ()

    @abstractmethod
    def joint_loss(
        self, model: Any, embedded: tuple[Tensor, ...], targets: tuple[Tensor, ...], keys_B: Tensor
    ) -> Tensor:
        """The loss of a whole batch from its images' features."""

    def loss(self, model: Any, view: Views) -> Tensor:
        with torch.no_grad():
            targets = self.targets(model, view)
        return self.joint_loss(model, self.embed(model, view), targets, view.keys_B)

    def rowwise(self, model: Any) -> nn.Module:
        """The module below `embed`: what may not mix rows."""
        return model.encoder


def encode(encoder: nn.Module, view: Views) -> Tensor:
    """[B, V, F] of all views in one forward."""
    V, B = view.pixels_VBCSS.shape[:2]
    return features(encoder, view.pixels_VBCSS.flatten(0, 1)).unflatten(0, (V, B)).transpose(0, 1)


def project(head: nn.Module, features_BVF: Tensor) -> Tensor:
    """[V, B, D] of a head over all views together."""
    B, V = features_BVF.shape[:2]
    return head(features_BVF.transpose(0, 1).flatten(0, 1)).unflatten(0, (V, B))
