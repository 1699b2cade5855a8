"""What a pretraining run may be told: frozen configs, validated without importing torch.

The same classes are recipe keys, Prefect form and the run's SPEC.json. Units stand in the names.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from ssl_models.image_config import METHODS as IMAGE_METHODS
from ssl_models.image_config import ImageEncoder, ImageMethod
from ssl_models.pair_config import METHODS as PAIR_METHODS
from ssl_models.pair_config import PairEncoder, PairMethod

STRICT = ConfigDict(extra="forbid")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Tokenizer:
    """A subword vocabulary, trained on the corpus's train split.

    `kind` byte_bpe: GPT-2's, over bytes: every text comes back from its tokens exactly, so `lowercase` does not apply.
    `training_megabytes`: at most so many MB of text, documents drawn by keyed hash of their id.
    `maximum_word_characters`: WordPiece gives a longer word up as [UNK].
    """

    kind: Literal["wordpiece", "bpe", "byte_bpe"] = "wordpiece"
    vocabulary: int = Field(default=4096, ge=32, le=1_000_000)
    lowercase: bool = True
    minimum_frequency: int = Field(default=2, ge=1)
    training_megabytes: float = Field(default=6.0, gt=0)
    maximum_word_characters: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _holds_all_bytes(self) -> Tokenizer:
        if self.kind == "byte_bpe" and self.vocabulary < 264:
            raise ValueError("a byte_bpe vocabulary holds the 256 bytes and the special tokens: at least 264")
        return self


@dataclass(config=STRICT, frozen=True, kw_only=True)
class TextEncoder:
    """A transformer in a form that `transformers` loads: from a config, or continuing from a checkpoint.

    Encoders for `mlm`: modernbert, bert, roberta. Decoders for `clm`: gpt2 (learned positions), llama (rotary
    positions, gated MLP, RMS norm), qwen3 (as llama, with queries and keys normalised).

    `continue_from`: a local folder or a hub name (safetensors only); its shape then replaces the one given here, and
    `continue_from_sha256` pins its model.safetensors. For ModernBERT alone: `window_tokens`, how many tokens the local
    layers see in all (every `global_every`-th layer sees everything); `rope_theta`, the base of its rotary positions;
    `neighbour_heads`, start heads as looks at neighbouring positions (ssl_models.encoders explains).
    """

    architecture: Literal["modernbert", "bert", "roberta", "gpt2", "llama", "qwen3"] = "modernbert"
    layers: int = Field(default=4, ge=1, le=128)
    width: int = Field(default=256, ge=8, le=16384)
    heads: int = Field(default=4, ge=1, le=256)
    intermediate: int | None = Field(default=None, ge=8)
    maximum_tokens: int = Field(default=512, ge=8, le=131_072)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    window_tokens: int = Field(default=128, ge=2)
    global_every: int = Field(default=1, ge=1)
    rope_theta: float = Field(default=10_000.0, gt=1)
    neighbour_heads: bool = True
    continue_from: str | None = None
    continue_from_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _shape(self) -> TextEncoder:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.architecture in ("modernbert", "llama", "qwen3") and (self.width // self.heads) % 2:
            raise ValueError("rotary positions need an even width per head")
        if self.continue_from_sha256 and not self.continue_from:
            raise ValueError("continue_from_sha256 without continue_from")
        return self


@dataclass(config=STRICT, frozen=True, kw_only=True)
class MaskedLanguageModelling:
    """BERT's objective (Devlin et al. 2019, arXiv 1810.04805), without next-sentence prediction.

    Of the selected tokens `mask_share` become [MASK], `random_share` a random ordinary word, the rest stay.
    `whole_word`: a word is selected with all its pieces or not at all. ModernBERT (2412.13663) selects 0.3.
    """

    method: Literal["mlm"] = "mlm"
    mask_probability: float = Field(default=0.15, gt=0, lt=1)
    mask_share: float = Field(default=0.8, ge=0, le=1)
    random_share: float = Field(default=0.1, ge=0, le=1)
    whole_word: bool = False

    @model_validator(mode="after")
    def _shares(self) -> MaskedLanguageModelling:
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ValueError("mask_share + random_share is more than 1")
        return self


@dataclass(config=STRICT, frozen=True, kw_only=True)
class CausalLanguageModelling:
    """GPT's objective: each token from those before it in its document (Radford et al. 2018, 2019)."""

    method: Literal["clm"] = "clm"


#: One class a method, told apart by `method`.
Objective = Annotated[
    MaskedLanguageModelling | CausalLanguageModelling | ImageMethod | PairMethod, Field(discriminator="method")
]


def _modality(value: Any) -> str:
    name = value.get("architecture") if isinstance(value, dict) else getattr(value, "architecture", None)
    return "image" if name in ("timm", "vit") else "pair" if name in PAIR_METHODS else "text"


#: An encoder says by its architecture which of the three it is; without one it is a text encoder.
Encoder = Annotated[
    Annotated[TextEncoder, Tag("text")] | Annotated[ImageEncoder, Tag("image")] | Annotated[PairEncoder, Tag("pair")],
    Discriminator(_modality),
]

#: What each method trains.
ARCHITECTURES = {
    "mlm": ("modernbert", "bert", "roberta"),
    "clm": ("gpt2", "llama", "qwen3"),
    "mae": ("vit",),
    "clip": ("clip",),
    "siglip": ("siglip",),
} | dict.fromkeys([method for method in IMAGE_METHODS if method != "mae"], ("timm", "vit"))


