"""The ledger: one row for every record read, and why it went where it went."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.curation.blocks import FileBlocks, write_blocks
from tasks.governance.verdicts import ADMITTED, VERDICTS

__all__ = [
    "ADMITTED",
    "LEDGER_SCHEMA",
    "ROW_GROUP",
    "SPAN",
    "VERDICTS",
    "count_verdicts",
    "ledger_blocks",
    "read_ledger",
    "write_ledger",
    "write_parquet",
]

SPAN = pa.struct(
    [
        ("type", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("action", pa.string()),
        ("value_hmac", pa.string()),
    ]
)

LEDGER_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("source", pa.string()),
        ("uri", pa.string()),
        ("split", pa.string()),
        ("content_sha256", pa.string()),
        ("sample_sha256", pa.string()),
        ("licence_declared", pa.string()),
        ("licence", pa.string()),
        ("language", pa.string()),
        ("verdict", pa.string()),
        ("rule", pa.string()),
        ("rules", pa.list_(pa.string())),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("detail", pa.string()),
        ("policy_sha256", pa.string()),
        ("survivor_id", pa.string()),
        ("similarity", pa.float64()),
        ("spans", pa.list_(SPAN)),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("bytes", pa.int64()),
    ]
)

ROW_GROUP = 20_000  # rows: a look-up by record_id reads one group (6.5 ms at 1 million rows)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write one Parquet file whose bytes depend on the rows alone: one chunk, fixed row groups, zstd."""
    pq.write_table(table.combine_chunks(), path, compression="zstd", row_group_size=ROW_GROUP, write_statistics=True)


def write_ledger(rows: pa.Table | Iterator[pa.Table], folder: Path) -> Path:
    """Write the ledger, sorted by record_id, to ``folder/part-00000.parquet``; ValueError on a duplicate record_id.

    `rows`: a table, or blocks of one that are sorted already (ValueError if they are not); the bytes are the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "part-00000.parquet"
    if isinstance(rows, pa.Table):
        rows = iter([rows.select(LEDGER_SCHEMA.names).cast(LEDGER_SCHEMA).sort_by("record_id")])
    try:
        write_blocks(_ascending(rows), path, LEDGER_SCHEMA, ROW_GROUP)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _ascending(blocks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The ledger's columns of the blocks; ValueError unless their record ids ascend."""
    last = None
    for block in blocks:
        ids = block["record_id"].combine_chunks()
        falls = pc.any(pc.greater_equal(ids[:-1], ids[1:])).as_py()
        if falls or (last is not None and len(ids) and last >= ids[0].as_py()):
            raise ValueError("two ledger rows share a record_id, or they are not sorted")
        last = ids[-1].as_py() if len(ids) else last
        yield block.select(LEDGER_SCHEMA.names)


def read_ledger(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """The ledger of a corpus version (or of a refused one), whole or some `columns` of it.

    A column that was added after the ledger was written is null.
    """
    return pq.read_table(folder, columns=columns, schema=LEDGER_SCHEMA)


def ledger_blocks(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Some columns of a ledger, a block of rows at a time."""
    for path in sorted(folder.glob("*.parquet")):
        yield from FileBlocks(path).blocks(columns)


def count_verdicts(rows: pa.Table) -> dict[str, int]:
    """Rows by verdict; every verdict is a key."""
    found = {item["values"]: item["counts"] for item in rows["verdict"].value_counts().to_pylist()}
    return {verdict: found.get(verdict, 0) for verdict in VERDICTS}
