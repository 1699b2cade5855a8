"""CLIP's and SigLIP's two towers from `transformers`, and what they make of pixels and of token ids.

Legend: B pairs, C channels, S pixels a side, T tokens, D dimensions.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_models.keys import stream
from ssl_models.pair_config import CLIP, PairEncoder, SigLIP


def build_pair_encoder(
    config: PairEncoder, method: CLIP | SigLIP, vocabulary: int, special: dict[str, int], seed: int
) -> Any:
    """A CLIPModel or SiglipModel, initialised by (seed, "weights"), its scale (and bias) as `method` says.

    ValueError where the tokenizer's end token is 2: CLIPModel then takes the highest id for the end.
    """
    if config.architecture == "clip" and special["sep"] == 2:
        raise ValueError("the tokenizer's end token may not have the id 2: CLIPModel gives that a meaning of its own")
    shape = {
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "num_attention_heads": config.heads,
        "attention_dropout": 0.0,
    }
    vision = shape | {
        "num_hidden_layers": config.layers,
        "image_size": config.image_size,
        "patch_size": config.patch,
        "num_channels": config.channels,
    }
    text = shape | {
        "num_hidden_layers": config.text_layers,
        "vocab_size": vocabulary,
        "max_position_embeddings": config.maximum_tokens,
        "pad_token_id": special["pad"],
        "bos_token_id": special["cls"],
        "eos_token_id": special["sep"],
    }
    scale = math.log(method.initial_scale)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("weights", seed))
        if config.architecture == "clip":
            from transformers import CLIPConfig, CLIPModel

            towers: dict[str, Any] = {"text_config": text, "vision_config": vision, "projection_dim": config.projection}
            model: Any = CLIPModel(CLIPConfig(**towers, logit_scale_init_value=scale))
        else:
            from transformers import SiglipConfig, SiglipModel

            model = SiglipModel(
                SiglipConfig(text_config=text | {"projection_size": config.width}, vision_config=vision)
            )
    with torch.no_grad():
        model.logit_scale.fill_(scale)
        if isinstance(method, SigLIP):
            model.logit_bias.fill_(method.initial_bias)
    return model


def image_embeddings(model: Any, pixels_BCSS: Tensor) -> Tensor:
    """[B, D], not normalised."""
    return model.get_image_features(pixel_values=pixels_BCSS).pooler_output


def text_embeddings(model: Any, ids_BT: Tensor) -> Tensor:
    """[B, D], not normalised. Neither tower wants a mask: what follows the end is not seen, or padded everywhere."""
    return model.get_text_features(input_ids=ids_BT).pooler_output


def token_ids(tokenizer: Any, texts: list[str], special: dict[str, int], length: int) -> Tensor:
    """int64 [B, T]: begin, the text's tokens, end, padding; of a longer text the beginning."""
    ids = torch.full((len(texts), length), special["pad"], dtype=torch.long)
    for row, encoded in enumerate(tokenizer.encode_batch_fast(texts, add_special_tokens=False)):
        held = [special["cls"], *encoded.ids[: length - 2], special["sep"]]
        ids[row, : len(held)] = torch.tensor(held)
    return ids


def open_pair_encoder(folder: Path) -> nn.Module:
    """What a run on pairs saved, in evaluation mode. ValueError without safetensors: nothing else is opened."""
    from transformers import AutoModel

    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} holds no model.safetensors")
    return AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
