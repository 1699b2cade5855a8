"""The election among duplicates of a ledger that need not fit into memory: who may resemble another, then `elect`.

Most records resemble nothing. By 64 bits of its class and of its written bytes each is found that may have a copy; only
of these, and of those in a verified pair, everything is read that the election asks for. A chance equality of 64 bits
brings a record more before `elect`, which compares the whole; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.schema import Policy
from tasks.curation.beside import Stream, array_of, put
from tasks.curation.blocks import FileBlocks
from tasks.curation.duplicates import REMOVAL_SCHEMA, Similar, elect, near_pairs, read_pairs
from tasks.curation.steps import licence_ranks

if TYPE_CHECKING:
    from tasks.curation.assemble import Curated

QUALITY = "quality.basic.letter_ratio"
_CANDIDATE = ["record_id", "licence", "sample_sha256", "written_length", "class_id", QUALITY]


class Election:
    """Sees each block of the ledger once, then elects, then lets the duplicates go, block by block."""

    def __init__(self, curated: Curated, policy: Policy, records: int) -> None:
        self._policy = policy
        self._threshold = curated.duplicate_threshold(policy)
        substring = None if curated.media else policy.duplicates.substring
        self._share = substring.share if substring else None
        folder = Path(curated.pairs.path)
        similar = read_pairs(folder, classes=False)
        self._similar = Similar(similar.classes, near_pairs(similar, self._threshold), similar.spans)
        self._classes = _Classes(folder / "classes.parquet")
        self._class = np.zeros(records, np.uint64)
        self._written = np.zeros(records, np.uint64)
        self._seen = 0
        self._rows, self._gone = np.empty(0, np.int64), REMOVAL_SCHEMA.empty_table()

    def see(self, block: pa.Table, admitted: np.ndarray) -> pa.Table:
        """Take down a block; with its class beside each record. KeyError when an admitted one was never compared."""
        classes = self._classes.of(array_of(block["record_id"]))
        if missing := int(np.count_nonzero(np.asarray(classes.is_null()) & admitted)):
            raise KeyError(f"{missing} records were never compared with the others")
        here = slice(self._seen, self._seen + len(block))
        self._class[here] = np.where(admitted, _bits(classes), 0)
        self._written[here] = np.where(admitted, _bits(array_of(block["sample_sha256"])), 0)
        self._seen += len(block)
        return block.append_column("class_id", classes)

    def hold(self, read: Callable[[Sequence[str]], Iterator[pa.Table]]) -> None:
        """Elect; `read` gives some columns of the rows that were seen."""
        ends = [
            *(self._similar.pairs[name] for name in "ab"),
            *(self._similar.spans[name] for name in ("class_id", "other")),
        ]
        met = np.unique(np.concatenate([_bits(array_of(column)) for column in ends]))
        entangled = _repeated(self._class) | _repeated(self._written) | np.isin(self._class, met[met > 0])
        del self._written, self._class
        found, start = [], 0
        for block in read(_CANDIDATE):
            rows = np.flatnonzero(entangled[start : start + len(block)])
            found.append(block.select(_CANDIDATE).take(pa.array(rows)))
            start += len(block)
        table = pa.concat_tables(found).combine_chunks()
        similar = Similar(table.select(["record_id", "class_id"]), self._similar.pairs, self._similar.spans)
        candidates = pa.table(
            {
                "record_id": table["record_id"],
                "licence_rank": licence_ranks(table["licence"], self._policy),
                "quality": pc.round(pc.fill_null(table[QUALITY], 0.0), 1),
                "length": table["written_length"],
                "written_sha256": table["sample_sha256"],
            }
        )
        self._gone = elect(candidates, similar, self._threshold, self._share).combine_chunks()
        place = pc.index_in(self._gone["record_id"], array_of(table["record_id"]))
        self._rows = np.flatnonzero(entangled)[place.to_numpy()]

    @property
    def gone(self) -> np.ndarray:
        """The rows that lost, ascending."""
        return self._rows

    def without_duplicates(self, table: pa.Table, start: int) -> pa.Table:
        """The rows from `start` on: of those that lost, verdict drop, their survivor and the similarity beside it."""
        low, high = np.searchsorted(self._rows, [start, start + len(table)]).tolist()
        dropped, rows = self._gone.slice(low, high - low), self._rows[low:high] - start
        place = np.full(len(table), -1)
        place[rows] = np.arange(len(rows))
        gone = pa.array(place >= 0)
        position = pa.array(place, mask=place < 0)
        rule, similarity = (array_of(dropped[name]).take(position) for name in ("rule", "similarity"))
        names = table.column_names
        if "verdict" in names:
            table = put(table, "verdict", pc.if_else(gone, "drop", table["verdict"]))
        if "rule" in names:
            table = put(table, "rule", pc.if_else(gone, rule, table["rule"]))
        if "rules" in names:
            table = put(table, "rules", _with_rule(array_of(table["rules"]), rows, array_of(dropped["rule"])))
        if "value" in names:
            table = put(table, "value", pc.if_else(gone, similarity, table["value"]))
        if "threshold" in names:
            long = pc.equal(rule, "duplicate.substring")
            threshold = pc.if_else(long, self._share or 0.0, self._threshold)
            table = put(table, "threshold", pc.if_else(gone, threshold, table["threshold"]))
        table = put(table, "survivor_id", array_of(dropped["survivor_id"]).take(position))
        return put(table, "similarity", similarity)


class _Classes:
    """The class of each record, looked up in the order of record_id."""

    def __init__(self, path: Path) -> None:
        self._stream = Stream(FileBlocks(path).blocks(["record_id", "class_id"]))

    def of(self, ids: pa.Array) -> pa.Array:
        """The class ids of these records, null for one that has none; the ids ascend from call to call."""
        if len(ids) == 0:
            return pa.array([], pa.string())
        known = self._stream.until(ids[-1].as_py())
        if known is None:
            return pa.nulls(len(ids), pa.string())
        return array_of(known["class_id"]).take(pc.index_in(ids, array_of(known["record_id"])))


def _bits(digests: pa.Array) -> np.ndarray:
    """The first 64 bits of each hex digest (uint64, N); 0 for "" and null."""
    strings = digests.fill_null("").cast(pa.large_string())
    lengths = pc.binary_length(strings).to_numpy()
    found = np.zeros(len(strings), np.uint64)
    if not lengths.any():
        return found
    ends = np.cumsum(lengths)
    data = np.frombuffer(strings.buffers()[2], np.uint8)
    first = np.frombuffer(strings.buffers()[1], np.int64)[strings.offset]
    full = np.flatnonzero(lengths)
    digits = data[first + (ends - lengths)[full, None] + np.arange(16)].astype(np.uint64)
    values = np.where(digits > ord("9"), digits - np.uint64(ord("a") - 10), digits - np.uint64(ord("0")))
    for column in range(16):
        found[full] = (found[full] << np.uint64(4)) | values[:, column]
    return found


def _repeated(codes: np.ndarray) -> np.ndarray:
    """Which codes occur more than once (bool, N); 0 is none."""
    order = np.argsort(codes, kind="stable")
    same = codes[order[1:]] == codes[order[:-1]]
    found = np.zeros(len(codes), bool)
    found[order[1:][same]] = found[order[:-1][same]] = True
    return found & (codes != 0)


def _with_rule(rules: pa.ListArray, row: np.ndarray, names: pa.Array) -> pa.Array:
    """The lists of rules with `names` put behind those of the rows `row` (ascending)."""
    flat = pc.list_flatten(rules)
    ends = np.cumsum(np.append(0, np.asarray(pc.list_value_length(rules).fill_null(0))))
    order = np.insert(np.arange(len(flat)), ends[row + 1], len(flat) + np.arange(len(row)))
    longer = np.zeros(len(ends), np.int64)
    longer[row + 1] = 1
    values = pa.concat_arrays([flat, names]).take(pa.array(order))
    return pa.ListArray.from_arrays(pa.array((ends + np.cumsum(longer)).astype(np.int32)), values)
