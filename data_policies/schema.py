"""What a policy may say. Frozen Pydantic dataclasses: one class is the config, the form and the validation."""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from data_policies.measures import canonical, check_names
from data_policies.media_measures import check_media_names
from data_policies.spdx import unknown_licences

STRICT = ConfigDict(extra="forbid")

PiiType = Literal[
    "email", "phone", "ip", "credentials_url", "card", "iban", "ssn", "national_id", "passport", "driver_licence",
    "mac", "imei", "crypto", "secret", "person", "address",
]  # fmt: skip
PiiAction = Literal["keep", "redact", "pseudonymise", "drop"]
ToxicityLabel = Literal["toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack"]
Share = Annotated[float, Field(ge=0, le=1)]
#: The policy's parts that bound media, and the first word of their measures and rules.
MEDIA_RULES = {"images": "image", "audio": "audio", "pairs": "pair"}


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Licences:
    """SPDX identifiers that are allowed, `ID WITH EXCEPTION` included. The order is the rank among duplicates.

    `respect_opt_outs`: refuse what its publisher reserves for machines (noai, TDMRep, ai.txt), whatever the licence.
    """

    allow: tuple[str, ...] = Field(min_length=1)
    respect_opt_outs: bool = True

    @field_validator("allow")
    @classmethod
    def _known(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := unknown_licences(allow):
            raise ValueError(f"unknown SPDX identifier {unknown[0]!r}; the list is at spdx.org/licenses")
        return allow


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Languages:
    """ISO 639-1 codes that are allowed, and the score under which the language counts as unknown (quarantine)."""

    allow: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = Field(min_length=1)
    minimum_score: Share = 0.5


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Bounds:
    """A measure must lie within [min, max]; a bound that is not given does not bind. `languages`: the rule is asked of
    these only; else of all that the measure is meant for (data_policies/measures.py)."""

    min: float | None = None
    max: float | None = None
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] | None = Field(default=None, min_length=1)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Range:
    """A measure of an image, an audio clip or a caption must lie within [min, max]; one that is not given is free."""

    min: float | None = None
    max: float | None = None


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Screen:
    """A cheap model, made by `gristmill policies calibrate`, that may clear a record and never condemns one.

    `model`: its folder; `sha256`: its digest; a record whose screen score is below `threshold` is cleared.
    `maximum_missed`: toxic documents per cleared document, the Clopper-Pearson 95 % upper bound from a sample that the
    toxicity model scores in every run; when it is not met the model scores everything.
    """

    model: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    threshold: Share
    maximum_missed: float = Field(default=0.001, gt=0, lt=1)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Toxicity:
    """A Detoxify model and the score per label at which a record is dropped.

    `model`: `stand-in` (ships with Gristmill, in Detoxify's architecture), one of Detoxify's names (downloaded once,
    digest pinned), or a folder that holds a checkpoint and its config. `stand_in`: may the stand-in decide at all?
    """

    thresholds: dict[ToxicityLabel, Share]
    model: str = "stand-in"
    stand_in: bool = False
    screen: Screen | None = None


