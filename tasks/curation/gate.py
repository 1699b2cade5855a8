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

from data_policies.decide import REPLACED, protected_sets
from data_policies.expectations import HEX_32, Check, checks, great_expectations, suites
from data_policies.measures import is_asked
from data_policies.schema import Policy
from tasks.governance.bias import disparities, rates
from tasks.governance.ledger import ADMITTED, count_verdicts

VERSION = 1

FORMAT = "gristmill-gate/1"
IDS_SHOWN = 20
RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "partial_unexpected_count": 0,
}


@dataclass(frozen=True)
class GateResult:
    """`results`: for each check its `expectation` (name), `passed`, `observed`, `expected`, `count` of failing rows,
    and of these the first `record_ids` and `sources`, 20 at most."""

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
    the policy bounds. `facts`: ``read`` (counted by the sources, never from the ledger) and ``previous_source_mix``
    (the previous version's admitted records by source; None at v1). KeyError when a column is missing; RuntimeError
    when Great Expectations leaves a check unanswered. A check that it cannot evaluate has failed.
    """
    scores = [name for name in rows.column_names if name == "language_score" or name.startswith("toxicity.")]
    protected = protected_sets(rows.column_names)
    asked = checks(policy, sorted(scores), facts.get("previous_source_mix") is not None, protected)
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
    """The frames, each with exactly the columns that its checks read and the one that names its rows."""
    verdict = pc.fill_null(rows["verdict"].cast(pa.string()), "")
    rule = pc.fill_null(rows["rule"].cast(pa.string()), "")
    admitted = pc.is_in(verdict, pa.array(ADMITTED))
    pairs = zip(rule.to_pylist(), rows["rules"].to_pylist(), strict=True)
    spans = [[span["action"] for span in row or ()] for row in rows["spans"].to_pylist()]
    redacted = pa.array([any(action in REPLACED for action in row) for row in spans], pa.bool_())
    survivors = rows["record_id"].filter(admitted)
    derived = {
        "verdict": verdict,
        "rule": rule,
        "rule_given": pc.xor(pc.equal(verdict, "keep"), pc.not_equal(rule, "")),
        "rule_listed": pa.array([not name or name in (listed or ()) for name, listed in pairs], pa.bool_()),
        "licence_allowed": pc.fill_null(rows["licence_allowed"], False),
        "spans_undecided": pa.array([sum(a not in ("keep", *REPLACED) for a in row) for row in spans], pa.int64()),
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
                column = column if frame == "ledger" else _missing_fails(column, check)
                if check.only or check.never:  # of other languages the rule asks nothing: null, which passes
                    meant = pa.array(is_asked(rows["language"], check.only, check.never))
                    column = pc.if_else(meant, column, pa.scalar(None, column.type))
                columns.setdefault(name, column)
        table = pa.table(columns)
        frames[frame] = table if mask is None else table.filter(mask)
    frames["sources"], frames["corpus"] = _sources(rows, verdict), _corpus(rows, facts, verdict)
    if any(check.frame == "disparities" for check in asked):
        found = [row for row in disparities(rates(rows)) if row["refuses"]]
        what = pa.array([f"{row['rule']} by {row['dimension']}" for row in found], pa.string())
        frames["disparities"] = pa.table(
            {"what": what, "certain": pa.array([row["certain"] for row in found], pa.float64())}
        )
    return frames


def _missing_fails(column: pa.ChunkedArray, check: Check) -> pa.ChunkedArray:
    """For a score that must lie within bounds: null and NaN become an infinity that does not."""
    if not pa.types.is_floating(column.type):
        return column
    outside = math.inf if check.arguments.get("max_value") is not None else -math.inf
    return pc.if_else(pc.fill_null(pc.is_nan(column), True), outside, column)


def _sources(rows: pa.Table, verdict: pa.ChunkedArray) -> pa.Table:
    source = pc.fill_null(rows["source"].cast(pa.string()), "")
    dropped = pc.equal(verdict, "drop").cast(pa.float64())
    rule = pc.fill_null(rows["rule"].cast(pa.string()), "")
    alike = pc.is_in(rule, pa.array(["duplicate.near", "duplicate.substring"]))
    admissible = pc.or_(pc.or_(alike, pc.equal(rule, "duplicate.exact")), pc.is_in(verdict, pa.array(ADMITTED)))
    share = pc.if_else(admissible, alike.cast(pa.float64()), None)
    grouped = pa.table({"source": source, "dropped_share": dropped, "duplicate_share": share}).group_by("source")
    means = grouped.aggregate([("dropped_share", "mean"), ("duplicate_share", "mean")])
    found = means.rename_columns(["source", "dropped_share", "duplicate_share"]).sort_by("source")
    return found.set_column(2, "duplicate_share", pc.fill_null(found["duplicate_share"], 0.0))


def _corpus(rows: pa.Table, facts: Mapping[str, Any], verdict: pa.ChunkedArray) -> pa.Table:
    counts = count_verdicts(pa.table({"verdict": verdict}))
    mix = rows["source"].filter(pc.is_in(verdict, pa.array(ADMITTED))).value_counts().to_pylist()
    now = {item["values"]: item["counts"] for item in mix}
    values = {
        "read": facts["read"],
        "accounted": sum(counts.values()),
        "admitted": sum(counts[name] for name in ADMITTED),
        "quarantine_share": counts["quarantine"] / max(len(rows), 1),
        "source_kl": source_kl(now, facts.get("previous_source_mix") or now),
    }
    return pa.table({name: [value] for name, value in values.items()})


def _ask(asked: Sequence[Check], frames: Mapping[str, pa.Table]) -> dict[str, Any]:
    """Great Expectations' answer to each check, by its name; one checkpoint a frame."""
    gx = great_expectations()
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # it logs tracebacks, which may quote values
    kinds = gx.data_context.types.base  # all in memory: no data docs, which hold values and load from other hosts
    config = kinds.DataContextConfig(
        store_backend_defaults=kinds.InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars={"globally": False, "metric_calculations": False},
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    source = context.data_sources.add_pandas("gate")
    answers: dict[str, Any] = {}
    for frame, suite in suites(asked).items():
        batch = source.add_dataframe_asset(frame).add_batch_definition_whole_dataframe("whole")
        definition = gx.ValidationDefinition(name=frame, data=batch, suite=context.suites.add(suite))
        context.validation_definitions.add(definition)
        columns = [name for name in ("record_id", "source") if name in frames[frame].column_names]
        form = RESULT_FORMAT | ({"unexpected_index_column_names": columns} if columns else {})
        checkpoint = gx.Checkpoint(name=frame, validation_definitions=[definition], result_format=form)
        outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frames[frame].to_pandas()})
        for validation in outcome.run_results.values():
            for answer in validation.results:
                answers[answer.expectation_config.meta["check"]] = answer
    if answers.keys() != {check.name for check in asked}:
        raise RuntimeError(f"{len(asked)} checks were asked and {len(answers)} answered")
    return answers


