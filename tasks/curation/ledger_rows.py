"""The ledger's rows before they have a shard: in a temporary file, and read from it a block at a time.

In memory stays, of every record, what must be known of all at once: is it admitted, and 16 bytes by which copies are
found; and of those that resemble another what their election asks for.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.decide import span_actions
from data_policies.schema import Policy
from tasks.curation import blocks as sizes
from tasks.curation.beside import Part, Stream, array_of, beside, put, side_by_side
from tasks.curation.election import QUALITY, Election
from tasks.curation.written import Decided, fact_blocks
from tasks.governance.ledger import ADMITTED, SPAN
from tasks.memory import release

if TYPE_CHECKING:
    from tasks.curation.assemble import Curated

#: Of a record, what goes into the ledger or a shard besides its text...
COLUMNS = ["source", "uri", "group", "label", "content_sha256", "bytes"]
#: ...and of its scores.
SCORES = {
    "licences": ["licence_declared", "licence", "obligations"],
    "languages": ["language"],
    "pii": ["spans"],
    "quality": [QUALITY],
}
_FACTS = ("sample_sha256", "written_length", "written_bytes")


class LedgerRows:
    """Every record's row, sorted by record_id, with the shard's own columns; of the text as written its length and
    bytes, not itself. A context manager: the file is gone when it is left.

    `verdicts`: others than those of the decide stage, for a policy that is only tried.
    """

    def __init__(self, curated: Curated, policy: Policy, verdicts: pa.Table | None = None) -> None:
        self.curated, self.policy = curated, policy
        self._verdicts = verdicts
        self._folder = tempfile.TemporaryDirectory(prefix="gristmill-ledger-")
        self._path = Path(self._folder.name) / "rows.arrow"

    def __enter__(self) -> LedgerRows:
        try:
            admitted = self._admitted()
            self._election = Election(self.curated, self.policy, len(admitted))
            self._write(admitted)
            self._election.hold(self._read)
            admitted[self._election.gone] = False
            #: What goes into shards.
            self.written = Decided(admitted, self._spans)
            release()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def __len__(self) -> int:
        return len(self.written.admitted)

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows, or some `columns` of them, BLOCK_ROWS at a time; one empty table when there are none."""
        start = 0
        asked = None if columns is None else [name for name in columns if name not in ("survivor_id", "similarity")]
        if asked is not None and "verdict" not in asked:
            asked.append("verdict")
        for block in self._read(asked):
            table = self._election.without_duplicates(block, start)
            start += len(block)
            kept = pc.is_in(table["verdict"], pa.array(ADMITTED))
            for name in set(_FACTS) & set(table.column_names):
                table = put(table, name, pc.if_else(kept, table[name], pa.scalar(None, table[name].type)))
            if columns is None or "policy_sha256" in columns:
                table = put(table, "policy_sha256", pa.repeat(self.policy.sha256(), len(table)))
            yield table.drop_columns(["class_id", QUALITY]) if columns is None else table.select(columns)

    def _sides(self) -> list[Part]:
        curated = self.curated
        stages = {stage.name: Path(stage.path) / "scores.parquet" for stage in curated.scored}
        return [
            Part(Path(curated.ingested.path) / "records.parquet", "records", COLUMNS),
            *(Part(stages[name], name, columns) for name, columns in SCORES.items()),
        ]

    def _verdict_blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        if self._verdicts is None:
            return side_by_side([Part(Path(self.curated.decided.path) / "verdicts.parquet", "verdicts", columns)])
        table = self._verdicts if columns is None else self._verdicts.select(["record_id", *columns])
        size = sizes.BLOCK_ROWS
        return (table.slice(at, size).combine_chunks() for at in range(0, max(len(table), 1), size))

    def _spans(self) -> Iterator[pa.Table]:
        pii = next(Path(stage.path) for stage in self.curated.scored if stage.name == "pii")
        return side_by_side([Part(pii / "scores.parquet", "pii", ["spans"])])

    def _admitted(self) -> np.ndarray:
        """Is each record admitted (bool, N), duplicates among them and those that were erased not?"""
        records = Part(Path(self.curated.ingested.path) / "records.parquet", "records", ["content_sha256"])
        found = []
        for block, verdicts in zip(side_by_side([records]), self._verdict_blocks(["verdict"]), strict=True):
            gone = erased(block, self.curated.suppressed)
            verdict = beside(block, verdicts, "verdicts")["verdict"]
            kept = pc.and_(pc.is_in(verdict, pa.array(ADMITTED)), pc.invert(gone))
            found.append(np.array(kept, bool))
        return np.concatenate(found)

    def _write(self, admitted: np.ndarray) -> None:
        """Each record's row with the facts of its text, but for duplicates, into the file; the election looks on."""
        decided = Decided(admitted, self._spans)
        facts = Stream(fact_blocks(self.curated.ingested, decided, self.policy, self.curated.media))
        start, writer = 0, None
        try:
            for block, verdicts in zip(side_by_side(self._sides()), self._verdict_blocks(), strict=True):
                here = admitted[start : start + len(block)]
                start += len(block)
                table = _without_erased(beside(block, verdicts, "verdicts"), self.curated.suppressed)
                table = put(table, "spans", _with_actions(array_of(table["spans"]), self.policy))
                told, place = facts.take(int(here.sum())), pa.array(np.cumsum(here) - 1, mask=~here)
                if told is None or not told["record_id"].equals(table["record_id"].filter(pa.array(here))):
                    raise RuntimeError("the texts that came are not those that are admitted")
                for name in _FACTS:
                    table = table.append_column(name, array_of(told[name]).take(place))
                split = [split_of(value, self.curated.validation) for value in _groups(table, self.curated.group_by)]
                table = table.append_column("split", pa.array(split, pa.string()))
                table = self._election.see(table, here).combine_chunks()
                if writer is None:
                    options = pa.ipc.IpcWriteOptions(compression="lz4")
                    writer = pa.ipc.new_file(self._path, table.schema, options=options)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()

    def _read(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows as they were written; those `columns` of them that there are."""
        with pa.OSFile(str(self._path)) as file:
            schema = pa.ipc.open_file(file).schema
            fields = [at for at, name in enumerate(schema.names) if columns is None or name in columns]
            reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False))
            for number in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(number)])
            if not reader.num_record_batches:
                yield reader.schema.empty_table()


def split_of(group: str, validation: float) -> str:
    """Train or validation, by a hash of the group alone: a group's side never depends on what else is there."""
    position = int.from_bytes(hashlib.sha256(f"split\0{group}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return "validation" if position < validation * 2**64 else "train"


def erased(table: pa.Table, suppressed: Sequence[str]) -> pa.ChunkedArray:
    """Which rows must not come back, by record_id or content_sha256 (bool)."""
    listed = pa.array(suppressed, pa.string())
    return pc.or_(pc.is_in(table["record_id"], listed), pc.is_in(table["content_sha256"], listed))


def _groups(table: pa.Table, group_by: str) -> Iterator[str]:
    for value, record_id in zip(table[group_by].to_pylist(), table["record_id"].to_pylist(), strict=True):
        yield value or record_id


def _with_actions(spans: pa.Array, policy: Policy) -> pa.Array:
    flat = pc.list_flatten(spans)
    kinds = flat.field("type").dictionary_encode()
    actions = span_actions(policy)
    names = pa.array([actions[kind] for kind in kinds.dictionary.to_pylist()], pa.string())
    parts = [names.take(kinds.indices) if field.name == "action" else flat.field(field.name) for field in SPAN]
    filled = pa.StructArray.from_arrays(parts, fields=list(SPAN))
    ends = np.cumsum(np.append(0, np.asarray(pc.list_value_length(spans).fill_null(0)))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), filled, type=pa.list_(SPAN), mask=spans.is_null())


def _without_erased(table: pa.Table, suppressed: Sequence[str]) -> pa.Table:
    """Drop what was erased, before duplicates are elected: a near-copy of it then stands on its own merits."""
    gone = erased(table, suppressed)
    if not pc.any(gone).as_py():
        return table
    rules = [
        ["override.erased", *row] if out else row
        for row, out in zip(table["rules"].to_pylist(), gone.to_pylist(), strict=True)
    ]
    for column, value in (("verdict", "drop"), ("rule", "override.erased")):
        table = put(table, column, pc.if_else(gone, value, table[column]))
    for column in ("value", "threshold", "detail"):
        table = put(table, column, pc.if_else(gone, pa.scalar(None, table[column].type), table[column]))
    return put(table, "rules", pa.array(rules, pa.list_(pa.string())))
