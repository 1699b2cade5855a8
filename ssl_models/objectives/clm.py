"""Causal language modelling: GPT's objective on packed rows, where no document sees or predicts another.

Attention is masked by document, not only the positions reset: positions alone leak. Each document stands between [CLS],
which predicts its first token, and [SEP], which ends it; a chunk that fills a row says nothing about its document's
end, so that [SEP] is no target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_models.config import CausalLanguageModelling
from ssl_models.encoders import hidden_states, vocabulary_logits
from ssl_models.losses import masked_cross_entropy
from ssl_models.packing import Batch


@dataclass(frozen=True)
class View:
    """ids, segment, place [B, T] int64; flat positions `where` [N] that predict the `targets` [N] after them."""

    ids_BT: Tensor
    segment_BT: Tensor
    place_BT: Tensor
    where_N: Tensor
    targets_N: Tensor

    def to(self, device: torch.device) -> View:
        return View(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})

    def __len__(self) -> int:
        return len(self.ids_BT)

    def rows(self, begin: int, end: int) -> View:
        """Rows begin..end, as their own batch."""
        length = self.ids_BT.shape[1]
        edges = torch.tensor([begin * length, end * length], device=self.where_N.device)
        first, last = torch.searchsorted(self.where_N, edges).tolist()
        return View(
            self.ids_BT[begin:end],
            self.segment_BT[begin:end],
            self.place_BT[begin:end],
            self.where_N[first:last] - begin * length,
            self.targets_N[first:last],
        )


@dataclass(frozen=True)
class CausalLanguageObjective:
    """`loss`: the mean cross-entropy over all targets of the batch, as `losses.next_token_cross_entropy` defines it."""

    config: CausalLanguageModelling

    def view(self, batch: Batch) -> View:
        segment, length = batch.segment_BT, batch.segment_BT.shape[1]
        predicts = (segment[:, 1:] == segment[:, :-1]) & (segment[:, 1:] >= 0) & (batch.place_BT[:, 1:] < length - 1)
        row_N, column_N = np.nonzero(predicts)
        where = row_N * length + column_N
        arrays = (batch.ids_BT, segment, batch.place_BT, where, batch.ids_BT.ravel()[where + 1])
        return View(*(torch.from_numpy(array) for array in arrays))

    def terms(self, view: View) -> int:
        """The loss is a mean over predicted tokens."""
        return len(view.targets_N)

    def loss(self, model: Any, view: View) -> Tensor:
        hidden_BTH = hidden_states(model, view.ids_BT, view.segment_BT, view.place_BT)
        hidden_NH = hidden_BTH.flatten(0, 1).index_select(0, view.where_N)
        return masked_cross_entropy(vocabulary_logits(model, hidden_NH), view.targets_N)
