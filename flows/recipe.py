"""What a recipe may say. One Pydantic model is file format, flow parameter and the Prefect UI's form."""

from __future__ import annotations

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from ssl_models.config import (
    Encoder,
    MaskedLanguageModelling,
    Objective,
    TextEncoder,
    Tokenizer,
    Train,
    require_architecture,
)
from ssl_models.image_config import METHODS as IMAGE_METHODS
from ssl_models.image_config import ImageEncoder, SimCLR
from ssl_models.pair_config import METHODS as PAIR_METHODS
from ssl_models.pair_config import PairEncoder
from tasks.curation.media import MediaSettings
from tasks.curation.records import Engine
from tasks.curation.sources import SourceConfig
from tasks.errors import UserError, explain
from tasks.learning.evaluate_config import Evaluate, ImageProbe, LinearProbe, MaskedTokens, NextTokens, ZeroShot
from tasks.stages import sha256_json

AnySource = Annotated[SourceConfig, Field(discriminator="kind")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(_Part):
    """Share of the groups held out for validation. Records of one group are never on both sides."""

    validation: float = Field(default=0.1, gt=0, lt=1, description="share of the groups held out")
    group_by: str = Field(default="group", pattern="^(group|label|uri|record_id)$", description="what is never split")


class Protected(_Part):
    """Evaluation sets that must not be in the corpus. The policy's `contamination` says from where on a record goes."""

    sets: tuple[AnySource, ...] = Field(default=(), description="sources as above; a set's name names its rule")
    ngram_words: int = Field(default=13, ge=5, le=100, description="words of an n-gram; a shorter item is found whole")

    @field_validator("sets")
    @classmethod
    def _rule_names(cls, sets: tuple[AnySource, ...]) -> tuple[AnySource, ...]:
        for source in sets:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", source.name):
                raise ValueError(f"'{source.name}' names a rule: letters, digits, - and _ only")
            if source.media:
                raise ValueError(f"'{source.name}' is of kind {source.kind}; a corpus is protected from texts only")
        return sets


class Promote(_Part):
    """A run's model gets the alias `alias` when the low end of this metric's interval exceeds `above`."""

    metric: str = "eval/linear_minus_random_init_top1"
    above: float = 0.0
    alias: str = "champion"


class CurateOnly(_Part):
    """No method: the recipe ends with the corpus. What is of clips, or of pairs, and names no method, says this."""

    method: Literal["none"] = "none"


class Placement(_Part):
    """Where curation runs. It never changes a byte of the output."""

    ray_address: str | None = Field(default=None, description='a Ray cluster: "auto", "local" or host:port')


class Recipe(_Part):
    """A runnable recipe: from sources to a promoted model."""

    name: str = Field(pattern="^[a-z0-9][a-z0-9._-]*$", description="names the corpus, the experiment and the model")
    description: str = ""
    sources: tuple[AnySource, ...] = Field(min_length=1)
    policy: str = Field(description="a shipped policy's name, or a YAML path")
    protected: Protected = Protected()
    media: MediaSettings = Field(default_factory=MediaSettings, description="how images and clips are made regular")
    split: Split = Split()
    placement: Placement = Placement()
    download_models: bool = Field(
        default=False, description="may a Detoxify checkpoint that the policy names be fetched?"
    )
    tokenizer: Tokenizer = Field(default_factory=Tokenizer)
    objective: Annotated[Objective | CurateOnly, Field(discriminator="method")] = Field(
        default_factory=MaskedLanguageModelling
    )
    encoder: Encoder = Field(default_factory=TextEncoder)
    train: Train = Field(default_factory=Train)
    evaluate: tuple[Evaluate, ...] = (MaskedTokens(), LinearProbe())
    promote: Promote = Promote()

    @model_validator(mode="before")
    @classmethod
    def _media_defaults(cls, value: Any) -> Any:
        """What a recipe of images, clips or pairs learns by when it does not say so.

        Images: by SimCLR, probed for what it learned. Clips and pairs: not at all, since no default fits them; a text
        method would learn from their transcripts alone.
        """
        if not isinstance(value, dict):
            return value
        sources, objective = value.get("sources"), value.get("objective")
        first = sources[0] if isinstance(sources, list | tuple) and sources else None
        known = {source.kind: source for source in get_args(SourceConfig)}
        keys = ("kind", "media", "captions")
        said = first if isinstance(first, dict) else {key: getattr(first, key, None) for key in keys}
        source = known.get(said.get("kind"))
        holds = said.get("media") or getattr(source, "media", None)
        paired = holds and said.get("captions", getattr(source, "captions", False))
        method = objective.get("method") if isinstance(objective, dict) else getattr(objective, "method", None)
        if method in PAIR_METHODS:
            defaults = {"encoder": PairEncoder(architecture=method), "evaluate": (ZeroShot(),)}
            return defaults | {"promote": Promote(metric="eval/zero_shot_minus_chance")} | value
        if method == "none" or (objective is None and (paired or holds == "audio")):
            return {"objective": CurateOnly(), "evaluate": ()} | value
        if method in IMAGE_METHODS or (objective is None and holds == "image"):
            defaults = {"objective": SimCLR(), "encoder": ImageEncoder(), "evaluate": (ImageProbe(),)}
            return defaults | value
        return value

    @field_validator("sources")
    @classmethod
    def _one_kind(cls, sources: tuple[AnySource, ...]) -> tuple[AnySource, ...]:
        kinds = sorted({source.media or "text" for source in sources})
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(kinds)} in one corpus: its shards hold samples of one form")
        return sources

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        method = self.objective.method
        if isinstance(self.objective, CurateOnly):
            if self.evaluate:
                raise ValueError("evaluate: objective none trains no model that could be measured")
            return self
        require_architecture(self.objective, self.encoder)
        if method in IMAGE_METHODS and self.modality != "image":
            raise ValueError(f"objective {method} learns from images, and the sources hold none")
        if method in PAIR_METHODS and not (self.modality == "image" and self.captions):
            raise ValueError(f"objective {method} learns from images with captions, and the sources hold none")
        fitting = {
            "clip": (ZeroShot,),
            "siglip": (ZeroShot,),
            "mlm": (MaskedTokens, LinearProbe),
            "clm": (NextTokens, LinearProbe),
        }.get(method, (ImageProbe,))
        for part in self.evaluate:
            if not isinstance(part, fitting):
                raise ValueError(f"evaluate: {part.kind} does not go with objective {method}")
        return self

    def plain(self) -> dict[str, Any]:
        """JSON-able values, defaults included."""
        return self.model_dump(mode="json")

    def curation_sha256(self) -> str:
        """Digest of what decides the corpus: not of the learning, nor of where it runs."""
        plain = self.plain()
        # Recipes without these keep their digest.
        more = (("protected",) if self.protected.sets else ()) + (("media",) if self.modality else ())
        return sha256_json({key: plain[key] for key in ("name", "sources", "policy", "split", *more)})

    def learning_sha256(self) -> str:
        """Digest of what decides the weights, given a corpus."""
        plain = self.plain()
        if self.train.order == "global":  # recipes that name no order keep their digest
            del plain["train"]["order"], plain["train"]["group_shards"]
        return sha256_json({key: plain[key] for key in ("name", "tokenizer", "objective", "encoder", "train")})

    @property
    def modality(self) -> str:
        """What the corpus holds: image, audio, or "" for texts."""
        return self.sources[0].media

    @property
    def captions(self) -> bool:
        """Have a corpus's images or clips texts beside them?"""
        return any(getattr(source, "captions", False) for source in self.sources)

    def engine(self) -> Engine:
        return Engine(ray_address=self.placement.ray_address)


