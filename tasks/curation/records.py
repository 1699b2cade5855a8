"""What a source yields, what a record is, and what a scorer must be: the seams of curation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

#: One row for every record read, unreadable ones too. Sorted by record_id.
#: ``text`` is null where nothing could be read; then ``ingest_rule`` says why.
#: ``evidence_id`` points into the evidence table (licence evidence repeats; it is stored once).
RECORD_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("source", pa.string()),
        ("uri", pa.string()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("content_sha256", pa.string()),
        ("bytes", pa.int64()),
        ("text", pa.large_string()),
        ("evidence_id", pa.string()),
        ("language_declared", pa.string()),
        ("ingest_rule", pa.string()),
        ("ingest_detail", pa.string()),
    ]
)

#: Beside it, where a source yields images or audio clips: the same rows, with the bytes as found (null: a text, or held
#: back at the source). A file of its own, so that the records of texts are what they always were.
PAYLOAD_SCHEMA = pa.schema([("record_id", pa.string()), ("media", pa.string()), ("payload", pa.large_binary())])

#: Licence evidence, once per distinct set of (field, value) pairs. Sorted by evidence_id.
#: Fields: ``expression`` (an SPDX expression by the publisher's word, as License-Expression), ``name`` (free text),
#: ``classifier`` (a trove classifier), ``url``, ``text`` (a whole licence text), ``file`` (a licence file that lies
#: beside, asked only when nothing else names a licence), ``vendored`` (the path part, such as ``_vendor``, that breaks
#: the chain to the distribution's licence; any other field beside it is the file's own).
#: Opt-outs for machines stand here too (`data_policies.opt_outs.FIELDS`).
EVIDENCE_SCHEMA = pa.schema(
    [
        ("evidence_id", pa.string()),
        ("fields", pa.list_(pa.struct([("field", pa.string()), ("value", pa.string())]))),
    ]
)

Evidence = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Raw:
    """One record as its source found it.

    `locator` is the given id, else the relative path: never a row number (a deleted line would rename all that follow).
    `payload` is what was read, byte for byte; for text that decoded it is the UTF-8 of `text` and may be left empty.
    A payload too large to hold is left empty too, and `sha256` and `size` are those of its bytes.
    `source` is the origin that the row itself names; empty: the recipe's name for the source.
    `media` is image or audio for a record whose `payload` is one: it is hashed and stored as found, and `text` is then
    the caption or transcript beside it, None or blank where there is none.
    """

    locator: str
    uri: str
    text: str | None
    payload: bytes = b""
    evidence: Evidence = ()
    label: str = ""
    group: str = ""
    language: str = ""
    rule: str = ""  # ingest.{utf8,json,truncated,empty,too_large}
    detail: str = ""
    source: str = ""
    sha256: str = ""
    size: int = 0
    media: str = ""

    def content(self) -> bytes:
        """The bytes that are hashed: the text's UTF-8, or the payload of an image, a clip, an undecodable text."""
        return self.payload if self.text is None or self.media else self.text.encode("utf-8", "surrogatepass")


class Source(Protocol):
    """A place that records come from.

    `read_count` is raised when a record is *found* (a line split, a footer read, a file listed), before it is parsed;
    ingestion checks that as many rows came out.
    """

    name: str
    read_count: int

    def digest(self) -> str:
        """Hex SHA-256 of the source's bytes and of what selects among them; UserError when there is nothing to read."""

    def total_bytes(self) -> int: ...

    def __iter__(self) -> Iterator[Raw]: ...


def record_id(source: str, locator: str, content_sha256: str, rank: int) -> str:
    """The first 32 hex of SHA-256(source NUL locator NUL content_sha256 NUL rank)."""
    return hashlib.sha256(
        f"{source}\0{locator}\0{content_sha256}\0{rank}".encode("utf-8", "surrogatepass")
    ).hexdigest()[:32]


class Scorer(Protocol):
    """A step that only measures: the same rows in the same order, columns of its own, never the text.

    Every output has a column ``error``: "" or the class name of the exception that this row raised. `score` may raise:
    the engine then halves the batch until it has found the row. It is called from several threads at once.
    """

    @property
    def name(self) -> str: ...

    @property
    def VERSION(self) -> int: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def schema(self) -> pa.Schema: ...

    def config(self) -> dict[str, Any]:
        """Everything besides the input rows that the output depends on (JSON-able; digests of models and keys)."""

    def score(self, batch: pa.Table) -> pa.Table: ...


@dataclass(frozen=True)
class Engine:
    """Where the data plane runs: in this process, or on a Ray cluster ("local", "auto" or host:port)."""

    ray_address: str | None = None
    workers: int = field(default=2)

    @property
    def block_factor(self) -> int:
        """How much larger than in one process the blocks are that a query gets: a cluster has more hands."""
        return 32 if self.ray_address else 1
