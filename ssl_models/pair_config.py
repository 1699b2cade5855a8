"""What a run on image-text pairs may be told: two towers, and one class a method. Light: no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from ssl_models.image_config import Augment, Rule

STRICT = ConfigDict(extra="forbid")
#: Letters are not mirrored, and a crop may not cut what the caption names.
GENTLE = Augment(crop_low=0.8, rotate_degrees=5.0, shear=0.1, contrast=0.2, brightness=0.1, erase=0.0)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class PairEncoder:
    """A vision transformer and a text transformer, as `transformers` has them in CLIPModel or SiglipModel.

    clip: the text is read from left to right, and its end token stands for it; both towers end in a projection of
    `projection` dimensions. siglip: every token sees every other, the last of `maximum_tokens` positions stands for
    the text and pooling by attention for the image; both are `width` wide. The pixels are squares of `image_size`, in
    patches of `patch`; a longer text is cut at `maximum_tokens`, its begin and end included.
    """

    architecture: Literal["clip", "siglip"]
    image_size: int = Field(default=32, ge=4, le=1024)
    channels: Literal[1, 3] = 1
    patch: int = Field(default=4, ge=1)
    layers: int = Field(default=3, ge=1, le=128)
    width: int = Field(default=128, ge=8, le=16384)
    heads: int = Field(default=4, ge=1, le=256)
    text_layers: int = Field(default=2, ge=1, le=128)
    maximum_tokens: int = Field(default=24, ge=4, le=4096)
    projection: int = Field(default=128, ge=2)
    dropout: Literal[0] = 0

    @model_validator(mode="after")
    def _shape(self) -> PairEncoder:
        if self.width % self.heads or self.image_size % self.patch:
            raise ValueError("width must be a multiple of heads, and image_size one of patch")
        return self


@dataclass(config=STRICT, frozen=True, kw_only=True)
class CLIP:
    """Radford et al. 2021, arXiv 2103.00020. The scale on cosines is learned from `initial_scale` on, within 1..100."""

    method: Literal["clip"] = "clip"
    initial_scale: float = Field(default=1 / 0.07, ge=1, le=100)
    augment: Rule = Field(default_factory=lambda: GENTLE)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class SigLIP:
    """Zhai et al. 2023, arXiv 2303.15343. Scale and bias are learned; the bias begins where most pairs do not match."""

    method: Literal["siglip"] = "siglip"
    initial_scale: float = Field(default=10.0, ge=1, le=100)
    initial_bias: float = -10.0
    augment: Rule = Field(default_factory=lambda: GENTLE)


PairMethod = CLIP | SigLIP
METHODS = ("clip", "siglip")
