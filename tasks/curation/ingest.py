"""Sources -> the records table: one row for every record found, each with an id that no other row has."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.curation.records import EVIDENCE_SCHEMA, RECORD_SCHEMA, Evidence, Raw, record_id
from tasks.curation.sources import SourceConfig, open_source
from tasks.curation.sources.rows import storable
from tasks.errors import UserError
from tasks.governance.ledger import write_parquet
from tasks.stages import sha256_json

VERSION = 1
_SURROGATE = re.compile("[\ud800-\udfff]")
ROWS = 5_000  # a row group, and how many rows wait in Python objects before they become Arrow
_REPORT_EVERY = 500  # records
Progress = Callable[[int], object]  # called with the number of records just read


def source_digests(sources: Sequence[SourceConfig]) -> list[dict[str, Any]]:
    """[{name, kind, digest, bytes}] for the stage key: every source's bytes are read and hashed.

    UserError for a missing or unreadable path, and for two sources of one name.
    """
    _require_distinct_names(sources)
    found = []
    for config in sources:
        source = open_source(config)
        entry = {"name": config.name, "kind": config.kind, "digest": source.digest(), "bytes": source.total_bytes()}
        found.append(entry)
    return found


def require_records(sources: Sequence[SourceConfig]) -> None:
    """UserError for a source without a record; only the first record of each is read."""
    for config in sources:
        if next(iter(open_source(config)), None) is None:
            raise _empty(config)


def _empty(config: SourceConfig) -> UserError:
    where = getattr(config, "path", "the installed distributions")
    return UserError(f"the source '{config.name}' holds no records", where=where, hint="check what it points to")


def ingest(sources: Sequence[SourceConfig], folder: Path, progress: Progress | None = None) -> None:
    """Write records.parquet, evidence.parquet and sources.json into `folder`.

    UserError when a source holds no record (nothing is written then); RuntimeError when a source yields another number
    of records than it found.
    """
    _require_distinct_names(sources)
    rows = Rows()
    summary = []
    for config in sources:
        source = open_source(config)
        before = len(rows)
        for number, raw in enumerate(source, 1):
            rows.add(raw, config.name)
            if progress and number % _REPORT_EVERY == 0:
                progress(_REPORT_EVERY)
        read = len(rows) - before
        if progress and read % _REPORT_EVERY:
            progress(read % _REPORT_EVERY)
        if read != source.read_count:
            raise RuntimeError(f"{config.name}: {source.read_count} records were found and {read} came out")
        if not read:
            raise _empty(config)
        digest, size = source.digest(), source.total_bytes()
        summary.append({"name": config.name, "kind": config.kind, "digest": digest, "records": read, "bytes": size})
    _write_sorted(rows.table(), folder / "records.parquet")
    write_parquet(rows.evidence_table(), folder / "evidence.parquet")
    (folder / "sources.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")


def evidence_id(evidence: Evidence) -> str:
    """The address of a set of licence evidence: SHA-256 of its canonical JSON. No evidence has an address too."""
    return sha256_json([list(pair) for pair in evidence])


def settle(raw: Raw) -> tuple[str | None, str, str, bytes]:
    """(text, rule, detail, content): the text of an admissible record, or None and the rule that holds it back.

    A text with NUL is held back: it is binary data more often than prose, and a scanner written in C that stops there
    would miss what follows. So is one with a lone surrogate, which UTF-8 cannot hold.
    """
    if raw.rule:
        return None, raw.rule, raw.detail, raw.content()
    text = raw.text
    if text is None:
        raise RuntimeError("a source yielded a record with neither text nor a rule")
    content = raw.content()
    if not text.strip():
        return None, "ingest.empty", "no text but white space" if text else "no text", content
    if "\0" in text:
        return None, "ingest.utf8", "NUL character", content
    if not text.isascii() and _SURROGATE.search(text):
        return None, "ingest.utf8", "lone surrogate", content
    return text, "", "", content


@dataclass(slots=True)
class Alike:
    """Rows that are equal in source, locator and content."""

    source: str
    locator: str
    content_sha256: str
    rows: list[int]


class Rows:
    """The records read so far, as Arrow, and the ranks of those that are equal."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in RECORD_SCHEMA.names}
        self._batches: list[pa.RecordBatch] = []
        self._evidence: dict[str, Evidence] = {}
        self._known: dict[Evidence, str] = {}
        self._first: dict[str, int] = {}  # id at rank 0 -> row
        self._again: dict[str, Alike] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, raw: Raw, source: str) -> None:
        """Take one record. A text that cannot be stored or that holds nothing loses its place to a rule."""
        source = raw.source or source
        text, rule, detail, content = settle(raw)
        sha256 = raw.sha256 or hashlib.sha256(content).hexdigest()
        identity = record_id(source, raw.locator, sha256, 0)
        if (first := self._first.setdefault(identity, self._count)) != self._count:
            alike = self._again.setdefault(identity, Alike(source, raw.locator, sha256, [first]))
            alike.rows.append(self._count)
        row = (
            *(identity, storable(source), storable(raw.uri), storable(raw.group), storable(raw.label)),
            *(sha256, raw.size if raw.sha256 else len(content), text, self._evidence_id(raw.evidence)),
            *(storable(raw.language), rule, detail),
        )
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        self._count += 1
        if self._count % ROWS == 0:
            self._flush()

    def table(self) -> pa.Table:
        """All rows under their final ids, in the order in which they were read."""
        self._flush()
        table = pa.Table.from_batches(self._batches, RECORD_SCHEMA)
        if not self._again:
            return table
        ids = table["record_id"].to_pylist()
        for alike in self._again.values():
            for rank, row in enumerate(_ranked(table, alike.rows)):
                ids[row] = record_id(alike.source, alike.locator, alike.content_sha256, rank)
        return table.set_column(0, RECORD_SCHEMA.field(0), pa.array(ids, pa.string()))

    def evidence_table(self) -> pa.Table:
        """Every set of evidence once, sorted by its id."""
        rows = sorted(self._evidence.items())
        fields = [[{"field": field, "value": value} for field, value in evidence] for _, evidence in rows]
        return pa.table([pa.array([key for key, _ in rows]), fields], schema=EVIDENCE_SCHEMA)

    def _evidence_id(self, evidence: Evidence) -> str:
        if evidence not in self._known:
            key = evidence_id(evidence)
            self._known[evidence] = key
            self._evidence[key] = evidence
        return self._known[evidence]

    def _flush(self) -> None:
        if self._columns["record_id"]:
            self._batches.append(pa.RecordBatch.from_pydict(self._columns, schema=RECORD_SCHEMA))
            for column in self._columns.values():
                column.clear()


def _ranked(table: pa.Table, rows: list[int]) -> list[int]:
    """Equal rows in the order of their ranks: by what else they say, and only then by where they stood.

    The order of lines in a file must not decide which licence an id has.
    """
    others = ["evidence_id", "label", "group", "language_declared", "ingest_rule", "ingest_detail", "uri"]
    said = {
        row: tuple(values.values())
        for row, values in zip(rows, table.select(others).take(rows).to_pylist(), strict=True)
    }
    return sorted(rows, key=lambda row: (said[row], row))


def _write_sorted(table: pa.Table, path: Path) -> None:
    """One Parquet file sorted by record_id, sorted a row group at a time: the texts are not copied whole."""
    table = table.combine_chunks()
    order = pc.sort_indices(table["record_id"])
    with pq.ParquetWriter(path, RECORD_SCHEMA, compression="zstd", write_statistics=True) as writer:
        for start in range(0, len(table), ROWS):
            writer.write_table(table.take(order.slice(start, ROWS)).combine_chunks(), row_group_size=ROWS)


def _require_distinct_names(sources: Sequence[SourceConfig]) -> None:
    names = [config.name for config in sources]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two sources are called '{name}'", where="sources", hint="give each its own `name`")
