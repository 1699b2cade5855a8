"""Files of the same records side by side, a block of rows at a time: nothing is joined and nothing is held whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.curation import blocks


@dataclass(frozen=True)
class Part:
    """A Parquet file with a column ``record_id``, or some `columns` of it besides; ``error`` becomes ``error.NAME``."""

    path: Path
    name: str
    columns: Sequence[str] | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns as the file has them, record_id first."""
        found = pq.read_schema(self.path).remove_metadata()
        wanted = found.names if self.columns is None else ["record_id", *self.columns]
        return pa.schema([found.field(name) for name in wanted])


def side_by_side(parts: Sequence[Part], rows: int | None = None) -> Iterator[pa.Table]:
    """The parts' columns beside each other, `rows` (BLOCK_ROWS) at a time; one empty table when there are no rows.

    RuntimeError unless all parts have the same record ids in the same order.
    """
    rows = rows or blocks.BLOCK_ROWS
    counts = [pq.read_metadata(part.path).num_rows for part in parts]
    for part, count in zip(parts, counts, strict=True):
        if count != counts[0]:
            raise RuntimeError(f"{part.name}: {count} rows stand beside {counts[0]}")
    readers = [_rows(part, rows) for part in parts]
    for tables in zip(*readers, strict=True):
        left = tables[0]
        for part, right in zip(parts[1:], tables[1:], strict=True):
            left = beside(left, right, part.name)
        yield left


def beside(left: pa.Table, right: pa.Table, name: str) -> pa.Table:
    """Put `right`'s columns beside `left`'s; RuntimeError unless both have the same record ids in the same order."""
    if not left["record_id"].equals(right["record_id"]):
        raise RuntimeError(f"{name}: other records than beside it, or in another order")
    for column in right.column_names[1:]:
        left = left.append_column(f"error.{name}" if column == "error" else column, right[column])
    return left


def _rows(part: Part, rows: int) -> Iterator[pa.Table]:
    """A part, `rows` at a time whatever its row groups are; at least one table, and none is empty besides."""
    schema = part.schema
    waiting, count, given = [schema.empty_table()], 0, 0
    with pq.ParquetFile(part.path, memory_map=False, pre_buffer=False) as file:
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group, columns=schema.names, use_threads=False)
            waiting.append(table.select(schema.names).replace_schema_metadata(None))
            count += len(table)
            whole = pa.concat_tables(waiting)
            while count >= rows:
                yield whole.slice(0, rows).combine_chunks()
                whole, count, given = whole.slice(rows), count - rows, given + rows
            waiting = [whole]
    if count or not given:
        yield pa.concat_tables(waiting).combine_chunks()
