"""Where records come from: the configs that a recipe may name, and the sources that they open.

Importing this package is cheap; a source's own module is imported when it is opened.
"""

from __future__ import annotations

import importlib
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tasks.curation.records import Source
from tasks.curation.sources.fields import STRICT, Columns, Limit, Name, RecordField
from tasks.curation.sources.media import MediaSource

__all__ = ["Files", "HuggingFace", "PythonDocs", "RecordField", "SourceConfig", "open_source"]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class PythonDocs:
    """READMEs and docstrings of the installed Python distributions; nothing is imported.

    `distributions`: only these (none: all); `exclude`: not these. Both take names or glob patterns, in any spelling of
    the name (PEP 503).
    """

    kind: Literal["python-docs"] = "python-docs"
    name: Name = "python-docs"
    distributions: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    opened_by: ClassVar[str] = "tasks.curation.sources.python_docs:PythonDocsSource"
    media: ClassVar[str] = ""  # the kind of what it yields beside or in place of texts


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Files:
    """JSON lines, Parquet, CSV or text files, also gzipped or as zstd: a file, a folder, a glob, or any fsspec URL.

    Without `columns` the names are id, text, licence (or license), licence_url, uri, source, label, group, language,
    and the opt-outs x_robots_tag, tdm_reservation, ai_txt. `licence` is an SPDX expression for every row that
    has none of its own.
    """

    kind: Literal["files"] = "files"
    name: Name
    path: Annotated[str, Field(min_length=1)]
    columns: Columns = Field(default_factory=dict)
    maximum_text_bytes: Limit = 10_000_000
    licence: str | None = None

    opened_by: ClassVar[str] = "tasks.curation.sources.files:FilesSource"
    media: ClassVar[str] = ""


@dataclass(config=STRICT, frozen=True, kw_only=True)
class HuggingFace:
    """A data set of the Hugging Face hub, or a local copy of one, through `datasets`.

    `path` is a hub name or a folder (data files, or what `save_to_disk` wrote); `subset` is the hub's configuration
    name. `licence` is an SPDX expression for every row that has none of its own, in place of the card's licence.
    """

    kind: Literal["huggingface"] = "huggingface"
    name: Name
    path: Annotated[str, Field(min_length=1)]
    subset: str | None = None
    split: Annotated[str, Field(min_length=1)] = "train"
    streaming: bool = False
    columns: Columns = Field(default_factory=dict)
    maximum_text_bytes: Limit = 10_000_000
    licence: str | None = None

    opened_by: ClassVar[str] = "tasks.curation.sources.huggingface:HuggingFaceSource"
    media: ClassVar[str] = ""


SourceConfig = PythonDocs | Files | HuggingFace | MediaSource


def open_source(config: SourceConfig) -> Source:
    """The source that `config` describes. UserError when there is nothing at its path."""
    module, _, name = config.opened_by.partition(":")
    source: Source = getattr(importlib.import_module(module), name)(config)
    return source
