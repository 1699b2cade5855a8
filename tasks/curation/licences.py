"""Licences: conclude once per distinct evidence, then join the conclusions to the records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_policies.licences import DETECTOR_VERSION, conclude, tables_digest
from data_policies.opt_outs import opt_out
from tasks.curation.blocks import Blocks, TableBlocks

#: The scorer's columns. Evidence: which field matched what, never a licence's whole text.
SCORES = pa.schema(
    [
        ("licence", pa.string()),
        ("licence_problem", pa.string()),
        ("licence_detail", pa.string()),
        ("licence_declared", pa.string()),
        ("obligations", pa.string()),
        ("opt_out", pa.string()),
    ]
)
#: What `conclude_all` gives.
CONCLUDED = pa.schema(
    [("record_id", pa.string()), *((name, pa.string()) for name in SCORES.names), ("error", pa.string())]
)


class Licences:
    """Declared and concluded licence, evidence and obligations of each distinct set of evidence."""

    name = "licences"
    VERSION = 2
    inputs = ("fields",)
    schema = SCORES

    def config(self) -> dict[str, Any]:
        """The detector's version, the digest of its tables, and the SPDX list that came with license-expression."""
        from importlib.metadata import version

        return {
            "detector": DETECTOR_VERSION,
            "tables": tables_digest(),
            "license-expression": version("license-expression"),
        }

    def score(self, evidence: pa.Table) -> pa.Table:
        """evidence_id, SCORES and ``error`` for each row of an evidence table (EVIDENCE_SCHEMA), in its order.

        A row that raises gets nulls and its exception's class name; the others are not harmed.
        """
        rows = [_conclude(fields) for fields in evidence["fields"].to_pylist()]
        columns = [evidence["evidence_id"].combine_chunks().cast(pa.string())]
        columns += [pa.array([row[index] for row in rows], pa.string()) for index in range(len(SCORES) + 1)]
        return pa.Table.from_arrays(columns, names=["evidence_id", *SCORES.names, "error"])


def _conclude(fields: list[dict[str, str]] | None) -> tuple[str | None, ...]:
    """The values of SCORES and the error for one row's fields."""
    try:
        pairs = [(pair["field"], pair["value"]) for pair in fields or [] if pair["value"] is not None]
        return (*astuple(conclude(pairs)), opt_out(pairs), "")
    except Exception as error:  # noqa: BLE001 - whatever evidence breaks on, its records are quarantined and no others
        return (*(None for _ in SCORES), type(error).__name__)


def conclude_all(records: pa.Table, evidence: pa.Table) -> pa.Table:
    """record_id, SCORES and ``error`` for each record (RECORD_SCHEMA), sorted by record_id.

    A record without evidence is ``missing``; one whose evidence_id is in no row of `evidence` gets the error KeyError.
    RuntimeError when two evidence rows share an id.
    """
    found = list(conclude_blocks(TableBlocks(records), evidence))
    return pa.concat_tables([CONCLUDED.empty_table(), *found]).combine_chunks()


def conclude_blocks(records: Blocks, evidence: pa.Table) -> Iterator[pa.Table]:
    """`conclude_all`, a block of records at a time: evidence is concluded once, and each record looks its own up."""
    none = pa.table({"evidence_id": [""], "fields": pa.array([[]], evidence.schema.field("fields").type)})
    given = evidence.select(["evidence_id", "fields"]).cast(
        pa.schema([none.schema.field(0), evidence.schema.field("fields")])
    )
    if "" not in given["evidence_id"].to_pylist():
        given = pa.concat_tables([given, none.cast(given.schema)])
    scored = Licences().score(given)
    known = scored["evidence_id"].combine_chunks()
    if len(known.unique()) != len(known):
        raise RuntimeError("licences: two rows of evidence share an id")
    for block in records.blocks(["record_id", "evidence_id"]):
        ids = block["evidence_id"].combine_chunks().cast(pa.string()).fill_null("")
        result = scored.select(CONCLUDED.names[1:]).take(pc.index_in(ids, known))
        result = result.add_column(0, "record_id", block["record_id"].cast(pa.string())).cast(CONCLUDED)
        yield result.set_column(len(CONCLUDED) - 1, "error", result["error"].combine_chunks().fill_null("KeyError"))
