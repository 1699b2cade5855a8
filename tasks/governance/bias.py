"""Whom do the filters hit? Rates of every rule by source, language, licence and length, drawn from the ledger alone.

A rate counts every rule that hit a record (`rules`), not only the one that decided: which rule decides depends on the
order in which they are asked. Records, not bytes, are counted. Intervals: Wilson (1927), 95 %.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.measures import MEASURES, is_asked
from tasks.governance.ledger import ADMITTED

DIMENSIONS = ("source", "language", "licence", "length")
#: Bytes as read at which the next band of lengths begins, and the bands' names.
BAND_BYTES = (200, 1_000, 5_000, 25_000)
BANDS = ("under 200 B", "200 B to 1 kB", "1 to 5 kB", "5 to 25 kB", "25 kB and more")
MINIMUM_RECORDS = 100  # of a group that is compared: under it an interval says little
Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
#: What a rule asks of a record by its own definition is no disparity of it: (start of the rule, dimension).
BY_DEFINITION = (("language.", "language"), ("licence.", "licence"))

RATES = pa.schema(
    [
        ("rule", pa.string()),
        ("refuses", pa.bool_()),
        ("dimension", pa.string()),
        ("group", pa.string()),
        ("records", pa.int64()),
        ("hits", pa.int64()),
        ("rate", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
Meant = tuple[tuple[str, ...], tuple[str, ...]]
#: The languages, as (only, never), that some rule is meant for; ((), ()): any.
_MEANT: tuple[Meant, ...] = tuple(
    sorted({((), ())} | {(own.only, own.never) for measures in MEASURES.values() for own in measures.values()})
)
#: The columns of a ledger that are read.
COLUMNS = ["source", "language", "licence", "bytes", "verdict", "rules"]


def wilson(hits: np.ndarray, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of the 95 % score interval of a share; (0, 1) where there are no records. Wilson 1927."""
    n = np.asarray(records, float)
    p = np.divide(hits, n, out=np.zeros(np.broadcast(hits, n).shape), where=n > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * np.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    low, high = np.where(np.equal(hits, 0), 0.0, low), np.where(np.equal(hits, n), 1.0, high)  # exact, not 1e-18
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def rates(ledger: pa.Table) -> pa.Table:
    """One row (RATES) for each rule that hit anything, each dimension, and each group in it; sorted.

    `refuses`: no record that was admitted was hit by the rule, so to be hit is to go; false for a rule that redacts.
    A group is "" where the ledger has none. Shares are of the records read in the group; for a quality rule that is
    meant for some languages, of those in them (what a policy narrows further is not known here).
    """
    tally = Tally()
    tally.add(ledger)
    return tally.rates()


class Tally:
    """`rates` of a ledger that comes a block at a time; it keeps counts alone."""

    def __init__(self) -> None:
        self._admitted: Counter[str] = Counter()  # by rule: hits on records that were admitted
        self._hits: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in DIMENSIONS}
        #: By the languages that a rule is meant for: the records of each group.
        self._asked: dict[str, dict[Meant, Counter[str]]] = {
            name: {meant: Counter() for meant in _MEANT} for name in DIMENSIONS
        }

    def add(self, block: pa.Table) -> None:
        """Count a block of a ledger (COLUMNS)."""
        listed = _array(block["rules"])
        names = _array(pc.list_flatten(listed)).dictionary_encode()
        rules = names.dictionary.to_pylist()
        pair = _distinct(pc.list_parent_indices(listed).to_numpy() * max(len(rules), 1) + names.indices.to_numpy())
        row_P, rule_P = np.divmod(pair, max(len(rules), 1))  # a rule counts once a record
        admitted_N = np.asarray(pc.is_in(block["verdict"], pa.array(ADMITTED)))
        hits_R = np.bincount(rule_P, admitted_N[row_P], minlength=len(rules))
        self._admitted.update({rule: int(hits) for rule, hits in zip(rules, hits_R, strict=True)})
        asked = {meant: is_asked(block["language"], *meant) if any(meant) else admitted_N | True for meant in _MEANT}
        for dimension in DIMENSIONS:
            group_N, groups = _groups(block, dimension)
            hits = np.bincount(rule_P * len(groups) + group_N[row_P], minlength=len(rules) * len(groups))
            found = zip(*np.divmod(np.flatnonzero(hits), max(len(groups), 1)), hits[hits > 0], strict=True)
            self._hits[dimension].update({(rules[rule], groups[group]): int(count) for rule, group, count in found})
            for meant, asked_N in asked.items():
                records = np.bincount(group_N[asked_N], minlength=len(groups))
                self._asked[dimension][meant].update(dict(zip(groups, records.tolist(), strict=True)))

    def rates(self) -> pa.Table:
        """RATES of what was added."""
        rules = sorted(self._admitted)
        parts = [RATES.empty_table()]
        for dimension in DIMENSIONS:
            asked = self._asked[dimension]
            groups = sorted(asked[((), ())])
            cells = [(rule, group) for rule in rules for group in groups]
            hits = np.array([self._hits[dimension][cell] for cell in cells], np.int64)
            records = np.array([asked[_meant(rule)][group] for rule, group in cells], np.int64)
            low, high = wilson(hits, records)
            columns = [
                pa.array([rule for rule, _ in cells], pa.string()),
                pa.array([self._admitted[rule] == 0 for rule, _ in cells], pa.bool_()),
                pa.array([dimension] * len(cells), pa.string()),
                pa.array([group for _, group in cells], pa.string()),
                pa.array(records, pa.int64()),
                pa.array(hits, pa.int64()),
                pa.array(hits / np.maximum(records, 1)),
                pa.array(low),
                pa.array(high),
            ]
            parts.append(pa.Table.from_arrays(columns, schema=RATES))
        order = [("rule", "ascending"), ("dimension", "ascending"), ("group", "ascending")]
        return pa.concat_tables(parts).sort_by(order).combine_chunks()


