"""What a recipe may say of sources of images and audio clips.

To add a source: a config here with its `kind`, `opened_by` (module:class) and `media`, its name in `MediaSource`, and
the module; its records are `Raw` with `media` and the payload as found (tasks/curation/records.py).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
Path = Annotated[str, Field(min_length=1)]
PayloadLimit = Annotated[int, Field(ge=1, le=1 << 31, description="bytes as found; a larger file is quarantined")]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Images:
    """A folder of images, a glob, or any fsspec URL; an image's label is the name of the folder that it lies in.

    `licence` is an SPDX expression for every file; a licence file at the top of the folder is evidence, too.
    """

    kind: Literal["images"] = "images"
    name: Name
    path: Path
    licence: str | None = None
    maximum_bytes: PayloadLimit = 64 << 20

    opened_by: ClassVar[str] = "tasks.curation.sources.folders:FolderSource"
    media: ClassVar[str] = "image"
    captions: ClassVar[bool] = False


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Audio:
    """A folder of audio clips, a glob, or any fsspec URL; a clip's label is the name of the folder that it lies in.

    `licence` is an SPDX expression for every file; a licence file at the top of the folder is evidence, too.
    """

    kind: Literal["audio"] = "audio"
    name: Name
    path: Path
    licence: str | None = None
    maximum_bytes: PayloadLimit = 256 << 20

    opened_by: ClassVar[str] = "tasks.curation.sources.folders:FolderSource"
    media: ClassVar[str] = "audio"
    captions: ClassVar[bool] = False


MediaSource = Images | Audio
