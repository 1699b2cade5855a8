"""MAE: paint the hidden three quarters of an image from the rest (arXiv 2111.06377), by `transformers`' ViTMAE.

Which patches are hidden is a function of (seed, epoch, sample). The encoder is saved as a plain ViT: it hides nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_models.image_encoders import vit_config
from ssl_models.images import ImageBatch
from ssl_models.keys import fold, stream
from ssl_models.losses import mae
from ssl_models.objectives.joint import Method, Views, draw_views
from ssl_models.views.parameters import uniforms


class MAEMethod(Method):
    def build(self) -> nn.Module:
        from transformers import ViTMAEConfig, ViTMAEForPreTraining

        c, e = self.config, self.encoder
        config = ViTMAEConfig(
            **{key: value for key, value in vit_config(e).to_dict().items() if key in _SHARED},
            mask_ratio=c.mask_ratio,
            norm_pix_loss=c.normalise,
            decoder_hidden_size=c.decoder_width,
            decoder_num_hidden_layers=c.decoder_layers,
            decoder_num_attention_heads=c.decoder_heads,
            decoder_intermediate_size=4 * c.decoder_width,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream("weights", self.seed))
            return with_positions(ViTMAEForPreTraining(config))

    def view(self, batch: ImageBatch) -> Views:
        return draw_views(batch, self.config.augment, self.encoder.image_size, self.seed, 1)

    def noise(self, keys_B: Tensor) -> Tensor:
        """[B, L]: the patches with the largest values are hidden."""
        patches = (self.encoder.image_size // self.encoder.patch) ** 2
        words = fold(keys_B.cpu().numpy().view(np.uint64), stream("hide"))
        return torch.from_numpy(uniforms(words, patches)).float()

    def loss(self, model: Any, view: Views) -> Tensor:
        pixels = view.pixels_VBCSS[0]
        output = model(pixels, noise=self.noise(view.keys_B).to(pixels.device))
        return mae(output.logits, model.patchify(pixels), output.mask, self.config.normalise)

    def terms(self, view: Views) -> int:
        """The loss is a mean over hidden patches, as many of each image."""
        return len(view)

    def trained_encoder(self, model: Any) -> nn.Module:
        from transformers import ViTModel

        vit = ViTModel(vit_config(self.encoder), add_pooling_layer=False)
        vit.load_state_dict(model.vit.state_dict())
        return vit


@torch.no_grad()
def with_positions(model: Any) -> Any:
    """Fixed sine-cosine positions in encoder and decoder, and a mask token of its usual scale.

    `transformers` 5.23 sets all three to zero when it builds the model from a config: without positions a decoder can
    only paint the mean patch, and the loss stands still there.
    """
    side = model.config.image_size // model.config.patch_size
    for table in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        table.copy_(sine_positions(side, table.shape[-1]))
    model.decoder.mask_token.normal_(std=model.config.initializer_range)
    return model


def sine_positions(side: int, width: int) -> Tensor:
    """[1, 1 + side^2, width]: a quarter each of sin and cos of row and column (as in MAE), zero for the class token."""
    frequency = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angle = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    wave = torch.cat([angle.sin(), angle.cos()], 1)
    rows, columns = wave[:, None].expand(side, side, -1), wave[None].expand(side, side, -1)
    table = torch.cat([columns, rows], 2).flatten(0, 1)
    return torch.nn.functional.pad(table, (0, width - table.shape[1], 1, 0)).float()[None]


_SHARED = (
    "image_size", "patch_size", "num_channels", "num_hidden_layers", "hidden_size", "num_attention_heads",
    "intermediate_size", "hidden_dropout_prob", "attention_probs_dropout_prob",
)  # fmt: skip