def require_architecture(objective: Objective, encoder: Encoder) -> None:
    """ValueError when the method cannot train that architecture (a checkpoint's is looked at when it is opened)."""
    fitting = ARCHITECTURES[objective.method]
    if getattr(encoder, "continue_from", None) and objective.method in ("mlm", "clm"):
        return
    if encoder.architecture not in fitting:
        raise ValueError(
            f"objective {objective.method} cannot train a {encoder.architecture}; encoder.architecture may be "
            f"{', '.join(fitting)}"
        )


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Train:
    """The loop. `batch` counts rows of `sequence_length` tokens, or images; length and schedules count steps, never
    epochs. The learning rate rises linearly over `warmup_steps` (at most all of them), stays, and over the last
    `decay_share` of the steps falls to zero (`decay`: linear, cosine, or 1 - sqrt). `learning_rate` None: 4e-3 for
    Muon, 1e-3 for AdamW, which is for training from scratch: continuing wants less. `optimizer` muon: Muon for the
    matrices of the layers, AdamW for the rest (`embedding_learning_rate`; None: the same rate). `precision` auto:
    bfloat16 where the device multiplies it natively (a CPU: of texts only); float64 is for proofs. `threads` None: as
    many as this process may use, at most 16; a resumed run keeps what it started with. `order` (docs/reading.md):
    global shuffles all samples; blocked shuffles `group_shards` shards at a time and reads each from front to back, for
    shards that are not on a local disk.

    A step may be cut: `micro_batch` rows at a time, one part after the other, where the batch does not fit the memory;
    `ranks` processes on this machine's CPUs, each with an equal slice. `batch` stays the whole one, and the weights are
    those of one process but for rounding (docs/ranks.md); what cannot be cut so is refused.
    """

    steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=16, ge=1)
    sequence_length: int = Field(default=128, ge=8)
    learning_rate: float | None = Field(default=None, gt=0)
    embedding_learning_rate: float | None = Field(default=None, gt=0)
    warmup_steps: int = Field(default=50, ge=0)
    decay: Literal["linear", "cosine", "sqrt"] = "linear"
    decay_share: float = Field(default=1.0, ge=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    weight_decay: float = Field(default=0.01, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    optimizer: Literal["adamw", "muon"] = "muon"
    gradient_clip: float | None = Field(default=1.0, gt=0)
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    checkpoint_every_steps: int = Field(default=200, ge=1)
    keep_checkpoints: int = Field(default=3, ge=1)
    log_every_steps: int = Field(default=10, ge=1)
    threads: int | None = Field(default=None, ge=1, le=1024)
    order: Literal["global", "blocked"] = "global"
    group_shards: int = Field(default=8, ge=1, le=4096)
    micro_batch: int | None = Field(default=None, ge=1)
    ranks: int = Field(default=1, ge=1, le=64)

    @model_validator(mode="after")
    def _cuts(self) -> Train:
        if self.batch % self.ranks:
            raise ValueError(f"batch {self.batch} cannot be divided among {self.ranks} ranks")
        if self.micro_batch and (self.batch // self.ranks) % self.micro_batch:
            raise ValueError(
                f"{self.batch // self.ranks} rows a rank are no multiple of micro_batch {self.micro_batch}"
            )
        return self

    @property
    def peak_learning_rate(self) -> float:
        """`learning_rate`, or what learned best with this optimizer from scratch (docs/masked-lm.md)."""
        return self.learning_rate or (4e-3 if self.optimizer == "muon" else 1e-3)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class CorpusRef:
    """Which corpus version: its root digest is part of the run's identity, its folder is not."""

    name: str
    version: int = Field(ge=1)
    root: str
    folder: str


@dataclass(config=STRICT, frozen=True, kw_only=True)
class TrainSpec:
    """SPEC.json: everything that `python -m ssl_models.trainer` needs. `folder` is the run's own folder."""

    format: Literal["gristmill-train/1"] = "gristmill-train/1"
    run_id: str
    recipe: str
    recipe_sha256: str
    folder: str
    tokenizer_folder: str
    tokenizer_sha256: str
    corpus: CorpusRef
    encoder: Encoder
    objective: Objective
    train: Train

    @model_validator(mode="after")
    def _fits(self) -> TrainSpec:
        require_architecture(self.objective, self.encoder)
        if isinstance(self.encoder, TextEncoder) and self.train.sequence_length > self.encoder.maximum_tokens:
            raise ValueError(
                f"train.sequence_length {self.train.sequence_length} is more than encoder.maximum_tokens "
                f"{self.encoder.maximum_tokens}"
            )
        return self

    def plain(self) -> dict[str, Any]:
        return TypeAdapter(TrainSpec).dump_python(self, mode="json")

    def digest(self) -> str:
        """Hex SHA-256 of what decides the weights: no folders, and no names beyond digests."""
        value = self.plain()
        for key in ("folder", "tokenizer_folder", "run_id", "recipe", "recipe_sha256"):
            del value[key]
        value["corpus"] = self.corpus.root
        for key in ("checkpoint_every_steps", "keep_checkpoints", "log_every_steps"):
            del value["train"][key]  # what is written when changes no weight
        if self.train.order == "global":  # then there are no groups
            del value["train"]["order"], value["train"]["group_shards"]
        del value["train"]["ranks"]  # a run may go on with more or fewer of them
        if value["train"]["micro_batch"] is None:
            del value["train"]["micro_batch"]
        return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.plain(), indent=1, sort_keys=True) + "\n")

    @staticmethod
    def read(path: Path) -> TrainSpec:
        """ValueError, naming the key, when the file is no spec."""
        try:
            return TypeAdapter(TrainSpec).validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
