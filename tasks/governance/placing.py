"""The admitted rows of a ledger on their way to shards, and the ledger with the places that they got; in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.curation.ledger_rows import LedgerRows
from tasks.curation.shards import JSON_KEYS, tar_bytes
from tasks.governance.ledger import ADMITTED, LEDGER_SCHEMA
from tasks.governance.manifest import leaf

#: Of a row, what goes into the shards besides its text, and by what that is checked.
SAMPLE = ["record_id", "split", *(key for key in JSON_KEYS if key != "id"), "written_bytes", "sample_sha256"]


def kept(rows: LedgerRows, columns: list[str]) -> Iterator[pa.Table]:
    """Some columns of the rows that are admitted."""
    for block in rows.blocks([*columns, "verdict"]):
        yield block.filter(pc.is_in(block["verdict"], pa.array(ADMITTED))).select(columns)


def sizes(rows: LedgerRows) -> dict[str, tuple[int, int]]:
    """By split: the samples, and about how many bytes they take in shards."""
    found = {name: (0, 0) for name in ("train", "validation")}
    for block in kept(rows, ["split", "written_bytes"]):
        for name, (samples, size) in found.items():
            part = block.filter(pc.equal(block["split"], name))
            found[name] = (samples + len(part), size + int(tar_bytes(part["written_bytes"]).sum()))
    return found


def placed(rows: LedgerRows, places: pa.Table) -> Iterator[pa.Table]:
    """The ledger's rows, and the place of those that are admitted: `places` has one row for each, in their order."""
    start = 0
    for block in rows.blocks([name for name in LEDGER_SCHEMA.names if name not in places.column_names]):
        admitted = np.asarray(pc.is_in(block["verdict"], pa.array(ADMITTED)))
        row = pa.array(start + np.cumsum(admitted) - 1, mask=~admitted)
        start += int(admitted.sum())
        for name in places.column_names:
            block = block.append_column(name, places[name].take(row).cast(LEDGER_SCHEMA.field(name).type))
        yield block


def leaves(rows: LedgerRows) -> Iterator[bytes]:
    """What the corpus root is the Merkle root of."""
    for block in kept(rows, ["record_id", "sample_sha256", "licence"]):
        for item in zip(*(column.to_pylist() for column in block.columns), strict=True):
            yield leaf(*item)
