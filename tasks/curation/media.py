"""What it means to make an image or an audio clip regular: the settings that a recipe may give, and the outcome.

Every payload of a corpus becomes one form that all readers open, or is quarantined with its reason. The settings are
those of the recipe, not of a source: all shards of a corpus hold the same members.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tasks.stages import Stage

STRICT = ConfigDict(extra="forbid")
ImageKind = Literal["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]

MEDIA_DUPLICATES = "media-duplicates"  # the stage that stands in the place of a text corpus's duplicates

#: Why a payload is not made regular; each is a rule of the ledger as ``media.NAME``.
RULES = (
    "undecodable", "truncated", "too_large", "bomb", "unsupported", "animated", "mislabelled", "empty", "too_long",
)  # fmt: skip


@dataclass(config=STRICT, frozen=True, kw_only=True)
class ImageSettings:
    """Which images are read, and how they are written: 8 bits a channel, grey or RGB, upright, without metadata.

    `format` png is lossless; jpeg and webp are written at `quality`. `maximum_bytes` of a file, `maximum_pixels` of its
    header (up to 14 bytes of memory each): more is quarantined before anything is decoded. `kinds`: what is decoded.
    Its first bytes say what a file is, never its name. `frames`: what becomes of an animation. `longest_side`: larger
    images are scaled down to it. `colour`: grey or RGB as found, or all of one.
    """

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: Annotated[int, Field(ge=1, le=95)] = 90
    maximum_bytes: Annotated[int, Field(ge=1, le=256 << 20)] = 64 << 20
    maximum_pixels: Annotated[int, Field(ge=1, le=89_478_485)] = 25_000_000
    kinds: tuple[ImageKind, ...] = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
    frames: Literal["quarantine", "first"] = "quarantine"
    longest_side: Annotated[int, Field(ge=1, le=65_535)] | None = None
    colour: Literal["as found", "RGB", "grey"] = "as found"

    @property
    def extension(self) -> str:
        """Of the member in a shard."""
        return {"png": "png", "jpeg": "jpg", "webp": "webp"}[self.format]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class AudioSettings:
    """Audio clips as they are written: FLAC, 16 bits, one channel (their mean), `sample_rate` Hz.

    `maximum_seconds`: a clip that its header says is longer is quarantined before anything is decoded; a source may
    split it instead.
    """

    sample_rate: Annotated[int, Field(ge=1000, le=192_000)] = 16_000
    maximum_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0

    @property
    def extension(self) -> str:
        """Of the member in a shard."""
        return "flac"


@dataclass(config=STRICT, frozen=True, kw_only=True)
class MediaSettings:
    """How images and audio clips are made regular."""

    image: ImageSettings = field(default_factory=ImageSettings)
    audio: AudioSettings = field(default_factory=AudioSettings)

    def extension(self, media: str) -> str:
        """Of the members that hold `media` (image or audio)."""
        found: str = getattr(self, media).extension
        return found


@dataclass(frozen=True)
class Regular:
    """One payload made regular: `data`, or None and the `rule` (``media.NAME``) with its `detail` why not.

    `size` orders copies: pixels, or samples, as found. `measures` by their names in
    `data_policies.media_measures.MEDIA_MEASURES`; those that were not taken are left out.
    """

    data: bytes | None
    size: int = 0
    rule: str = ""
    detail: str = ""
    measures: dict[str, float] = field(default_factory=dict)


def refused(name: str, detail: str, measures: dict[str, float] | None = None) -> Regular:
    """A payload that is quarantined as ``media.NAME``. `detail` says what was found, never its content."""
    if name not in RULES:
        raise ValueError(f"there is no rule media.{name}")
    return Regular(None, rule=f"media.{name}", detail=detail, measures=measures or {})


def media_of(stages: Sequence[Stage]) -> Stage | None:
    """The media stage, if there is one."""
    return next((stage for stage in stages if stage.name == "media"), None)


def kind_of(stage: Stage) -> str:
    """image or audio."""
    found: str = json.loads((Path(stage.path) / "media.json").read_text())["media"]
    return found


def extensions_of(stage: Stage) -> tuple[str, ...]:
    """The members of a sample besides its JSON: that of the image or clip, and txt where samples have texts."""
    return tuple(json.loads((Path(stage.path) / "media.json").read_text())["extensions"])
