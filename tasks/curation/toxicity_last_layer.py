"""The last layer of a BERT classifier, for its first token alone.

The heads of BERT and RoBERTa read the first token and nothing else. So of all others the last layer needs only keys
and values: one layer's queries, output and feed-forward network are saved, a seventh of the work in a model of six.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class FirstTokenLayer(nn.Module):
    """A layer of BERT's or RoBERTa's whose output is the first token's: (B, L, D) -> (B, 1, D). For inference."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, hidden_BLD: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        """`attention_mask`: what transformers gives to scaled dot-product attention, (B, 1, 1 or L, L), or None."""
        attention = self.layer.attention.self
        first_B1D = hidden_BLD[:, :1]

        def heads(linear: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
            return linear(tokens).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)

        attended = nn.functional.scaled_dot_product_attention(
            heads(attention.query, first_B1D),
            heads(attention.key, hidden_BLD),
            heads(attention.value, hidden_BLD),
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
        )
        output_B1D = self.layer.attention.output(attended.transpose(1, 2).flatten(-2), first_B1D)
        return self.layer.feed_forward_chunk(output_B1D)


def first_token_only(model: Any) -> Any:
    """`model` with such a last layer in place; as it is when it is of another kind (ALBERT shares its layers)."""
    from transformers.models.bert.modeling_bert import BertForSequenceClassification
    from transformers.models.roberta.modeling_roberta import RobertaForSequenceClassification
    from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaForSequenceClassification

    kinds = (BertForSequenceClassification, RobertaForSequenceClassification, XLMRobertaForSequenceClassification)
    # The very types: a subclass may read more than the first token.
    if type(model) not in kinds or model.config._attn_implementation != "sdpa" or model.config.is_decoder:
        return model
    layers = model.base_model.encoder.layer
    layers[-1] = FirstTokenLayer(layers[-1])
    return model