def _meant(rule: str) -> Meant:
    """For which languages, and never for which, a rule is meant; ((), ()): for all."""
    family, _, measure = rule.partition(".")
    name, _, measure = measure.partition(".")
    own = MEASURES.get(name, {}).get(measure) if family == "quality" else None
    return (own.only, own.never) if own else ((), ())


def _groups(ledger: pa.Table, dimension: str) -> tuple[np.ndarray, list[str]]:
    """Each record's group as a number (int64, N), and the groups' names."""
    if dimension == "length":
        lengths = np.asarray(pc.fill_null(ledger["bytes"], 0))
        return np.searchsorted(BAND_BYTES, lengths, side="right").astype(np.int64), list(BANDS)
    encoded = _array(pc.fill_null(ledger[dimension], "")).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array: pyarrow keeps an empty one chunked."""
    if isinstance(column, pa.ChunkedArray):
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


def _distinct(values: np.ndarray) -> np.ndarray:
    values = np.sort(values.astype(np.int64))
    return values[np.diff(values, prepend=-1) != 0]


def disparities(measured: pa.Table, minimum_records: int = MINIMUM_RECORDS) -> list[dict[str, Any]]:
    """For each rule and dimension the groups that it hits most and least, and how many times more; widest first.

    Only groups of `minimum_records` are compared, and only where there are two. `ratio`: the largest rate over the
    smallest; null where the smallest is 0. `certain`: the low end of the largest over the high end of the smallest,
    what is left of the ratio when both intervals are used up; 1 where they overlap. The gate bounds `certain`, so that
    neither a zero nor a small group decides. Left out: language rules by language, licence rules by licence.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in measured.to_pylist():
        by_definition = any(row["rule"].startswith(rule) and row["dimension"] == of for rule, of in BY_DEFINITION)
        if row["records"] >= minimum_records and not by_definition:
            found.setdefault((row["rule"], row["dimension"]), []).append(row)
    rows = []
    for (rule, dimension), groups in found.items():
        if len(groups) < 2:
            continue
        most = max(groups, key=lambda row: (row["rate"], row["low"], row["group"]))
        least = min(groups, key=lambda row: (row["rate"], row["high"], row["group"]))
        rows.append(
            {
                "rule": rule,
                "refuses": most["refuses"],
                "dimension": dimension,
                "groups": len(groups),
                "most": _public(most),
                "least": _public(least),
                "ratio": round(most["rate"] / least["rate"], 4) if least["rate"] else None,
                "certain": round(max(1.0, most["low"] / least["high"]), 4),
            }
        )
    return sorted(rows, key=lambda row: (-row["certain"], row["rule"], row["dimension"]))


def _public(row: dict[str, Any]) -> dict[str, Any]:
    rounded = {name: round(row[name], 6) for name in ("rate", "low", "high")}
    return {name: row[name] for name in ("group", "records", "hits")} | rounded
