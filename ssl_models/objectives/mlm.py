"""Masked language modelling: BERT's objective on packed rows, logits at the masked positions only.

The head costs width x vocabulary a position; at 15 % it runs on 15 % of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_models.config import MaskedLanguageModelling
from ssl_models.encoders import masked_states, vocabulary_logits
from ssl_models.losses import masked_cross_entropy
from ssl_models.packing import Batch
from ssl_models.views.masking import Vocabulary, mask_batch, segment_keys


@dataclass(frozen=True)
class View:
    """What one step sees: ids, segment, place [B, T] int64; flat positions `where` [N] with their `targets` [N].

    The same positions by row: `wanted` [B, M] columns, padded with the first; `pick` [N] the real ones of B x M, flat.
    """

    ids_BT: Tensor
    segment_BT: Tensor
    place_BT: Tensor
    where_N: Tensor
    targets_N: Tensor
    wanted_BM: Tensor
    pick_N: Tensor

    def to(self, device: torch.device) -> View:
        move = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return View(**move)

    def __len__(self) -> int:
        return len(self.ids_BT)

    def rows(self, begin: int, end: int) -> View:
        """Rows begin..end, as their own batch."""
        length, slots = self.ids_BT.shape[1], self.wanted_BM.shape[1]
        edges = torch.tensor([begin * length, end * length], device=self.where_N.device)
        first, last = torch.searchsorted(self.where_N, edges).tolist()
        return View(
            self.ids_BT[begin:end],
            self.segment_BT[begin:end],
            self.place_BT[begin:end],
            self.where_N[first:last] - begin * length,
            self.targets_N[first:last],
            self.wanted_BM[begin:end],
            self.pick_N[first:last] - begin * slots,
        )


@dataclass(frozen=True)
class MaskedLanguageObjective:
    """`view` draws the masks of a batch (on the CPU, keyed); `loss` is the mean cross-entropy over them."""

    config: MaskedLanguageModelling
    vocabulary: Vocabulary
    seed: int

    def view(self, batch: Batch) -> View:
        keys_S = segment_keys(batch.words_S, batch.epochs_S, batch.chunks_S, self.seed)
        corrupted, selected = mask_batch(batch.ids_BT, batch.segment_BT, keys_S, self.vocabulary, self.config)
        row_N, column_N = np.nonzero(selected)
        count_B = selected.sum(1)
        slot_N = np.arange(len(row_N)) - (np.cumsum(count_B) - count_B)[row_N]
        wanted = np.zeros((len(selected), max(1, count_B.max())), np.int64)
        wanted[row_N, slot_N] = column_N
        where = row_N * selected.shape[1] + column_N
        arrays = (
            corrupted,
            batch.segment_BT,
            batch.place_BT,
            where,
            batch.ids_BT.ravel()[where],
            wanted,
            row_N * wanted.shape[1] + slot_N,
        )
        return View(*(torch.from_numpy(array) for array in arrays))

    def terms(self, view: View) -> int:
        """The loss is a mean over masked tokens."""
        return len(view.targets_N)

    def loss(self, model: Any, view: View) -> Tensor:
        hidden_NH = masked_states(
            model, view.ids_BT, view.segment_BT, view.place_BT, view.where_N, view.wanted_BM, view.pick_N
        )
        return masked_cross_entropy(vocabulary_logits(model, hidden_NH), view.targets_N)
