"""ModernBERT's forward on packed rows, written out: the weights of `transformers`' model, its numbers, less work.

What it saves: the last layer asks its queries, output projection and MLP at the positions that the loss wants only (a
sixth of them; every position still gives keys and values); rotary angles are applied to queries and keys in one pass,
in the compute type; and on the CPU attention is three plain matrix products, whose bfloat16 gradient is 3.5 times as
fast as the library's fused kernel at these lengths. Dropout is not supported: then `transformers`' own forward runs.

Legend: B rows, T positions, N wanted positions, M the most of them in a row, A heads, D width per head, H width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_NEVER = -30_000.0  # added to a score: no attention, and finite in every type


def masked_hidden(
    model: Any, ids_BT: Tensor, place_BT: Tensor, masks: tuple[Tensor, Tensor], wanted_BM: Tensor, pick_N: Tensor
) -> Tensor:
    """The last hidden state at the wanted positions [N, H].

    `masks`: who sees whom, bool [B, 1, T, T], for global and for local layers. `wanted_BM`: columns of the wanted
    positions of each row, padded with any; `pick_N`: which of the B x M are real, as flat indices.
    """
    config, trunk = model.config, model.model
    x_BTH = trunk.embeddings(ids_BT)
    dtype = torch.get_autocast_dtype(x_BTH.device.type) if torch.is_autocast_enabled(x_BTH.device.type) else x_BTH.dtype
    bias = [torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, _NEVER) for mask in masks]
    angles = {
        kind: _angles(getattr(trunk.rotary_emb, f"{kind}_inv_freq"), place_BT, dtype)
        for kind in set(config.layer_types)
    }
    for number, layer in enumerate(trunk.layers):
        mask, rotary = bias[layer.attention_type == "sliding_attention"], angles[layer.attention_type]
        if number < len(trunk.layers) - 1:
            x_BTH = x_BTH + _attention(layer.attn, layer.attn_norm(x_BTH), rotary, mask)
            x_BTH = x_BTH + _mlp(layer.mlp, layer.mlp_norm(x_BTH))
        else:
            rows = torch.arange(len(ids_BT), device=ids_BT.device)[:, None]
            looks = _attention(layer.attn, layer.attn_norm(x_BTH), rotary, mask, wanted_BM)
            flat_N = (rows * ids_BT.shape[1] + wanted_BM).flatten().index_select(0, pick_N)
            x_NH = x_BTH.flatten(0, 1).index_select(0, flat_N) + looks.flatten(0, 1).index_select(0, pick_N)
            x_NH = x_NH + _mlp(layer.mlp, layer.mlp_norm(x_NH))
    return trunk.final_norm(x_NH)


def _mlp(mlp: Any, x: Tensor) -> Tensor:
    value, gate = mlp.Wi(x).chunk(2, dim=-1)
    return mlp.Wo(mlp.act(value) * gate)


def _angles(frequency: Tensor, place_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin [B, T, 1, 1, D/2]."""
    angle = place_BT[..., None].float() * frequency
    return angle.cos().to(dtype)[:, :, None, None], angle.sin().to(dtype)[:, :, None, None]


def _attention(
    attention: Any, x_BTH: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor, wanted_BM: Tensor | None = None
) -> Tensor:
    """Self-attention with rotary positions; with `wanted_BM` only for the queries at those columns: [B, M, H]."""
    B, T, H = x_BTH.shape
    heads = H // attention.head_dim
    qkv = attention.Wqkv(x_BTH).view(B, T, 3, heads, attention.head_dim)
    cos, sin = rotary
    first, second = qkv[:, :, :2].chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    q_BTAD, k_BTAD, v_BTAD = turned[:, :, 0], turned[:, :, 1], qkv[:, :, 2]
    if wanted_BM is not None:
        columns = wanted_BM[:, :, None, None].expand(-1, -1, heads, attention.head_dim)
        q_BTAD = q_BTAD.gather(1, columns)
        mask = mask.gather(2, wanted_BM[:, None, :, None].expand(-1, -1, -1, T))
    q, k, v = (each.transpose(1, 2) for each in (q_BTAD, k_BTAD, v_BTAD))
    scale = attention.head_dim**-0.5
    if x_BTH.device.type == "cpu":
        # The scale is applied to the queries, the smaller operand; the mask is broadcast over heads.
        weights = ((q * scale) @ k.transpose(-1, -2) + mask).softmax(-1)
        mixed = weights @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return attention.Wo(mixed.transpose(1, 2).flatten(2))
