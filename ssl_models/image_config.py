"""What an image run may be told: encoder, views, and one class a method. Light: no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")
Share = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(gt=0, le=10)]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class ImageEncoder:
    """An image encoder: any `timm` backbone by name, or a vision transformer of `transformers`.

    timm: `model` and the `options` of ``timm.create_model``. vit: `patch`, `layers`, `width`, `heads`. `image_size` is
    the side in pixels of the square that it sees; views are drawn at that size, whatever the size of the source.
    """

    architecture: Literal["timm", "vit"] = "timm"
    model: str = "resnet18"
    options: dict[str, Any] = Field(default_factory=dict)
    image_size: int = Field(default=32, ge=4, le=1024)
    channels: Literal[1, 3] = 3
    patch: int = Field(default=4, ge=1)
    layers: int = Field(default=4, ge=1, le=128)
    width: int = Field(default=128, ge=8, le=16384)
    heads: int = Field(default=4, ge=1, le=256)
    dropout: Literal[0] = 0

    @model_validator(mode="after")
    def _shape(self) -> ImageEncoder:
        if self.architecture == "vit" and (self.width % self.heads or self.image_size % self.patch):
            raise ValueError("width must be a multiple of heads, and image_size one of patch")
        return self


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Augment:
    """Random views of small pictures by one affine map. Each is drawn for (seed, epoch, sample, number of the view).

    `crop_low`: least share of the area that a view shows; `rotate_degrees` and `shear` either way; `flip` with a
    half's chance; `contrast` and `brightness`: factor 1 +- and offset +- of pixels in 0..1; `erase`: the largest share
    of the area that a grey rectangle hides.
    """

    crop_low: Annotated[float, Field(gt=0, le=1)] = 0.6
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    shear: Share = 0.2
    flip: bool = False
    contrast: Share = 0.4
    brightness: Share = 0.2
    erase: Share = 0.2
    kind: Literal["affine"] = "affine"


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Photo:
    """Random views of photographs: SimCLR's resized crop, flip, colour jitter, grey, blur, and BYOL's solarisation.

    What torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter, RandomGrayscale, GaussianBlur and
    RandomSolarize(0.5) make of the same numbers, in that order; the jitter always in the order brightness, contrast,
    saturation, hue. `flip`, `jitter`, `grey`, `blur`, `solarise` are chances. A crop shows `crop_low`..1 of the area at
    an aspect of 1 / `aspect`..`aspect`. Factors are drawn from 1 -+ `brightness`, `contrast` and `saturation`, the turn
    of hue from -+ `hue` (1: the whole circle), the blur's sigma from `blur_low`..`blur_high` pixels of the view.
    """

    kind: Literal["photo"]
    crop_low: Annotated[float, Field(gt=0, le=1)] = 0.2
    aspect: Annotated[float, Field(ge=1, le=4)] = 4 / 3
    flip: Share = 0.5
    jitter: Share = 0.8
    brightness: Share = 0.8
    contrast: Share = 0.8
    saturation: Share = 0.8
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    grey: Share = 0.2
    blur: Share = 0.5
    blur_low: Annotated[float, Field(gt=0, le=16)] = 0.1
    blur_high: Annotated[float, Field(gt=0, le=16)] = 2.0
    solarise: Share = 0.0

    @model_validator(mode="after")
    def _rises(self) -> Photo:
        if self.blur_low > self.blur_high:
            raise ValueError("blur_low is above blur_high")
        return self


def _kind(value: Any) -> str:
    return str(value.get("kind", "affine") if isinstance(value, dict) else getattr(value, "kind", "affine"))


#: `kind: photo`, or without a kind the affine views.
Rule = Annotated[Annotated[Augment, Tag("affine")] | Annotated[Photo, Tag("photo")], Discriminator(_kind)]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class _Joint:
    """What the methods of two views share: the projector's widths, and the views."""

    hidden: int = Field(default=256, ge=8)
    projection: int = Field(default=64, ge=2)
    augment: Rule = Field(default_factory=Augment)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class SimCLR(_Joint):
    """Chen et al. 2020, arXiv 2002.05709."""

    method: Literal["simclr"] = "simclr"
    temperature: Temperature = 0.2


@dataclass(config=STRICT, frozen=True, kw_only=True)
class BYOL(_Joint):
    """Grill et al. 2020, arXiv 2006.07733. The teacher's momentum rises from `momentum` to 1 by a cosine over steps."""

    method: Literal["byol"] = "byol"
    momentum: Share = 0.99


@dataclass(config=STRICT, frozen=True, kw_only=True)
class VICReg(_Joint):
    """Bardes et al. 2022, arXiv 2105.04906."""

    method: Literal["vicreg"] = "vicreg"
    projection: int = Field(default=256, ge=2)
    invariance: float = Field(default=25.0, ge=0)
    variance: float = Field(default=25.0, ge=0)
    covariance: float = Field(default=1.0, ge=0)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class DINO(_Joint):
    """Caron et al. 2021, arXiv 2104.14294: `projection` is the bottleneck before the `prototypes`.

    `small_views` of `small_crop_low`..`crop_low` of the area are the student's alone.
    """

    method: Literal["dino"] = "dino"
    prototypes: int = Field(default=256, ge=2)
    student_temperature: Temperature = 0.1
    teacher_temperature: Temperature = 0.04
    momentum: Share = 0.99
    centre_momentum: Share = 0.9
    small_views: int = Field(default=2, ge=0, le=16)
    small_crop_low: Annotated[float, Field(gt=0, le=1)] = 0.3


@dataclass(config=STRICT, frozen=True, kw_only=True)
class LeJEPA(_Joint):
    """Balestriero and LeCun 2025, arXiv 2511.08544. `directions` are drawn anew each step."""

    method: Literal["lejepa"] = "lejepa"
    weight: Share = 0.05
    directions: int = Field(default=256, ge=1)
    views: int = Field(default=2, ge=2, le=16)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class MAE:
    """He et al. 2022, arXiv 2111.06377. Wants a vit encoder."""

    method: Literal["mae"] = "mae"
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    normalise: bool = True
    decoder_layers: int = Field(default=1, ge=1)
    decoder_width: int = Field(default=64, ge=8)
    decoder_heads: int = Field(default=4, ge=1)
    augment: Rule = Field(default_factory=Augment)


ImageMethod = SimCLR | BYOL | VICReg | DINO | LeJEPA | MAE
METHODS = ("simclr", "byol", "vicreg", "dino", "lejepa", "mae")
