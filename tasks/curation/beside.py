"""Files of the same records side by side, a block of rows at a time: nothing is joined and nothing is held whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
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


def put(table: pa.Table, name: str, values: Any) -> pa.Table:
    """The table with this column in the place of the one of its name, or behind the others."""
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)


def array_of(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array; pyarrow keeps an empty one chunked."""
    if isinstance(column, pa.Array):
        return column
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


class Stream:
    """Tables one after the other, taken as many rows at a time as are asked for."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._waiting: pa.Table | None = None

    def take(self, rows: int) -> pa.Table | None:
        """The next `rows`, or fewer where there are no more; None when no table ever came."""
        while self._waiting is None or len(self._waiting) < rows:
            if not self._more():
                break
        return self._give(rows)

    def until(self, record_id: str) -> pa.Table | None:
        """The next rows up to and with `record_id`, by which they are sorted; None when no table ever came."""
        while self._waiting is None or len(self._waiting) == 0 or self._waiting["record_id"][-1].as_py() < record_id:
            if not self._more():
                break
        if self._waiting is None:
            return None
        return self._give(pc.sum(pc.less_equal(self._waiting["record_id"], record_id)).as_py() or 0)

    def _more(self) -> bool:
        table = next(self._tables, None)
        if table is None:
            return False
        self._waiting = table if self._waiting is None else pa.concat_tables([self._waiting, table])
        return True

    def _give(self, rows: int) -> pa.Table | None:
        if self._waiting is None:
            return None
        taken, self._waiting = self._waiting.slice(0, rows), self._waiting.slice(rows)
        return taken


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
