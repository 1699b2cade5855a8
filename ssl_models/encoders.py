"""Text encoders from `transformers`: from a config or a checkpoint; packed rows in, hidden states out.

What is initialised how: everything as the library does, from a generator seeded by (seed, "weights"). With
`neighbour_heads`, the first layers of a ModernBERT get query and key biases too: under rotary positions a pair of
biases scores a pair of positions by their distance alone, so head h of such a layer starts as a look at offset
-1, +1, -2, +2, ... A randomly initialised transformer spends most of a short run on finding exactly these heads.

Legend: B rows, T positions, N masked positions, H width, V vocabulary.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_models.config import ARCHITECTURES, TextEncoder
from ssl_models.keys import stream
from ssl_models.modernbert import masked_hidden


def build_encoder(
    config: TextEncoder, *, vocabulary: int, special: dict[str, int], seed: int, method: str = "mlm"
) -> nn.Module:
    """A `transformers` masked-language model, or for `method` clm a causal one. `special`: ids of pad, cls, sep.

    ValueError when a checkpoint to continue from is missing, of another digest, or of an unsupported architecture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("weights", seed))
        if config.continue_from:
            return _continue(config, vocabulary, method)
        model = _head(method).from_config(transformers_config(config, vocabulary, special), attn_implementation="sdpa")
    if config.architecture == "modernbert" and config.neighbour_heads:
        look_at_neighbours(model)
    return model


def _head(method: str) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    return AutoModelForCausalLM if method == "clm" else AutoModelForMaskedLM


def transformers_config(config: TextEncoder, vocabulary: int, special: dict[str, int]) -> Any:
    """The `transformers` config of a TextEncoder."""
    from transformers import AutoConfig

    common = {
        "vocab_size": vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "pad_token_id": special["pad"],
        "bos_token_id": special["cls"],
        "eos_token_id": special["sep"],
    }
    if config.architecture == "modernbert":
        theta = {"rope_type": "default", "rope_theta": config.rope_theta}
        return AutoConfig.for_model(
            "modernbert",
            **common,
            cls_token_id=special["cls"],
            sep_token_id=special["sep"],
            # Gated: three matrices instead of two, so 8/3 of the width costs what 4 costs without the gate.
            intermediate_size=config.intermediate or 8 * math.ceil(config.width / 3),
            max_position_embeddings=config.maximum_tokens,
            layer_types=[
                "sliding_attention" if layer % config.global_every else "full_attention"
                for layer in range(config.layers)
            ],
            local_attention=config.window_tokens,
            rope_parameters={"full_attention": dict(theta), "sliding_attention": dict(theta)},
            attention_bias=config.neighbour_heads,
            embedding_dropout=config.dropout,
            mlp_dropout=config.dropout,
            attention_dropout=config.dropout,
        )
    if config.architecture in ARCHITECTURES["clm"]:
        return _decoder_config(config, common)
    offset = special["pad"] + 1 if config.architecture == "roberta" else 0  # RoBERTa counts positions from pad + 1
    return AutoConfig.for_model(
        config.architecture,
        **common,
        intermediate_size=config.intermediate or 4 * config.width,
        max_position_embeddings=config.maximum_tokens + offset,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
    )


