"""What recipes call the parts of a record, and the types that all source configs share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid")

#: What a row may say about its record. `licence_url` is licence evidence of its own.
RecordField = Literal[
    "id", "text", "licence", "licence_url", "uri", "source", "label", "group", "language",
    "x_robots_tag", "tdm_reservation", "ai_txt",
]  # fmt: skip
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
Path = Annotated[str, Field(min_length=1)]
Columns = Annotated[dict[RecordField, str], Field(description="record field: the column that holds it")]
Limit = Annotated[int, Field(ge=1, le=1_000_000_000, description="UTF-8 bytes; a longer text is quarantined")]
#: `media` is the column that holds the image or clip itself, or the path of its file; `text` its caption or transcript.
MediaColumns = Annotated[
    dict[RecordField | Literal["media"], str], Field(description="record field: the column that holds it")
]
PayloadLimit = Annotated[int, Field(ge=1, le=1 << 31, description="bytes as found; a larger file is quarantined")]
