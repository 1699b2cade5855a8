"""The gate: a Great Expectations checkpoint over derived columns. It says yes or no before a shard is visible.

Great Expectations writes the values it finds into its results unless it is told not to, and its own result JSON holds
times and run ids. So it sees no text, is told to leave values out, and gate.json is written by us from its answers.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.expectations import COLUMNS, HEX_32, Check, checks, great_expectations, suites
from data_policies.schema import Policy
from tasks.governance.ledger import ADMITTED, VERDICTS, count_verdicts

VERSION = 1

FORMAT = "gristmill-gate/1"
IDS_SHOWN = 20
RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "partial_unexpected_count": 0,
}
_NO_VALUE = {"min_value": math.inf, "max_value": -math.inf}


@dataclass(frozen=True)
class GateResult:
    """`results`: for each check its `expectation` (name), `passed`, `observed`, `expected`, `count` of failing rows, and
    of these the first `record_ids` and `sources`, 20 at most."""

    passed: bool
    policy_sha256: str
    results: list[dict[str, Any]]

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [result for result in self.results if not result["passed"]]

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of gate.json."""
        return hashlib.sha256(self.content()).hexdigest()

    def content(self) -> bytes:
        """The bytes of gate.json: no time, no run id, no path, no value of a record."""
        value = {"format": FORMAT, "passed": self.passed, "policy_sha256": self.policy_sha256, "results": self.results}
        return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write(result: GateResult, folder: Path) -> Path:
    """Write ``gate.json`` into `folder`."""
    path = folder / "gate.json"
    path.write_bytes(result.content())
    return path


def run_gate(rows: pa.Table, facts: Mapping[str, Any], policy: Policy) -> GateResult:
    """Ask every check of the policy.

    `rows`: the ledger's rows (before they have a shard) and beside them ``licence_allowed`` (bool) and the scores that
    the policy bounds. `facts`: ``read`` (counted by the sources, never from the ledger), ``source_mix`` and
    ``previous_source_mix`` (admitted records by source; None at v1). KeyError when a column is missing; RuntimeError
    when Great Expectations leaves a check unanswered. A check that it cannot evaluate has failed.
    """
    scores = [name for name in rows.column_names if name == "language_score" or name.startswith("toxicity.")]
    asked = checks(policy, sorted(scores), with_previous=facts.get("previous_source_mix") is not None)
    frames = _frames(rows, facts, asked)
    answers = _ask(asked, frames)
    results = [_result(check, answers[check.name], frames[check.frame]) for check in asked]
    return GateResult(all(result["passed"] for result in results), policy.sha256(), results)


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


def _frames(rows: pa.Table, facts: Mapping[str, Any], asked: Sequence[Check]) -> dict[str, pa.Table]:
    """The five frames, each with exactly the columns that its checks read and the one that names its rows."""
    verdict = pc.fill_null(rows["verdict"].cast(pa.string()), "")
    rule = pc.fill_null(rows["rule"].cast(pa.string()), "")
    admitted = pc.is_in(verdict, pa.array(ADMITTED))
    pairs = zip(rule.to_pylist(), rows["rules"].to_pylist(), strict=True)
    spans = [[span["action"] for span in row or ()] for row in rows["spans"].to_pylist()]
    redacted = pa.array([any(action == "redact" for action in row) for row in spans], pa.bool_())
    survivors = rows["record_id"].filter(admitted)
    derived = {
        "verdict": verdict,
        "rule": rule,
        "rule_given": pc.xor(pc.equal(verdict, "keep"), pc.not_equal(rule, "")),
        "rule_listed": pa.array([not name or name in (listed or ()) for name, listed in pairs], pa.bool_()),
        "licence_allowed": pc.fill_null(rows["licence_allowed"], False),
        "spans_undecided": pa.array([sum(a not in ("keep", "redact") for a in row) for row in spans], pa.int64()),
        "redaction_consistent": pc.equal(pc.equal(verdict, "redact"), redacted),
        "survivor_kept": pc.is_in(rows["survivor_id"], pa.array(survivors.drop_null().to_pylist(), pa.string())),
    }
    texts = ("policy_sha256", "content_sha256", "sample_sha256", "split", "language")
    derived |= {name: pc.fill_null(rows[name].cast(pa.string()), "") for name in texts}
    where = {
        "ledger": None,
        "admitted": admitted,
        "duplicates": pc.is_in(rule, pa.array(["duplicate.exact", "duplicate.near"])),
    }
    frames = {}
    for frame, mask in where.items():
        # What is missing is out of bounds, but for the ledger's ranges: a score that was not needed is null there.
        columns = {"record_id": rows["record_id"]}
        for check in asked:
            for name in check.columns if check.frame == frame else ():
                column = derived[name] if name in derived else rows[name]
                columns.setdefault(name, column if frame == "ledger" else _missing_fails(column, check))
        table = pa.table(columns)
        frames[frame] = table if mask is None else table.filter(mask)
    frames["sources"], frames["corpus"] = _sources(rows, verdict), _corpus(rows, facts, verdict)
    assert {frame: set(COLUMNS[frame]) - {*table.column_names} for frame, table in frames.items()} is not None
    return frames
