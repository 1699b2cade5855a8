"""What the gate is shown: frames of derived columns, a block of the ledger at a time, and the counts of the whole.

Rows come sorted by record_id, and equal ids are never cut apart: so what each block says of itself (uniqueness too)
adds up to what the whole would say.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.decide import REPLACED
from data_policies.expectations import Check
from data_policies.measures import is_asked
from data_policies.media_rules import KIND, those_of
from tasks.governance.bias import Tally, disparities
from tasks.governance.ledger import ADMITTED, VERDICTS

BLOCK_ROWS = 50_000  # of a frame: a call of Great Expectations costs 0.1 s, however few rows it is given
_TEXTS = ("policy_sha256", "content_sha256", "sample_sha256", "split", "language")


def uncut(blocks: Iterator[pa.Table], size: int | None = None) -> Iterator[pa.Table]:
    """The same rows, about `size` (BLOCK_ROWS) at a time, equal record ids together; at least one table.

    RuntimeError unless they are sorted by record_id, nulls last.
    """
    size = size or BLOCK_ROWS
    waiting: list[pa.Table] = []
    count, last = 0, None
    for block in blocks:
        ids = block["record_id"].combine_chunks()
        known = ids.drop_null()
        if len(known):
            ordered = pc.all(pc.less_equal(known[:-1], known[1:])).as_py() is not False
            first = known[0].as_py()
            if not ordered or ids.slice(0, len(known)).null_count or (last is not None and first < last):
                raise RuntimeError("the ledger's rows are not sorted by record_id")
            last = known[-1].as_py()
        waiting.append(block)
        count += len(block)
        if count > size:
            whole = pa.concat_tables(waiting).combine_chunks()
            ids = whole["record_id"].combine_chunks()
            start = 0
            while len(whole) - start > size:
                stop = start + size
                while stop < len(whole) and ids[stop].as_py() == ids[stop - 1].as_py():
                    stop += 1
                if stop == len(whole):
                    break
                yield whole.slice(start, stop - start)
                start = stop
            waiting = [whole.slice(start)]
            count = len(whole) - start
    yield pa.concat_tables(waiting).combine_chunks()


#: The columns of a ledger that are counted, and those that the rates of the rules ask for besides.
COUNTED = ["source", "verdict", "rule", "survivor_id"]
RATED = ["language", "licence", "bytes", "rules"]


class Totals:
    """Counts of the whole ledger, added up block by block."""

    def __init__(self) -> None:
        self.rows = 0
        self.verdicts: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()  # records by the rule that decided
        self.mix: Counter[str] = Counter()  # admitted records by source
        self.survivors = pa.array([], pa.string())  # that a duplicate names
        self._sources: dict[str, np.ndarray] = {}  # source -> (rows, dropped, admissible, dropped as near duplicates)
        self._tally = Tally()

    def add(self, block: pa.Table, with_rates: bool = True) -> None:
        """Count a block: COUNTED and, `with_rates`, RATED of it."""
        verdict, rule = text(block["verdict"]), text(block["rule"])
        admitted = pc.is_in(verdict, pa.array(ADMITTED))
        self.rows += len(block)
        self.verdicts.update(_counted(verdict))
        self.rules.update({name: count for name, count in _counted(rule).items() if name})
        self.mix.update(_counted(block["source"].filter(admitted)))
        named = pc.unique(block["survivor_id"].cast(pa.string())).drop_null()
        self.survivors = pc.unique(pa.concat_arrays([self.survivors, named]))
        alike = pc.is_in(rule, pa.array(["duplicate.near", "duplicate.substring"]))
        admissible = pc.or_(pc.or_(alike, pc.equal(rule, "duplicate.exact")), admitted)
        codes = text(block["source"]).combine_chunks().dictionary_encode()
        marks = [np.ones(len(block), bool), *(np.asarray(mask) for mask in (pc.equal(verdict, "drop"), admissible))]
        marks.append(np.asarray(alike))
        names, index = codes.dictionary.to_pylist(), codes.indices.to_numpy()
        counts = np.stack([np.bincount(index[mark], minlength=len(names)) for mark in marks], axis=1)
        for name, found in zip(names, counts, strict=True):
            self._sources[name] = self._sources.get(name, np.zeros(4, np.int64)) + found
        if with_rates:
            self._tally.add(block)

    def count(self) -> dict[str, int]:
        """Rows by verdict; every verdict is a key."""
        return {verdict: self.verdicts[verdict] for verdict in VERDICTS}

    def sources(self) -> pa.Table:
        """One row a source: the share dropped, and of what was admissible the share dropped as near duplicates."""
        found = sorted(self._sources.items())
        shares = [(dropped / rows, alike / max(admissible, 1)) for _, (rows, dropped, admissible, alike) in found]
        columns = [pa.array([name for name, _ in found], pa.string())]
        columns += [pa.array([share[at] for share in shares], pa.float64()) for at in range(2)]
        return pa.Table.from_arrays(columns, names=["source", "dropped_share", "duplicate_share"])

    def disparities(self) -> pa.Table:
        """One row a rule that refuses and a dimension: how much more it certainly hits one group than another."""
        found = [row for row in disparities(self._tally.rates()) if row["refuses"]]
        what = pa.array([f"{row['rule']} by {row['dimension']}" for row in found], pa.string())
        return pa.table({"what": what, "certain": pa.array([row["certain"] for row in found], pa.float64())})

    def corpus(self, facts: Mapping[str, Any]) -> pa.Table:
        """One row: the counts and shares of the whole."""
        counts = self.count()
        now = dict(self.mix)
        values = {
            "read": facts["read"],
            "accounted": sum(counts.values()),
            "admitted": sum(counts[name] for name in ADMITTED),
            "quarantine_share": counts["quarantine"] / max(self.rows, 1),
            "source_kl": source_kl(now, facts.get("previous_source_mix") or now),
        }
        return pa.table({name: [value] for name, value in values.items()})


def source_kl(now: Mapping[str, int], before: Mapping[str, int]) -> float:
    """Kullback-Leibler divergence of the source mix `now` from the one `before`, in nats, of counts with 1/2 added.

    The half (Jeffreys' prior) keeps a source that is new, or gone, finite and large.
    """
    names = sorted({*now, *before})
    if not names:
        return 0.0
    p, q = (np.array([mix.get(name, 0) + 0.5 for name in names]) for mix in (now, before))
    p, q = p / p.sum(), q / q.sum()
    return float(max(0.0, np.sum(p * np.log(p / q))))


def frames(block: pa.Table, asked: Sequence[Check], kept_survivors: pa.Array) -> Iterator[tuple[str, pa.Table]]:
    """(name, frame) of each frame of rows that is asked something, with the columns that its checks read and record_id.

    `kept_survivors`: the survivors of the whole ledger that are admitted themselves.
    """
    verdict, rule = text(block["verdict"]), text(block["rule"])
    admitted = pc.is_in(verdict, pa.array(ADMITTED))
    derived = _derived(block, verdict, rule, kept_survivors)
    where = {
        "ledger": None,
        "admitted": admitted,
        "duplicates": pc.is_in(rule, pa.array(["duplicate.exact", "duplicate.near"])),
    }
    for frame, mask in where.items():
        # What is missing is out of bounds, but for the ledger's ranges: a score that was not needed is null there.
        columns = {"record_id": block["record_id"]}
        for check in asked:
            for name in check.columns if check.frame == frame else ():
                column = derived[name] if name in derived else block[name]
                column = column if frame == "ledger" else _missing_fails(column, check)
                if check.only or check.never:  # of other languages the rule asks nothing: null, which passes
                    meant = pa.array(is_asked(block["language"], check.only, check.never))
                    column = pc.if_else(meant, column, pa.scalar(None, column.type))
                if check.of and KIND in block.column_names:  # nor of records that have no such thing
                    column = pc.if_else(pa.array(those_of(block, check.of)), column, pa.scalar(None, column.type))
                columns.setdefault(name, column)
        table = pa.table(columns)
        yield frame, table if mask is None else table.filter(mask)


def _derived(block: pa.Table, verdict: Any, rule: Any, kept_survivors: pa.Array) -> dict[str, Any]:
    count = len(block)
    rules, rule_of = _flat(block["rules"])
    listed = np.asarray(pc.fill_null(pc.equal(rules, rule.take(rule_of)), False))
    spans, span_of = _flat(block["spans"])
    actions, row_of = spans.field("action"), span_of.to_numpy()
    replaced = np.asarray(pc.is_in(actions, pa.array(REPLACED)))
    decided = np.asarray(pc.is_in(actions, pa.array(["keep", *REPLACED])))
    redacted = np.bincount(row_of[replaced], minlength=count) > 0
    in_list = np.bincount(rule_of.to_numpy()[listed], minlength=count) > 0
    return {
        "verdict": verdict,
        "rule": rule,
        "rule_given": pc.xor(pc.equal(verdict, "keep"), pc.not_equal(rule, "")),
        "rule_listed": pc.or_(pc.equal(rule, ""), pa.array(in_list)),
        "licence_allowed": pc.fill_null(block["licence_allowed"], False),
        "spans_undecided": pa.array(np.bincount(row_of[~decided], minlength=count), pa.int64()),
        "redaction_consistent": pc.equal(pc.equal(verdict, "redact"), pa.array(redacted)),
        "survivor_kept": pc.is_in(block["survivor_id"].cast(pa.string()), kept_survivors),
    } | {name: text(block[name]) for name in _TEXTS}


def _missing_fails(column: pa.ChunkedArray, check: Check) -> pa.ChunkedArray:
    """For a score that must lie within bounds: null and NaN become an infinity that does not."""
    if not pa.types.is_floating(column.type):
        return column
    outside = math.inf if check.arguments.get("max_value") is not None else -math.inf
    return pc.if_else(pc.fill_null(pc.is_nan(column), True), outside, column)


def text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as strings, "" where it is null."""
    return pc.fill_null(column.cast(pa.string()), "")


def _flat(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """(values, rows): what a list column holds, and the row of each."""
    lists = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return pc.list_flatten(lists), pc.list_parent_indices(lists)


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in column.value_counts().to_pylist()}