def _result(check: Check, answer: Any, frame: pa.Table) -> dict[str, Any]:
    """Ours from theirs: counts and ids, nothing else."""
    result = answer.result or {}
    failing = int(result.get("unexpected_count") or 0)
    named = [entry for entry in result.get("unexpected_index_list") or [] if isinstance(entry, dict)]
    ids = {str(value) for entry in named for value in _listed(entry.get("record_id"))}
    names = {str(value) for entry in named for value in _listed(entry.get("source"))}
    if not result:
        observed: Any = "could not be evaluated"
    elif check.frame == "corpus":
        found = {name: frame[name][0].as_py() for name in check.columns}
        found = {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}
        observed = ", ".join(f"{name} {value}" for name, value in found.items())
        failing = 0  # no record in particular
    elif check.frame == "disparities":
        worst = frame.sort_by([("certain", "descending")]).slice(0, 1).to_pylist()
        observed = f"{failing} of {len(frame)} fail" + "".join(f", {row['what']} {row['certain']:g}" for row in worst)
    else:
        observed = f"{failing} of {len(frame)} {'sources' if check.frame == 'sources' else 'records'} fail"
    return {
        "expectation": check.name,
        "passed": bool(answer.success),
        "observed": observed,
        "expected": check.expected,
        "count": failing,
        # An id that is malformed might be anything: it is not repeated.
        "record_ids": sorted(value for value in ids if re.fullmatch(HEX_32, value))[:IDS_SHOWN],
        "sources": sorted(names)[:IDS_SHOWN],
    }


def _listed(value: Any) -> list[Any]:
    """One failing row's name comes bare, several in a list."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
