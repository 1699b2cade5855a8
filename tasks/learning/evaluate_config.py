"""What a recipe's `evaluate` list may say. Light: validating a recipe imports no torch and no scikit-learn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class LinearProbe:
    """Which label does a text have? Logistic regression on frozen, mean-pooled features.

    The classes are the `labels` largest labels of the train split. Documents are drawn by keyed hash, each class up to
    its equal part of `train_documents` and `test_documents` (a large class must not decide the accuracy); the test
    documents are of the validation split. `random_init_seeds` untrained encoders of the same config go the same way.
    """

    kind: Literal["linear-probe"] = "linear-probe"
    labels: int = Field(default=20, ge=2)
    train_documents: int = Field(default=2000, ge=20)
    test_documents: int = Field(default=1000, ge=10)
    maximum_tokens: int = Field(default=128, ge=8, description="a text is cut after so many tokens, specials included")
    random_init_seeds: int = Field(default=3, ge=1)
    seed: int = 0


@dataclass(config=STRICT, frozen=True, kw_only=True)
class MaskedTokens:
    """Cross-entropy of the masked tokens of held-out documents, beside n-gram models of the same training text.

    Documents of the validation split are drawn by keyed hash until `positions` masked positions or `documents` are
    reached.
    """

    kind: Literal["masked-tokens"] = "masked-tokens"
    documents: int = Field(default=1000, ge=1)
    positions: int = Field(default=10_000, ge=1)
    seed: int = 0


@dataclass(config=STRICT, frozen=True, kw_only=True)
class NextTokens:
    """Cross-entropy of the next token on held-out documents, beside n-gram models of the same training text.

    Documents of the validation split are drawn by keyed hash until `positions` tokens or `documents` are reached.
    `prompts` are continued by at most `sample_tokens` tokens, drawn at `temperature` (0: always the likeliest).
    """

    kind: Literal["next-tokens"] = "next-tokens"
    documents: int = Field(default=1000, ge=1)
    positions: int = Field(default=20_000, ge=1)
    prompts: tuple[str, ...] = ("", "Returns the", "If the file does not exist,")
    sample_tokens: int = Field(default=40, ge=1)
    temperature: float = Field(default=0.8, ge=0)
    seed: int = 0


@dataclass(config=STRICT, frozen=True, kw_only=True)
class ImageProbe:
    """Which label does an image have, told by few labelled ones: raw pixels and random-init encoders go the same way.

    `draws` times, `labels_per_class` images of each label are drawn from the train split; all of the validation split
    is asked. Frozen features go to a logistic regression; with `fine_tune_steps` the whole encoder is trained on the
    drawn images instead (a masked autoencoder's features are made for that), by AdamW at `fine_tune_rate`.
    """

    kind: Literal["image-probe"] = "image-probe"
    labels_per_class: int = Field(default=5, ge=1)
    draws: int = Field(default=20, ge=1)
    random_init_seeds: int = Field(default=3, ge=1)
    fine_tune_steps: int = Field(default=0, ge=0)
    fine_tune_rate: float = Field(default=1e-3, gt=0)
    seed: int = 0


@dataclass(config=STRICT, frozen=True, kw_only=True)
class ZeroShot:
    """Which of `names` captions belongs to a picture? Asked of the validation split, with no training on labels.

    `draws` times, `names` captions are drawn by keyed hash, and all their pictures are asked for. Captions that the
    train split has too and captions that it has not, of words that it has, are drawn apart.
    """

    kind: Literal["zero-shot"] = "zero-shot"
    names: int = Field(default=100, ge=2)
    draws: int = Field(default=20, ge=1)
    seed: int = 0


Evaluate = Annotated[LinearProbe | MaskedTokens | NextTokens | ImageProbe | ZeroShot, Field(discriminator="kind")]