NamedType = Literal["person", "address"]
NER_LABELS: dict[str, NamedType] = {
    "PER": "person",
    "PERSON": "person",
    "ADDRESS": "address",
    "STREET_ADDRESS": "address",
}


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Ner:
    """A model that finds what has no form: names of persons and street addresses.

    `model`: a folder in the transformers format for token classification (config, fast tokenizer, safetensors).
    `labels`: the model's labels, without B- and I-, as types of personal data. `minimum_score`: the probability from
    which a token counts. `sha256`: the digest that the files must have; None: any, recorded in the stage.
    """

    model: str = Field(min_length=1)
    labels: dict[str, NamedType] = Field(default_factory=lambda: dict(NER_LABELS))
    minimum_score: Share = 0.5
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class PairModel:
    """A model that tells how well an image and its text fit together; `pairs.score` bounds what it says.

    `model`: a folder in the transformers format of a dual encoder (CLIP, SigLIP; safetensors). `sha256`: the digest
    that the files must have; None: any, recorded in the stage.
    """

    model: str = Field(min_length=1)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Contamination:
    """From where on a record counts as holding an item of an evaluation set that the recipe protects.

    `ngrams`: word n-grams shared with one item (13-grams unless the recipe says otherwise; a shorter item found whole
    counts as 1). `similarity`: Jaccard index of word 5-grams with an item.
    """

    ngrams: int = Field(default=1, ge=1)
    similarity: float = Field(default=0.8, ge=0.5, le=1)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Substring:
    """A record goes when spans of at least `words` words that one kept record has make up `share` of its own words."""

    words: int = Field(default=50, ge=10, le=10_000)
    share: float = Field(default=0.5, gt=0, le=1)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Duplicates:
    """Exact Jaccard similarity of word 5-gram sets from which a record is a near-duplicate of a kept one.

    `substring`: look for repeated spans, too; not done unless asked for. `images`, `audio`: similarity of two pictures
    or clips from which one goes; None: only copies that are equal once made regular, texts beside them included.
    """

    threshold: float = Field(default=0.8, gt=0, le=1)
    substring: Substring | None = None
    images: float | None = Field(default=None, gt=0, le=1)
    audio: float | None = Field(default=None, gt=0, le=1)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Gates:
    """Bounds on the corpus as a whole; None: not checked.

    `maximum_source_kl`: nats, of this version's source mix from the previous version's. `maximum_disparity`: how many
    times more often, for certain at 95 %, a rule that refuses may hit one source, language, licence or band of lengths
    than another; 10 asks for a look at every rule that falls on one group almost alone.
    `maximum_duplicate_share_per_source`: of a source's records that no other rule refuses, the share that near and
    substring duplicates may remove; exact copies do not count, for with them nothing is lost.
    """

    maximum_source_kl: float | None = Field(default=1.0, ge=0)
    maximum_quarantine_share: float | None = Field(default=None, ge=0, le=1)
    maximum_dropped_share_per_source: float | None = Field(default=None, ge=0, le=1)
    maximum_duplicate_share_per_source: float | None = Field(default=None, ge=0, le=1)
    maximum_disparity: float | None = Field(default=None, ge=1)
    minimum_kept: int = Field(default=1, ge=1)


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Policy:
    """The rules that admit a record. Its digest stands in every ledger row that it decided.

    `quality`: bounds by set and measure. `canonical` in place of a set's bounds stands for its source's own, and is
    written out here, so that the digest changes when they do.
    `images`, `audio`, `pairs`: bounds by measure (data_policies/media_measures.py) on pictures, clips, and the captions
    and transcripts that lie beside them. `quality` is asked of records that are texts.
    """

    name: str = Field(pattern="^[a-z0-9][a-z0-9._-]*$")
    version: int = Field(ge=1)
    owner: str
    reason: str
    licences: Licences
    review_by: datetime.date | None = None
    languages: Languages | None = None
    quality: dict[str, dict[str, Bounds]] = Field(default_factory=dict)
    pii: dict[PiiType, PiiAction] = Field(default_factory=dict)
    ner: Ner | None = None
    toxicity: Toxicity | None = None
    contamination: Contamination = Field(default_factory=Contamination)
    duplicates: Duplicates = Field(default_factory=Duplicates)
    gates: Gates = Field(default_factory=Gates)
    images: dict[str, Range] = Field(default_factory=dict)
    audio: dict[str, Range] = Field(default_factory=dict)
    pairs: dict[str, Range] = Field(default_factory=dict)
    pair_model: PairModel | None = None

    @field_validator("quality", mode="before")
    @classmethod
    def _written_out(cls, quality: Any) -> Any:
        if not isinstance(quality, dict):
            return quality
        return {name: canonical(name) if bounds == "canonical" else bounds for name, bounds in quality.items()}

    @field_validator("quality")
    @classmethod
    def _named(cls, quality: dict[str, dict[str, Bounds]]) -> dict[str, dict[str, Bounds]]:
        check_names({name: tuple(bounds) for name, bounds in quality.items()})
        return quality

    @field_validator("images", "audio", "pairs")
    @classmethod
    def _measured(cls, bounds: dict[str, Range], info: ValidationInfo) -> dict[str, Range]:
        check_media_names(MEDIA_RULES[str(info.field_name)], bounds)
        return bounds

    @model_validator(mode="after")
    def _found_by_something(self) -> Policy:
        if "score" in self.pairs and self.pair_model is None:
            raise ValueError("pairs.score asks for what only a model finds: name one under 'pair_model'")
        found = set(self.ner.labels.values()) if self.ner else set()
        for kind in ("person", "address"):
            if self.pii.get(kind, "keep") != "keep" and kind not in found:
                raise ValueError(f"pii.{kind} asks for what only a model finds: name one under 'ner', or say keep")
        return self

    def plain(self) -> dict[str, Any]:
        """JSON-able values. What is said of media stands there only where something is: other policies keep their
        digest."""
        value = TypeAdapter(Policy).dump_python(self, mode="json")
        for part, keys in ((value, (*MEDIA_RULES, "pair_model")), (value["duplicates"], ("images", "audio"))):
            for key in [key for key in keys if not part[key]]:
                del part[key]
        return value

    def sha256(self) -> str:
        """Hex SHA-256 of the policy as canonical JSON: comments and key order of the YAML do not count."""
        value = self.plain()
        return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
