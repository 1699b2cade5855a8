"""Losses and measures as pure functions of tensors: each a scalar mean; ValueError on bad shapes.

None is NaN where its true value is finite; what has nothing to predict is 0 with zero gradient. Inputs of 16 bits are
computed in float32, also under autocast. Embeddings are normalised inside.
"""

from ssl_models.losses.contrastive import clip, info_nce, nt_xent, siglip, triplet
from ssl_models.losses.likelihood import (
    cross_entropy,
    entropy,
    kl_divergence,
    masked_cross_entropy,
    next_token_cross_entropy,
)
from ssl_models.losses.noncontrastive import byol, dino, dino_centre, lejepa, sigreg, vicreg
from ssl_models.losses.reconstruction import mae
from ssl_models.losses.speech import wav2vec2

__all__ = [
    "byol",
    "clip",
    "cross_entropy",
    "dino",
    "dino_centre",
    "entropy",
    "info_nce",
    "kl_divergence",
    "lejepa",
    "mae",
    "masked_cross_entropy",
    "next_token_cross_entropy",
    "nt_xent",
    "siglip",
    "sigreg",
    "triplet",
    "vicreg",
    "wav2vec2",
]
