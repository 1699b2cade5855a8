"""The gate: a Great Expectations checkpoint over derived columns. It says yes or no before a shard is visible.

Great Expectations writes the values it finds into its results unless it is told not to, and its own result JSON holds
times and run ids. So it sees no text, is told to leave values out, and gate.json is written by us from its answers.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.decide import protected_sets
from data_policies.expectations import HEX_32, Check, checks, great_expectations, suites
from data_policies.media_rules import media_kind
from data_policies.schema import Policy
from tasks.curation.gate_frames import COUNTED, RATED, Totals, frames, source_kl, text, uncut
from tasks.governance.ledger import ADMITTED
from tasks.memory import release

__all__ = ["GateResult", "run_gate", "source_kl", "write"]

VERSION = 1

#: Gives blocks of rows with these columns, None for all there are.
Blocks = Callable[[list[str] | None], Iterator[pa.Table]]

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
    and of these the first `record_ids` and `sources`, 20 at most. `totals`: the counts that were judged."""

    passed: bool
    policy_sha256: str
    results: list[dict[str, Any]]
    totals: Totals = field(default_factory=Totals, compare=False, repr=False)

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


def run_gate(rows: pa.Table | Blocks, facts: Mapping[str, Any], policy: Policy) -> GateResult:
    """Ask every check of the policy.

    `rows`: the ledger's rows (before they have a shard) and beside them ``licence_allowed`` (bool) and the scores that
    the policy bounds: a table, or a function that gives blocks of one sorted by record_id, as often as it is called,
    with the columns that it is called with (of the ledger's own; None for all).
    Of blocks each is asked by itself and the answers are added up; they do not depend on how the rows were cut.
    `facts`: ``read`` (counted by the sources, never from the ledger) and ``previous_source_mix`` (the previous
    version's admitted records by source; None at v1). KeyError when a column is missing; RuntimeError when Great
    Expectations leaves a check unanswered, or when blocks are not sorted. A check that it cannot evaluate has failed.
    """
    given = _blocks_of(rows) if isinstance(rows, pa.Table) else rows
    columns = next(given(None)).column_names
    scores = sorted(name for name in columns if name == "language_score" or name.startswith("toxicity."))
    previous = facts.get("previous_source_mix") is not None
    asked = checks(policy, scores, previous, protected_sets(columns), media_kind(columns))
    bounded = any(check.frame == "disparities" for check in asked)
    totals = Totals()
    for block in given(COUNTED + (RATED if bounded else [])):
        totals.add(block, with_rates=bounded)
    whole = {"sources": totals.sources(), "corpus": totals.corpus(facts)}
    whole |= {"disparities": totals.disparities()} if bounded else {}
    answers = {check.name: Answer(check) for check in asked}
    gate = Checkpoints(asked)
    kept = _admitted_of(totals.survivors, given)
    for block in uncut(given(None)):
        for name, frame in frames(block, asked, kept):
            gate.ask(name, frame, answers)
    for name, frame in whole.items():
        gate.ask(name, frame, answers)
    del gate
    release()
    results = [answers[check.name].result(whole.get(check.frame)) for check in asked]
    return GateResult(all(result["passed"] for result in results), policy.sha256(), results, totals)


def _blocks_of(rows: pa.Table) -> Blocks:
    rows = rows.take(pc.sort_indices(rows["record_id"]))
    return lambda columns: iter([rows if columns is None else rows.select(columns)])


def _admitted_of(survivors: pa.Array, given: Blocks) -> pa.Array:
    """Those of the survivors that are admitted themselves."""
    found = np.zeros(len(survivors), bool)
    for block in given(["record_id", "verdict"]) if len(survivors) else ():
        admitted = block["record_id"].filter(pc.is_in(text(block["verdict"]), pa.array(ADMITTED)))
        found |= np.asarray(pc.is_in(survivors, admitted.combine_chunks().drop_null()))
    return survivors.filter(pa.array(found))


