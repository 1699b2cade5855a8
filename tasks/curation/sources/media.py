"""What a recipe may say of sources of images and audio clips.

To add a source: a config here with its `kind`, `opened_by` (module:class), `media` and `captions`, its name in
`MediaSource`, and the module; its records are `Raw` with `media` and the payload as found (tasks/curation/records.py).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tasks.curation.sources.fields import STRICT, MediaColumns, Name, Path, PayloadLimit
from tasks.curation.sources.pictures import Digits, FashionMnist, Glyphs, OpenClipart
from tasks.curation.sources.speech import Asterisk, Utterances

FOLDER = "tasks.curation.sources.folders:FolderSource"
Media = Literal["image", "audio"]
#: A longer clip becomes records of so many seconds each, ``path#seconds=30-60``. (`split_frames`: ``path#frame=3``.)
SplitSeconds = Annotated[float, Field(ge=0.1, le=86_400)] | None


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Images:
    """Images: a folder, a glob or any fsspec URL of files; or a table (CSV, JSON lines, Parquet) of paths or bytes.

    An image's label is the name of the folder that it lies in. A ``metadata.csv``, ``.jsonl`` or ``.parquet`` at the
    top of a folder, with a column ``file_name``, says more of its files, as in `imagefolder` data sets. `columns`
    renames a table's columns; `licence` is an SPDX expression for every file that has none of its own; a licence file
    at the top of the folder is evidence, too.
    """

    kind: Literal["images"] = "images"
    name: Name
    path: Path
    columns: MediaColumns = Field(default_factory=dict)
    licence: str | None = None
    maximum_bytes: PayloadLimit = 64 << 20
    split_frames: bool = False

    opened_by: ClassVar[str] = FOLDER
    media: ClassVar[Media] = "image"
    captions: ClassVar[bool] = False


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Audio:
    """Audio clips, as `images`; ``metadata.csv`` as in `audiofolder` data sets."""

    kind: Literal["audio"] = "audio"
    name: Name
    path: Path
    columns: MediaColumns = Field(default_factory=dict)
    licence: str | None = None
    maximum_bytes: PayloadLimit = 256 << 20
    split_seconds: SplitSeconds = None

    opened_by: ClassVar[str] = FOLDER
    media: ClassVar[Media] = "audio"
    captions: ClassVar[bool] = False


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Pairs:
    """Images or clips with a text each: as `images`, with captions.

    In a folder a file's text lies beside it under the same name: ``.txt``, or ``.json`` with ``text`` (or caption,
    transcript) and whatever else is known (licence, label, group, uri). In a table it is the column ``text``.
    """

    kind: Literal["pairs"] = "pairs"
    name: Name
    path: Path
    media: Media = "image"
    columns: MediaColumns = Field(default_factory=dict)
    licence: str | None = None
    maximum_bytes: PayloadLimit = 256 << 20
    split_frames: bool = False
    split_seconds: SplitSeconds = None

    opened_by: ClassVar[str] = FOLDER
    captions: ClassVar[bool] = True


@dataclass(config=STRICT, frozen=True, kw_only=True)
class WebDataset:
    """Tars in the WebDataset form: members KEY.EXT of one key make a sample; also gzipped; a file, folder, glob or URL.

    Its image or clip is the first member with a suffix of its kind, its text ``.txt`` (with `captions`), the rest is
    told by ``.json``, as of `pairs`. Nothing is unpacked; what could escape or run is refused with its reason.
    """

    kind: Literal["webdataset"] = "webdataset"
    name: Name
    path: Path
    media: Media = "image"
    captions: bool = False
    columns: MediaColumns = Field(default_factory=dict)
    licence: str | None = None
    maximum_bytes: PayloadLimit = 64 << 20
    split_frames: bool = False
    split_seconds: SplitSeconds = None

    opened_by: ClassVar[str] = "tasks.curation.sources.tars:TarSource"


@dataclass(config=STRICT, frozen=True, kw_only=True)
class HuggingFaceMedia:
    """A data set of the Hugging Face hub, or a local copy of one, with a column of images or clips.

    Their bytes are taken as they are stored; `datasets` decodes nothing. `path`, `subset`, `split`, `streaming` and
    `licence` as of `huggingface`; `captions`: the column ``text`` (or caption, transcript) belongs to the sample.
    """

    kind: Literal["huggingface-media"] = "huggingface-media"
    name: Name
    path: Path
    media: Media = "image"
    captions: bool = False
    subset: str | None = None
    split: Annotated[str, Field(min_length=1)] = "train"
    streaming: bool = False
    columns: MediaColumns = Field(default_factory=dict)
    licence: str | None = None
    maximum_bytes: PayloadLimit = 64 << 20
    split_frames: bool = False
    split_seconds: SplitSeconds = None

    opened_by: ClassVar[str] = "tasks.curation.sources.huggingface_media:HuggingFaceMediaSource"


MediaSource = (
    Images | Audio | Pairs | WebDataset | HuggingFaceMedia
    | Digits | Glyphs | FashionMnist | OpenClipart | Utterances | Asterisk
)  # fmt: skip