def shipped() -> dict[str, Path]:
    """The recipes that come with Gristmill, by name."""
    folder = Path(str(resources.files("flows") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A shipped recipe's name or a YAML path, with `dotted.key=value` overrides, as a Recipe; UserError otherwise."""
    path = shipped().get(name) or Path(name)
    if not path.is_file():
        near = difflib.get_close_matches(name, shipped(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"shipped: {', '.join(shipped())}; or give a YAML file"
        raise UserError(f"there is no recipe '{name}'", where=str(path), hint=hint)
    value = read_mapping(path)
    for override in overrides:
        set_dotted(value, override)
    return validate(value, str(path))


def validate(value: Any, where: str) -> Recipe:
    """Build the Recipe from plain values; UserError that names the key and what is allowed there."""
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        raise explain(error, where) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; UserError with the line otherwise."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError("this is not YAML", where=where, hint=str(getattr(error, "problem", "") or "")) from None
    if not isinstance(value, dict):
        raise UserError(
            "a recipe is a mapping of keys to values", where=str(path), hint="see `gristmill recipes python-docs`"
        )
    return value


def set_dotted(value: dict[str, Any], override: str) -> None:
    """Apply one ``dotted.key=value`` (the value is read as YAML; list items by number: ``sources.0.path=x``)."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(
            f"--set wants dotted.key=value, not '{override}'", where="--set", hint="for example: --set train.steps=100"
        )
    *parents, last = key.split(".")
    node: Any = value
    for depth, part in enumerate(parents):
        node = node[_position(part, node, override)] if isinstance(node, list) else node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise UserError(
                f"'{'.'.join(parents[: depth + 1])}' is a value, not a group of keys", where=f"--set {override}"
            )
    if isinstance(node, list):
        node[_position(last, node, override)] = yaml.safe_load(text)
    else:
        node[last] = yaml.safe_load(text)


def _position(part: str, node: list[Any], override: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise UserError(f"'{part}' is no position in a list of {len(node)}", where=f"--set {override}")
    return int(part)


def source_configs(recipe: Recipe) -> list[dict[str, Any]]:
    """The sources as JSON-able dicts."""
    return [TypeAdapter(type(source)).dump_python(source, mode="json") for source in recipe.sources]
