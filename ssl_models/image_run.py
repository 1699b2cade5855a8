"""An image run's parts: shards of images, views, a method; the folder and the loop are those of every run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_models.config import TrainSpec
from ssl_models.image_config import ImageEncoder
from ssl_models.image_encoders import save_image_encoder
from ssl_models.images import ImageBatch, ImageStream
from ssl_models.members import IMAGES, member_of
from ssl_models.objectives import build_image_method
from ssl_models.objectives.joint import Views
from ssl_models.pair_config import PairEncoder
from ssl_models.ranks import Ranks
from ssl_models.reader import Index, open_reader
from ssl_models.run import Run


class ImageRun(Run):
    """`packer` is the stream of batches: its position is its state."""

    objective: Any
    packer: Any

    def _open(self) -> None:
        spec = self.spec
        assert isinstance(spec.encoder, ImageEncoder)
        corpus = Path(spec.corpus.folder)
        self.index = Index(corpus, "train", member_of(corpus, IMAGES))
        self.objective = build_image_method(spec.objective, spec.encoder, spec.train.seed, spec.train.steps)
        self.reader = open_reader(self.index, spec.train)
        self.packer = ImageStream(
            self.reader,
            rows=spec.train.batch,
            channels=spec.encoder.channels,
            side=smallest_side(spec.objective, spec.encoder),
            part=self.ranks.slice(spec.train.batch),
        )

    def view(self, batch: ImageBatch) -> Views:
        """Of this rank's images: the stream read no others."""
        view = self.objective.view(batch)
        return view.to(torch.device("cpu"), torch.float64) if self.spec.train.precision == "float64" else view

    def build_model(self) -> nn.Module:
        return self.objective.build()

    def after_step(self, model: nn.Module, step: int) -> None:
        with torch.no_grad():
            self.objective.after_step(model, step)

    def save_encoder(self, model: nn.Module, temporary: Path) -> None:
        assert isinstance(self.spec.encoder, ImageEncoder)
        save_image_encoder(self.objective.trained_encoder(model), self.spec.encoder, temporary)


def smallest_side(objective: Any, encoder: ImageEncoder) -> int:
    """Pixels of a source's shorter side from which even the smallest crop, of a square source, fills its view."""
    low = min(objective.augment.crop_low, getattr(objective, "small_crop_low", 1.0))
    return math.ceil(encoder.image_size / math.sqrt(low))


def open_run(spec: TrainSpec, ranks: Ranks = Ranks()) -> Run:
    """The run of the spec's modality, as this rank sees it."""
    if isinstance(spec.encoder, PairEncoder):
        from ssl_models.pair_run import PairRun

        return PairRun(spec, ranks)
    return ImageRun(spec, ranks) if isinstance(spec.encoder, ImageEncoder) else Run(spec, ranks)
