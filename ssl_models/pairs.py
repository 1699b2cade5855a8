"""Pictures with their captions from shards, a batch after the other; the stream's whole state is its position.

Legend: B pairs, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_models.images import ImageBatch, ImageStream
from ssl_models.keys import sample_words


@dataclass(frozen=True)
class PairBatch:
    """The pictures, and int64 [B, T] token ids and [B] captions (a hash of the text) beside them."""

    pictures: ImageBatch
    ids_BT: Tensor
    captions_B: Tensor

    @property
    def tokens(self) -> int:
        """Pairs of all ranks together."""
        return self.pictures.tokens

    cells = tokens

    @property
    def read(self) -> int:
        return self.pictures.read


class PairStream(ImageStream):
    """`ImageStream` with each picture's caption, from the member ``txt``. `tokenize`: texts -> int64 [B, T]."""

    def __init__(self, *arguments: Any, tokenize: Callable[[list[str]], Tensor], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.tokenize = tokenize

    def __next__(self) -> PairBatch:  # type: ignore[override]
        begin, end = (self.reader.position + n for n in self.part)
        pictures = super().__next__()
        texts = []
        for position in range(begin, end):
            try:
                texts.append(self.reader.payload(position, "txt").decode())
            except UnicodeDecodeError as error:
                key = self.reader.index.keys[self.reader.sample_at(position)[0]]
                raise ValueError(f"the caption of sample {key} is no UTF-8") from error
        words = torch.from_numpy(sample_words(texts).view("int64").copy())
        return PairBatch(pictures, self.tokenize(texts), words)
