"""Tables that are read a block at a time, because their texts need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BLOCK_ROWS = 20_000
BLOCK_BYTES = 32 << 20


class Blocks(Protocol):
    """Rows sorted by record_id, as often as they are asked for."""

    def __len__(self) -> int: ...

    def blocks(self, columns: Sequence[str]) -> Iterator[pa.Table]: ...


@dataclass(frozen=True)
class FileBlocks:
    """The rows of a Parquet file, or those `wanted` (bool, one for each row of the file).

    `factor`: how much larger than usual the blocks may be; a cluster has more hands, and more memory.
    """

    path: Path
    wanted: np.ndarray | None = None
    factor: int = 1

    def __len__(self) -> int:
        return pq.read_metadata(self.path).num_rows if self.wanted is None else int(self.wanted.sum())

    def blocks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Whole row groups, until they hold BLOCK_ROWS rows or BLOCK_BYTES (times `factor`); no block is empty."""
        waiting: list[pa.Table] = []
        start = rows = size = 0
        with pq.ParquetFile(self.path, memory_map=False, pre_buffer=False) as file:
            for group in range(file.metadata.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                chosen = None if self.wanted is None else self.wanted[start:end]
                start = end
                if chosen is not None and not chosen.any():
                    continue
                table = file.read_row_group(group, columns=list(columns), use_threads=False)
                if chosen is not None and not chosen.all():
                    table = table.filter(pa.array(chosen))
                waiting.append(table)
                rows, size = rows + len(table), size + table.nbytes
                if rows >= BLOCK_ROWS * self.factor or size >= BLOCK_BYTES * self.factor:
                    yield pa.concat_tables(waiting).combine_chunks()
                    waiting, rows, size = [], 0, 0
        if rows:
            yield pa.concat_tables(waiting).combine_chunks()


class TableBlocks:
    """The rows of a table in memory, in blocks as of a file; without a column ``source`` all are of one."""

    def __init__(self, table: pa.Table) -> None:
        if "source" not in table.column_names:
            table = table.append_column("source", pa.array([""] * len(table), pa.string()))
        self.table = table.sort_by("record_id")

    def __len__(self) -> int:
        return len(self.table)

    def blocks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """BLOCK_ROWS rows at a time."""
        for start in range(0, len(self.table), BLOCK_ROWS):
            yield self.table.select(list(columns)).slice(start, BLOCK_ROWS).combine_chunks()


def write_blocks(tables: Iterator[pa.Table], path: Path, schema: pa.Schema, rows: int) -> None:
    """One zstd Parquet file of these rows in row groups of `rows`: its bytes do not depend on how they were cut."""
    waiting: list[pa.Table] = []
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd", write_statistics=True) as writer:
        for table in tables:
            waiting.append(table.cast(schema))
            count += len(table)
            if count >= rows:
                whole = pa.concat_tables(waiting)
                full = count - count % rows
                for start in range(0, full, rows):
                    writer.write_table(whole.slice(start, rows).combine_chunks(), row_group_size=rows)
                rest = pa.array(np.arange(full, count))
                waiting, count = [whole.take(rest)], count - full  # a slice would hold on to the whole
                del whole
            del table  # while the next one is made
        if count:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=rows)


def write_byte_blocks(tables: Iterator[pa.Table], path: Path, schema: pa.Schema, size: int, rows: int = 5_000) -> None:
    """As `write_blocks` of rows that hold whole files: a row group ends with the row that brings the bytes of its
    large_binary columns to `size`, or with the `rows`-th. Those columns are stored as they are, not compressed twice.
    """
    binary = [field.name for field in schema if pa.types.is_large_binary(field.type)]
    others = [name for name in schema.names if name not in binary]
    packing = {name: "NONE" if name in binary else "ZSTD" for name in schema.names}
    waiting: list[pa.Table] = []
    count = held = 0
    with pq.ParquetWriter(path, schema, compression=packing, use_dictionary=others, write_statistics=others) as writer:
        for table in tables:
            table = table.cast(schema)
            lengths = sum(pc.fill_null(pc.binary_length(table[name]), 0).to_numpy() for name in binary)
            start = 0
            for row, length in enumerate(lengths.tolist(), 1):
                count, held = count + 1, held + length
                if held >= size or count >= rows:
                    group = pa.concat_tables([*waiting, table.slice(start, row - start)]).combine_chunks()
                    writer.write_table(group, row_group_size=count)
                    waiting, count, held, start = [], 0, 0, row
            if start < len(table):
                waiting.append(table.slice(start))
        if count:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=count)
