"""The records of an ingestion on their way to one sorted file: on disk, for their texts need not fit into memory."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.curation.blocks import write_blocks, write_byte_blocks
from tasks.curation.records import EVIDENCE_SCHEMA, PAYLOAD_SCHEMA, RECORD_SCHEMA, Evidence, Raw, record_id
from tasks.curation.sources.rows import storable
from tasks.stages import sha256_json

_SURROGATE = re.compile("[\ud800-\udfff]")
ROWS = 5_000  # a row group, and how many rows wait in Python objects before they become Arrow
_FLUSH_BYTES = 32 << 20  # or as many of them as hold so much
SORTED_BYTES = 64 << 20  # sorted in memory at once
MAXIMUM_FILES = 400  # open at once; of more than that times SORTED_BYTES larger parts are sorted
_SAID = ["evidence_id", "label", "group", "language_declared", "ingest_rule", "ingest_detail", "uri"]
_SAID += ["record_id", "content_sha256", "_source", "_locator"]
#: The parts of a record's id as they were before `storable` made strings of them.
_PARTS = [pa.field("_source", pa.binary()), pa.field("_locator", pa.binary())]
_MEDIA = list(PAYLOAD_SCHEMA)[1:]
PAYLOAD_BYTES = 8 << 20  # of a row group of payloads


def evidence_id(evidence: Evidence) -> str:
    """The address of a set of licence evidence: SHA-256 of its canonical JSON. No evidence has an address too."""
    return sha256_json([list(pair) for pair in evidence])


def settle(raw: Raw) -> tuple[str | None, str, str, bytes]:
    """(text, rule, detail, content): the text of an admissible record, or None and the rule that holds it back.

    A text with NUL is held back: it is binary data more often than prose, and a scanner written in C that stops there
    would miss what follows. So is one with a lone surrogate, which UTF-8 cannot hold. An image or a clip may be without
    a text; its content is its payload, whatever becomes of the text.
    """
    if raw.rule:
        return None, raw.rule, raw.detail, raw.content()
    text, content = raw.text, raw.content()
    if raw.media and (text is None or not text.strip()):
        return None, "", "", content
    if text is None:
        raise RuntimeError("a source yielded a record with neither text nor a rule")
    if not text.strip():
        return None, "ingest.empty", "no text but white space" if text else "no text", content
    if "\0" in text:
        return None, "ingest.utf8", "NUL character", content
    if not text.isascii() and _SURROGATE.search(text):
        return None, "ingest.utf8", "lone surrogate", content
    return text, "", "", content


class Rows:
    """The records read so far, in a file; in memory stay 17 bytes of each, and the distinct evidence.

    `media`: may images and audio clips be among them? Then `write` puts their payloads into a file of their own.
    """

    def __init__(self, spill: IO[bytes], media: bool = False) -> None:
        self.media = media
        self._schema = pa.schema([*RECORD_SCHEMA, *(_MEDIA if media else ())])
        spilled = pa.schema([*self._schema, *_PARTS])
        self._columns: dict[str, list[Any]] = {name: [] for name in spilled.names}
        self._spill = spill
        self._spilled = spilled
        self._writer = pa.ipc.new_stream(spill, spilled, options=pa.ipc.IpcWriteOptions(compression="lz4"))
        self._evidence: dict[str, Evidence] = {}
        self._known: dict[Evidence, str] = {}
        self._ids = bytearray()
        self._bytes = self._flushed = 0

    def __len__(self) -> int:
        return len(self._ids) // 16

    def add(self, raw: Raw, source: str) -> None:
        """Take one record. A text that cannot be stored or that holds nothing loses its place to a rule."""
        if raw.media and not self.media:
            raise RuntimeError("a source that is none of media yielded one")
        source = raw.source or source
        text, rule, detail, content = settle(raw)
        sha256 = raw.sha256 or hashlib.sha256(content).hexdigest()
        identity = record_id(source, raw.locator, sha256, 0)
        self._ids += bytes.fromhex(identity)
        row = (
            *(identity, storable(source), storable(raw.uri), storable(raw.group), storable(raw.label)),
            *(sha256, raw.size if raw.sha256 else len(content), text, self._evidence_id(raw.evidence)),
            *(storable(raw.language), rule, detail),
            *((raw.media, raw.payload if raw.media and not rule else None) if self.media else ()),
            *(part.encode("utf-8", "surrogatepass") for part in (source, raw.locator)),
        )
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        self._bytes += len(content) + 400
        if len(self) % ROWS == 0 or self._bytes > self._flushed + _FLUSH_BYTES:
            self._flush()

    def write(self, path: Path, payloads: Path | None = None) -> None:
        """All rows under their final ids, sorted by them, as one Parquet file; what `media` adds goes to `payloads`."""
        self._flush()
        self._writer.close()
        ids = self._final_ids()
        parts = min(max(1, -(-self._bytes // SORTED_BYTES)), MAXIMUM_FILES)
        edges = [f"{part * (1 << 32) // parts:08x}" for part in range(1, parts)]
        with contextlib.ExitStack() as stack:
            if parts == 1:
                whole = _sorted(pa.concat_tables(self._batches(ids)))
                self._write_sorted(lambda: iter([whole]), path, payloads)
                return
            files = [stack.enter_context(tempfile.TemporaryFile(prefix="gristmill-sort-")) for _ in range(parts)]
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            writers = [pa.ipc.new_stream(file, self._schema, options=options) for file in files]
            for table in self._batches(ids):
                part = np.searchsorted(edges, table["record_id"].to_numpy().astype(str), "right")
                for number in np.unique(part).tolist():
                    writers[number].write_table(table.filter(pa.array(part == number)).combine_chunks())
            for writer in writers:
                writer.close()
            self._write_sorted(lambda: (_sorted(_reopened(file).read_all()) for file in files), path, payloads)

    def _write_sorted(self, tables: Callable[[], Iterator[pa.Table]], path: Path, payloads: Path | None) -> None:
        write_blocks((table.select(RECORD_SCHEMA.names) for table in tables()), path, RECORD_SCHEMA, ROWS)
        if payloads:
            parts = (table.select(PAYLOAD_SCHEMA.names) for table in tables())
            write_byte_blocks(parts, payloads, PAYLOAD_SCHEMA, PAYLOAD_BYTES)

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
            self._writer.write_batch(pa.RecordBatch.from_pydict(self._columns, schema=self._spilled))
            for column in self._columns.values():
                column.clear()
        self._flushed = self._bytes

    def _batches(self, ids: dict[int, str]) -> Iterator[pa.Table]:
        """The rows as they were read, a batch at a time, with the ids of `ids` in the place of theirs."""
        start = 0
        for batch in _reopened(self._spill):
            table = pa.Table.from_batches([batch]).select(self._schema.names)
            here = (
                {row - start: name for row in range(start, start + len(table)) if (name := ids.get(row))} if ids else {}
            )
            if here:
                names = table["record_id"].to_pylist()
                names = [here.get(row, name) for row, name in enumerate(names)]
                table = table.set_column(0, RECORD_SCHEMA.field(0), pa.array(names, pa.string()))
            start += len(table)
            yield table

    def _final_ids(self) -> dict[int, str]:
        """Row -> id, of the rows that equal another in source, locator and content: each has a rank of its own."""
        ids = np.frombuffer(self._ids, np.uint64).reshape(-1, 2)
        order = np.lexsort(ids.T)
        same = np.append(False, (ids[order[1:]] == ids[order[:-1]]).all(axis=1))
        alike = np.sort(order[same | np.append(same[1:], False)])
        if len(alike) == 0:
            return {}
        found, start = [], 0
        columns = [*_SAID, "text"] if self.media else _SAID  # equal payloads may have different texts beside them
        for batch in _reopened(self._spill):
            here = alike[(alike >= start) & (alike < start + len(batch))] - start
            found += pa.table(batch.select(columns)).take(pa.array(here)).to_pylist()
            start += len(batch)
        groups: dict[str, list[tuple[tuple[Any, ...], int, dict[str, Any]]]] = {}
        for row, said in zip(alike.tolist(), found, strict=True):
            # By what else they say, and only then by where they stood: the order of lines must not decide of a licence.
            key = (*(said[name] for name in _SAID[:-4]), said.get("text") or "")
            groups.setdefault(said["record_id"], []).append((key, row, said))
        final = {}
        for group in groups.values():
            for rank, (_, row, said) in enumerate(sorted(group, key=lambda item: item[:2])):
                source, locator = (said[name].decode("utf-8", "surrogatepass") for name in ("_source", "_locator"))
                final[row] = record_id(source, locator, said["content_sha256"], rank)
        return final


def _reopened(file: IO[bytes]) -> pa.RecordBatchStreamReader:
    file.seek(0)
    return pa.ipc.open_stream(file)


def _sorted(table: pa.Table) -> pa.Table:
    return table.take(pc.sort_indices(table["record_id"]))