class Checkpoints:
    """For each frame a Great Expectations checkpoint, which takes rows of the frame when it is run."""

    def __init__(self, asked: Sequence[Check]) -> None:
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
        self._results = context.validation_results_store
        self._made = {}
        for frame, suite in suites(asked).items():
            batch = source.add_dataframe_asset(frame).add_batch_definition_whole_dataframe("whole")
            definition = gx.ValidationDefinition(name=frame, data=batch, suite=context.suites.add(suite))
            context.validation_definitions.add(definition)
            name = {"sources": "source", "corpus": None, "disparities": None}.get(frame, "record_id")
            form = RESULT_FORMAT | ({"unexpected_index_column_names": [name]} if name else {})
            checkpoint = gx.Checkpoint(name=frame, validation_definitions=[definition], result_format=form)
            self._made[frame] = context.checkpoints.add(checkpoint)

    def ask(self, name: str, frame: pa.Table, answers: Mapping[str, Answer]) -> None:
        """Run the checkpoint of the frame `name` over some rows of it, and take down its answers.

        RuntimeError when a check of the frame is left unanswered.
        """
        if name not in self._made:
            return
        told = {check for check, answer in answers.items() if answer.check.frame == name}
        outcome = self._made[name].run(batch_parameters={"dataframe": frame.to_pandas()})
        for validation in outcome.run_results.values():
            for answer in validation.results:
                check = answer.expectation_config.meta["check"]
                told.remove(check)
                answers[check].add(answer, len(frame))
        if told:
            raise RuntimeError(f"{name}: {len(told)} checks were asked and not answered")
        for key in self._results.list_keys():  # it would keep every failing row of every block
            self._results.remove_key(key)


class Answer:
    """Ours from theirs: counts and ids, nothing else; what they say of each part of a frame is added up."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.passed, self.evaluated = True, True
        self.rows = self.failing = 0
        self.ids: list[str] = []
        self.sources: list[str] = []

    def add(self, answer: Any, rows: int) -> None:
        """Take down Great Expectations' answer about so many more rows."""
        result = answer.result or {}
        self.passed &= bool(answer.success)
        self.evaluated &= bool(result)
        self.rows += rows
        self.failing += int(result.get("unexpected_count") or 0)
        named = [entry for entry in result.get("unexpected_index_list") or [] if isinstance(entry, dict)]
        ids = {str(value) for entry in named for value in _listed(entry.get("record_id"))}
        # An id that is malformed might be anything: it is not repeated.
        self.ids = sorted({*self.ids, *(value for value in ids if re.fullmatch(HEX_32, value))})[:IDS_SHOWN]
        sources = {str(value) for entry in named for value in _listed(entry.get("source"))}
        self.sources = sorted({*self.sources, *sources})[:IDS_SHOWN]

    def result(self, whole: pa.Table | None) -> dict[str, Any]:
        """The check's entry in gate.json; `whole`: the frame, where it is one of the whole corpus."""
        failing = self.failing
        if not self.evaluated:
            observed = "could not be evaluated"
        elif self.check.frame == "corpus":
            assert whole is not None
            found = {name: whole[name][0].as_py() for name in self.check.columns}
            found = {name: round(value, 6) if isinstance(value, float) else value for name, value in found.items()}
            observed = ", ".join(f"{name} {value}" for name, value in found.items())
            failing = 0  # no record in particular
        elif self.check.frame == "disparities":
            assert whole is not None
            worst = whole.sort_by([("certain", "descending")]).slice(0, 1).to_pylist()
            observed = f"{failing} of {self.rows} fail" + "".join(f", {r['what']} {r['certain']:g}" for r in worst)
        else:
            observed = f"{failing} of {self.rows} {'sources' if self.check.frame == 'sources' else 'records'} fail"
        return {
            "expectation": self.check.name,
            "passed": self.passed,
            "observed": observed,
            "expected": self.check.expected,
            "count": failing,
            "record_ids": self.ids,
            "sources": self.sources,
        }


def _listed(value: Any) -> list[Any]:
    """One failing row's name comes bare, several in a list."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
