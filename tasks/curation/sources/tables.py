"""CSV and Parquet -> records: a record for every row, those in broken places too."""

from __future__ import annotations

import csv
import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from tasks.curation.records import Raw
from tasks.curation.sources.jsonlines import Count, broken_line
from tasks.curation.sources.rows import RowReader
from tasks.curation.sources.splitting import Line, lines
from tasks.errors import UserError

_BATCH = 256  # Parquet rows decoded at once, or fewer where they are large
_BATCH_BYTES = 1 << 26


def read_csv(pieces: Iterator[bytes], path: str, rows: RowReader, count: Count, delimiter: str) -> Iterator[Raw]:
    """The records of a CSV stream with a header (RFC 4180, UTF-8). UserError when no column holds the text.

    A row with too many or too few fields, or that breaks the quoting, is ``ingest.json``: the rule of rows that cannot
    be parsed. A quote that never closes costs its own line, not those after it.
    """
    limit = 2 * rows.maximum + (1 << 20)  # a quote in a quoted field takes two
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    found = _csv_records(lines(pieces, limit), delimiter, limit)
    header: list[str] | None = None
    for record in found:
        if isinstance(record, Line):
            count(1)
            yield broken_line(record, path)
            continue
        number, data, fields = record
        if header is None:
            header = _header(data, fields, path, rows)
            continue
        count(1)
        if fields is None or len(fields) != len(header):
            detail = "broken quoting" if fields is None else f"{len(fields)} fields under {len(header)} columns"
            try:
                data.decode()
                rule = "ingest.json"
            except UnicodeDecodeError:
                rule, detail = "ingest.utf8", "not UTF-8"
            yield Raw(path, f"{path}#{number}", None, data, rule=rule, detail=detail)
            continue
        try:  # read as Latin-1, where every byte is a character, so that a bad one stays in its row
            values = [field if field.isascii() else field.encode("latin-1").decode() for field in fields]
        except UnicodeDecodeError:
            yield Raw(path, f"{path}#{number}", None, data, rule="ingest.utf8", detail="a field is not UTF-8")
            continue
        yield rows.raw(dict(zip(header, values, strict=True)), path, number, data)


def _header(data: bytes, fields: list[str] | None, path: str, rows: RowReader) -> list[str]:
    try:
        names = [field.encode("latin-1").decode() for field in fields or []]
    except UnicodeDecodeError:
        names = []
    if not rows.has_text(names):
        raise missing_text(path, names, rows)
    return names


def missing_text(path: str, names: list[str], rows: RowReader) -> UserError:
    """The error of a table in which no column is the text (or says where the image or clip is)."""
    column, field = rows.needed
    known = ", ".join(names[:20]) or "none"
    hint = f"its columns: {known}; name the one that holds the {field} in `columns: {{{field}: ...}}`"
    return UserError(f"there is no column '{column}'", where=path, hint=hint)


def _csv_records(
    source: Iterator[Line], delimiter: str, limit: int
) -> Iterator[tuple[int, bytes, list[str] | None] | Line]:
    """(line number, bytes, fields or None where they cannot be parsed) for each record; and broken Lines."""
    waiting: deque[Line] = deque()  # lines that a failed record had taken too many of
    taken: list[Line] = []
    fault: Line | None = None

    def feed() -> Iterator[str]:
        nonlocal fault
        size = 0
        while line := (waiting.popleft() if waiting else next(source, None)):
            if line.fault:
                fault = line
                return
            taken.append(line)
            size += len(line.data) + 1
            if size > limit:
                raise csv.Error("a quote that does not close")
            yield line.data.decode("latin-1") + "\n"

    while True:
        taken.clear()
        fields: list[str] | None
        try:
            fields = next(csv.reader(feed(), delimiter=delimiter, strict=True), None)
        except csv.Error:
            fields = None
        if taken:
            if fields is None:
                waiting.extendleft([fault] if fault else [])
                waiting.extendleft(reversed(taken[1:]))
                fault = None
                yield taken[0].number, taken[0].data, None
            elif fields:
                yield taken[0].number, b"\n".join(line.data for line in taken), fields
        elif fault is None:
            return
        if fault:
            yield fault
            fault = None


def read_parquet(file: BinaryIO, path: str, rows: RowReader, count: Count) -> Iterator[Raw]:
    """The records of a Parquet file; `count(n)` is told the footer's number of rows before any is read.

    Rows that cannot be decoded are ``ingest.truncated``, one record each; a file without a footer is one record.
    UserError when no column holds the text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        footer, names = parquet.metadata, parquet.schema_arrow.names
    except (pa.ArrowException, OSError):
        count(1)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        size = file.seek(0, 2)
        detail = f"no readable Parquet footer in {size} bytes"
        yield Raw(
            f"{path}#tail", f"{path}#tail", None, rule="ingest.truncated", detail=detail, sha256=digest, size=size
        )
        return
    if not rows.has_text(names):
        raise missing_text(path, names, rows)
    count(footer.num_rows)
    wanted = rows.wanted(names)
    number = 0
    for group in range(footer.num_row_groups):
        about = footer.row_group(group)
        end = number + about.num_rows
        batch_size = max(1, min(_BATCH, _BATCH_BYTES * about.num_rows // max(about.total_byte_size, 1)))
        try:
            for batch in parquet.iter_batches(batch_size, row_groups=[group], columns=wanted):
                for row in batch_rows(batch):
                    number += 1
                    yield row_record(row, path, number, rows)
        except (pa.ArrowException, OSError) as error:
            detail = f"row group {group} cannot be decoded: {type(error).__name__}"
            for row_number in range(number + 1, end + 1):
                uri = f"{path}#{row_number}"
                yield Raw(f"{path}#tail", uri, None, rule="ingest.truncated", detail=detail)
        number = end


def row_record(row: dict[str, Any] | bytes, path: str, number: int, rows: RowReader) -> Raw:
    """The record of one of `batch_rows`."""
    if isinstance(row, bytes):
        return Raw(path, f"{path}#{number}", None, row, rule="ingest.utf8", detail="a value cannot be decoded")
    return rows.raw(row, path, number)


def batch_rows(batch) -> Iterator[dict[str, Any] | bytes]:
    """The rows of a record batch; the bytes of the value that is not UTF-8 in place of a row that holds one.

    Parquet calls a column text without looking, so strings are read as bytes and decoded one by one.
    """
    columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for values in zip(*columns.values(), strict=True):
        bad = next((value for value in values if isinstance(value, _Undecodable)), None)
        yield bad.data if bad else dict(zip(columns, values, strict=True))


class _Undecodable:
    """In place of a value that Python cannot hold: text that is not UTF-8, a time out of range."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def _values(column) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    as_bytes = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
    if column.type in as_bytes:
        return [_decoded(value) for value in column.cast(as_bytes[column.type]).to_pylist()]
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        return [_alone(value) for value in column]


def _decoded(value: bytes | None) -> str | None | _Undecodable:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return _Undecodable(value or b"")


def _alone(value) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return _Undecodable(error.object)
    except (ValueError, OverflowError):
        return _Undecodable(b"")