def _decoder_config(config: TextEncoder, common: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    if config.architecture == "gpt2":
        return AutoConfig.for_model(
            "gpt2",
            **common,
            n_inner=config.intermediate,
            n_positions=config.maximum_tokens,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
        )
    return AutoConfig.for_model(
        config.architecture,
        **common,
        num_key_value_heads=config.heads,
        head_dim=config.width // config.heads,
        intermediate_size=config.intermediate or 8 * math.ceil(config.width / 3),
        max_position_embeddings=config.maximum_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        attention_dropout=config.dropout,
        tie_word_embeddings=True,
    )


def _continue(config: TextEncoder, vocabulary: int, method: str) -> nn.Module:
    from transformers import AutoConfig

    name = str(config.continue_from)
    try:
        found = AutoConfig.from_pretrained(name)
        if found.model_type not in (supported := ARCHITECTURES[method]):
            raise ValueError(f"{name}: cannot continue from a {found.model_type}; supported: {', '.join(supported)}")
        if config.continue_from_sha256:
            _check_weights(name, config.continue_from_sha256)
        model = _head(method).from_pretrained(name, use_safetensors=True, attn_implementation="sdpa")
    except OSError as error:
        raise ValueError(f"{name}: no checkpoint with config.json and model.safetensors could be read there") from error
    if vocabulary > model.get_input_embeddings().num_embeddings:
        raise ValueError(f"{name}: the tokenizer has {vocabulary} words, more than the checkpoint embeds")
    model.config.dtype = torch.float32
    return model.float()


def maximum_tokens(model: Any) -> int:
    """The longest row that the model has positions for."""
    offset = model.config.pad_token_id + 1 if model.config.model_type == "roberta" else 0
    return model.config.max_position_embeddings - offset


def _check_weights(name: str, expected: str) -> None:
    import hashlib

    from transformers.utils import cached_file

    path = Path(name) / "model.safetensors"
    if not path.is_file():
        path = Path(str(cached_file(name, "model.safetensors")))
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ValueError(f"{name}: model.safetensors has SHA-256 {found}, the recipe pins {expected}")


def attention_masks(segment_BT: Tensor, place_BT: Tensor, half_window: int | None) -> tuple[Tensor, Tensor]:
    """Who may look at whom, bool [B, 1, T, T]: everyone within a segment; and within `half_window` places of it.

    Padding (segment -1) looks at padding, so that no row of a softmax is empty.
    """
    full = (segment_BT[:, None, :, None] == segment_BT[:, None, None, :]).contiguous()
    if half_window is None:
        return full, full
    distance = (place_BT[:, None, :, None] - place_BT[:, None, None, :]).abs()
    return full, full & ((distance <= half_window) | (segment_BT < 0)[:, None, :, None])


def hidden_states(model: Any, ids_BT: Tensor, segment_BT: Tensor, place_BT: Tensor) -> Tensor:
    """The last hidden state [B, T, H] of packed rows: no position sees another segment, places restart in each."""
    kind = model.config.model_type
    if kind == "modernbert":
        local = "sliding_attention" in model.config.layer_types
        full, near = attention_masks(segment_BT, place_BT, model.config.sliding_window if local else None)
        masks = {"full_attention": full, "sliding_attention": near}
        return model.model(ids_BT, attention_mask=masks, position_ids=place_BT).last_hidden_state
    full, _ = attention_masks(segment_BT, place_BT, None)
    if kind in ARCHITECTURES["clm"]:
        # Within a segment places rise with the column, so "not later" is a lower triangle.
        full = full.tril()
        return model.base_model(ids_BT, attention_mask=full, position_ids=place_BT, use_cache=False).last_hidden_state
    if kind == "roberta":
        place_BT = place_BT + model.config.pad_token_id + 1
    return model.base_model(ids_BT, attention_mask=full, position_ids=place_BT).last_hidden_state


def masked_states(
    model: Any, ids_BT: Tensor, segment_BT: Tensor, place_BT: Tensor, where_N: Tensor, wanted_BM: Tensor, pick_N: Tensor
) -> Tensor:
    """The last hidden state [N, H] at flat positions `where_N` of packed rows, by the cheapest way there is.

    `wanted_BM`, `pick_N`: the same positions by row, see ssl_models.modernbert.
    """
    config = model.config
    if config.model_type == "modernbert" and not config.mlp_dropout:
        local = "sliding_attention" in config.layer_types
        masks = attention_masks(segment_BT, place_BT, config.sliding_window if local else None)
        return masked_hidden(model, ids_BT, place_BT, masks, wanted_BM, pick_N)
    return hidden_states(model, ids_BT, segment_BT, place_BT).flatten(0, 1).index_select(0, where_N)


def vocabulary_logits(model: Any, hidden_NH: Tensor) -> Tensor:
    """Logits [N, V] of the model's own language head at the given positions only."""
    kind = model.config.model_type
    if kind == "modernbert":
        return model.decoder(model.head(hidden_NH))
    return model.cls(hidden_NH) if kind == "bert" else model.lm_head(hidden_NH)  # RoBERTa and all decoders


@torch.no_grad()
def look_at_neighbours(model: Any, peak: float = 4.0) -> None:
    """Set query and key biases of the first half of the layers so that their heads attend by offset.

    Rotary positions turn each pair of coordinates by place times its frequency w, so biases q = a(cos o w, sin o w) and
    k = a(1, 0) score positions m, n by a^2 cos((n - m - o) w): highest at offset o. The amplitudes a make the sum over
    the fast frequencies lead its neighbours by `peak` nats. The first layer looks with all its heads, the others with
    half of them.
    """
    config = model.config
    size = config.hidden_size // config.num_attention_heads
    half = size // 2
    for number, layer in enumerate(model.model.layers[: max(1, (config.num_hidden_layers + 1) // 2)]):
        theta = config.rope_parameters[config.layer_types[number]]["rope_theta"]
        w = 1.0 / theta ** (torch.arange(half, dtype=torch.float64) / half)
        weight = w  # the fast frequencies tell neighbours apart
        lead = (weight * (1 - torch.cos(w))).sum() / math.sqrt(size)
        a = torch.sqrt(weight * peak / lead)
        bias = layer.attn.Wqkv.bias.view(3, config.num_attention_heads, size)
        heads = config.num_attention_heads if number == 0 else config.num_attention_heads // 2
        for head in range(heads):
            offset = (head // 2 + 1) * (1 if head % 2 else -1)
            angle = offset * w
            bias[0, head] = torch.cat([a * torch.cos(angle), a * torch.sin(angle)]).float()
            bias[1, head] = torch.cat([a, torch.zeros_like(a)]).float()
