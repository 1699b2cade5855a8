"""Image encoders from `timm` and `transformers`: pooled features out, and saved as those libraries open them.

Legend: B images, C channels, S pixels a side, F features.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_models.image_config import ImageEncoder
from ssl_models.keys import stream


def build_image_encoder(config: ImageEncoder, seed: int) -> nn.Module:
    """The backbone, initialised by (seed, "weights") as its library does. ValueError for an unknown one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("weights", seed))
        if config.architecture == "timm":
            import timm

            try:
                return timm.create_model(config.model, num_classes=0, in_chans=config.channels, **config.options)
            except (RuntimeError, TypeError) as error:
                raise ValueError(f"encoder.model {config.model}: {error}") from error
        from transformers import ViTModel

        return ViTModel(vit_config(config), add_pooling_layer=False)


def vit_config(config: ImageEncoder) -> Any:
    from transformers import ViTConfig

    return ViTConfig(
        image_size=config.image_size,
        patch_size=config.patch,
        num_channels=config.channels,
        num_hidden_layers=config.layers,
        hidden_size=config.width,
        num_attention_heads=config.heads,
        intermediate_size=4 * config.width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def features(encoder: Any, pixels_BCSS: Tensor) -> Tensor:
    """Pooled features [B, F]: timm's own pooling, or a vision transformer's mean over patches."""
    if not hasattr(encoder, "config"):
        return encoder(pixels_BCSS)
    return encoder(pixels_BCSS).last_hidden_state[:, 1:].mean(1)


def width_of(encoder: Any) -> int:
    return encoder.config.hidden_size if hasattr(encoder, "config") else encoder.num_features


def save_image_encoder(encoder: Any, config: ImageEncoder, folder: Path) -> None:
    """`timm`: config.json and model.safetensors, as ``timm.create_model("local-dir:FOLDER")`` opens; else a ViTModel.

    preprocessor_config.json says the size and scale of pixels, as ``AutoImageProcessor`` reads it.
    """
    from safetensors.torch import save_file
    from transformers import ViTImageProcessor

    if config.architecture == "timm":
        weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        half = [0.5] * config.channels
        sides = [config.channels, config.image_size, config.image_size]
        described = {
            "architecture": config.model,
            "num_classes": 0,
            "num_features": encoder.num_features,
            "model_args": {"in_chans": config.channels, "num_classes": 0, **config.options},
            "pretrained_cfg": {"input_size": sides, "mean": half, "std": half, "num_classes": 0},
        }
        (folder / "config.json").write_text(json.dumps(described, indent=1, sort_keys=True) + "\n")
    else:
        encoder.save_pretrained(folder)
    size = {"height": config.image_size, "width": config.image_size}
    half = [0.5] * config.channels
    ViTImageProcessor(size=size, image_mean=half, image_std=half).save_pretrained(folder)


def open_image_encoder(folder: Path) -> nn.Module:
    """What `save_image_encoder` wrote, in evaluation mode. ValueError without safetensors: nothing else is opened."""
    if not (folder / "model.safetensors").is_file():  # both libraries would look for a pickle instead
        raise ValueError(f"{folder} holds no model.safetensors")
    described = json.loads((folder / "config.json").read_text())
    if "architecture" in described:
        import timm

        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    from transformers import ViTModel

    return ViTModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, add_pooling_layer=False).eval()
