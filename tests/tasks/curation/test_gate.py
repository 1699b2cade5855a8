"""The gate: a sound ledger passes, and for every check there is a corruption that it, and nothing else, refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_policies.expectations import checks
from data_policies.schema import Bounds, Duplicates, Gates, Languages, Licences, Policy, Toxicity
from tasks.curation.gate import IDS_SHOWN, VERSION, run_gate, source_kl, write
from tasks.governance.ledger import SPAN

SECRET = "ada.lovelace@example.org"

POLICY = Policy(
    name="test",
    version=1,
    owner="tests",
    reason="to be broken",
    licences=Licences(allow=("MIT",)),
    languages=Languages(allow=("en", "de"), minimum_score=0.5),
    quality={"basic": {"words": Bounds(min=3), "symbol_ratio": Bounds(min=0, max=0.2)}},
    toxicity=Toxicity(thresholds={"toxicity": 0.8, "threat": 0.5}),
    duplicates=Duplicates(threshold=0.8),
    gates=Gates(
        maximum_quarantine_share=0.5,
        maximum_dropped_share_per_source=0.7,
        maximum_source_kl=0.5,
        minimum_kept=5,
        maximum_duplicate_share_per_source=0.5,
    ),
)


def digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def span(action: str) -> dict[str, Any]:
    return {"type": "email", "start": 0, "end": 5, "action": action, "value_hmac": digest("hmac", action)}


def sound_rows(block: int = 0) -> list[dict[str, Any]]:
    """24 records of every kind; record 0 is the survivor of both duplicates. Each block has records of its own."""
    rows = []
    for i in range(24):
        row: dict[str, Any] = {
            "record_id": digest("record", block, i)[:32],
            "source": "books" if i % 2 else "letters",
            "uri": f"mailto:{SECRET}",
            "split": "validation" if i % 5 == 0 else "train",
            "content_sha256": digest("content", block, i),
            "sample_sha256": digest("sample", block, i),
            "licence_declared": "MIT",
            "licence": "MIT",
            "language": "de" if i % 3 else "en",
            "verdict": "keep",
            "rule": None,
            "rules": [],
            "detail": SECRET,
            "policy_sha256": POLICY.sha256(),
            "survivor_id": None,
            "similarity": None,
            "spans": [],
            "licence_allowed": True,
            "language_score": 0.5 + i / 50,
            "quality.basic.words": 3.0 + i,
            "quality.basic.symbol_ratio": i / 120,
            "toxicity.toxicity": i / 31,
            "toxicity.threat": 0.4999,
            "text": f"write to {SECRET}",
        }
        refusal = {
            10: ("redact", "pii.email"),
            11: ("drop", "licence.not_allowed"),
            12: ("drop", "duplicate.exact"),
            13: ("drop", "duplicate.near"),
            14: ("quarantine", "error.toxicity"),
            15: ("quarantine", "ingest.utf8"),
            16: ("drop", "toxicity.toxicity"),
            17: ("drop", "override.erased"),
        }.get(i)
        if refusal:
            row |= {"verdict": refusal[0], "rule": refusal[1], "rules": ["quality.basic.words", refusal[1]]}
        if i == 10:
            row["spans"] = [span("keep"), span("redact")]
        if i == 11:
            row |= {"licence_allowed": False, "licence": "GPL-2.0-only"}
        if i in (12, 13):
            row |= {"survivor_id": digest("record", block, 0)[:32], "similarity": 1.0 if i == 12 else 0.8}
        if i in (14, 15):  # what was not scored is null
            row |= {"toxicity.toxicity": None, "toxicity.threat": None}
        if i == 15:
            row |= {
                "language": None,
                "language_score": None,
                "spans": None,
                "quality.basic.words": None,
                "rules": [row["rule"]],
            }
        if refusal and refusal[0] != "redact":
            row |= {"sample_sha256": None}
        rows.append(row)
    return rows


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    floats = [name for name in rows[0] if name.startswith(("quality.", "toxicity.", "language_score", "similarity"))]
    kinds = {name: pa.float64() for name in floats} | {"licence_allowed": pa.bool_(), "bytes": pa.int64()}
    kinds |= {"rules": pa.list_(pa.string()), "spans": pa.list_(SPAN)}
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]]))


FACTS: dict[str, Any] = {"read": 24, "source_mix": {}, "previous_source_mix": {"books": 9, "letters": 8}}

Rows = list[dict[str, Any]]


def put(at: int, **values: Any) -> Callable[[Rows], None]:
    """Change one record; a function as a value is called with the rows."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    return lambda rows: rows[at].update({k: v(rows) if callable(v) else v for k, v in named.items()})


#: check -> a corruption of one record for which it fails.
RECORDS: list[tuple[str, Callable[[Rows], None]]] = [
    ("ledger.record_id.unique", put(3, record_id=lambda rows: rows[4]["record_id"])),
    ("ledger.content_sha256.form", put(3, content_sha256=None)),
    ("ledger.content_sha256.form", put(15, content_sha256=SECRET)),
    ("ledger.verdict.known", put(11, verdict="maybe")),
    ("ledger.verdict.known", put(14, verdict=None)),
    ("ledger.policy.this", put(3, policy_sha256=digest("another"))),
    ("ledger.policy.this", put(3, policy_sha256=None)),
    ("ledger.rule.known", put(14, rule="because", rules=["because"])),
    ("ledger.rule.known", put(14, rule=f"pii.{SECRET}", rules=[f"pii.{SECRET}"])),
    ("ledger.rule.known", put(14, rule="xpii.email", rules=["xpii.email"])),
    ("ledger.rule.given", put(3, rule="pii.email", rules=["pii.email"])),
    ("ledger.rule.given", put(10, rule=None)),
    ("ledger.rule.given", put(14, rule=None)),
    ("ledger.rule.listed", put(14, rules=["quality.basic.words"])),
    ("ledger.rule.listed", put(14, rules=None)),
    ("ledger.language_score.range", put(14, language_score=1.01)),
    ("ledger.toxicity.toxicity.range", put(16, toxicity__toxicity=-0.0001)),
    ("ledger.toxicity.threat.range", put(16, toxicity__threat=math.inf)),
    ("admitted.licence.allowed", put(3, licence_allowed=False)),
    ("admitted.licence.allowed", put(10, licence_allowed=None)),
    ("admitted.sample_sha256.form", put(3, sample_sha256=None)),
    ("admitted.sample_sha256.form", put(4, sample_sha256=SECRET)),
    ("admitted.sample_sha256.unique", put(3, sample_sha256=lambda rows: rows[10]["sample_sha256"])),
    ("admitted.split.known", put(3, split="test")),
    ("admitted.split.known", put(3, split=None)),
    ("admitted.spans.decided", put(3, spans=[span("keep"), span("")])),
    ("admitted.spans.decided", put(3, spans=[span("drop")])),
    ("admitted.redaction.consistent", put(3, spans=[span("redact")])),
    ("admitted.redaction.consistent", put(10, spans=[])),
    ("admitted.language.allowed", put(3, language="fr")),
    ("admitted.language.allowed", put(3, language=None)),
    ("admitted.language_score.minimum", put(3, language_score=0.4999)),
    ("admitted.language_score.minimum", put(3, language_score=None)),
    ("admitted.quality.basic.words.bounds", put(3, quality__basic__words=2.9)),
    ("admitted.quality.basic.words.bounds", put(3, quality__basic__words=None)),
    ("admitted.quality.basic.symbol_ratio.bounds", put(10, quality__basic__symbol_ratio=0.21)),
    ("admitted.quality.basic.symbol_ratio.bounds", put(10, quality__basic__symbol_ratio=math.nan)),
    ("admitted.toxicity.toxicity.threshold", put(3, toxicity__toxicity=0.8)),
    ("admitted.toxicity.toxicity.threshold", put(3, toxicity__toxicity=None)),
    ("admitted.toxicity.threat.threshold", put(3, toxicity__threat=math.nan)),
    ("duplicates.survivor.kept", put(12, survivor_id=lambda rows: rows[11]["record_id"])),
    ("duplicates.survivor.kept", put(13, survivor_id=None)),
    ("duplicates.similarity.threshold", put(13, similarity=0.7999)),
    ("duplicates.similarity.threshold", put(13, similarity=None)),
]


def refuse(verdict: str, rule: str, *where: int) -> Callable[[Rows, dict[str, Any]], None]:
    return lambda rows, facts: [rows[i].update(verdict=verdict, rule=rule, rules=[rule]) for i in where] and None


def fact(**values: Any) -> Callable[[Rows, dict[str, Any]], None]:
    return lambda rows, facts: facts.update(values)


def resemble(*numbers: int) -> Callable[[Rows, dict[str, Any]], None]:
    """Drop these records as near-duplicates of record 0."""

    def corrupt(rows: Rows, facts: dict[str, Any]) -> None:
        refuse("drop", "duplicate.near", *numbers)(rows, facts)
        for number in numbers:
            rows[number].update(survivor_id=rows[0]["record_id"], similarity=0.9)

    return corrupt


def few_admitted(rows: Rows, facts: dict[str, Any]) -> None:
    refuse("drop", "language.not_allowed", 1, 2, 3, 4, 5, 6, 8)(rows, facts)
    refuse("quarantine", "error.pii", 7, 9, 18, 19, 20, 21)(rows, facts)


#: Corruptions of the whole, or of an id: the one check that fails.
WHOLES: list[tuple[str, Callable[[Rows, dict[str, Any]], Any]]] = [
    ("ledger.record_id.present", lambda rows, facts: rows[3].update(record_id=None)),
    ("ledger.record_id.form", lambda rows, facts: rows[3].update(record_id=SECRET)),
    ("ledger.record_id.form", lambda rows, facts: rows[3].update(record_id="0" * 31 + "G")),
    ("sources.dropped_share.maximum", refuse("drop", "language.not_allowed", *range(1, 10, 2), 19)),
    ("sources.duplicate_share.maximum", resemble(*range(1, 9, 2))),
    ("corpus.ledger.closed", fact(read=25)),
    ("corpus.ledger.closed", lambda rows, facts: rows.pop()),
    ("corpus.admitted.minimum", few_admitted),
    ("corpus.quarantine_share.maximum", refuse("quarantine", "error.pii", *range(1, 10), 18, 19)),
    ("corpus.source_kl.maximum", fact(previous_source_mix={"books": 1000, "letters": 10})),
    ("corpus.source_kl.maximum", fact(previous_source_mix={"elsewhere": 50})),
]
SCORES = ["language_score", "toxicity.threat", "toxicity.toxicity"]


def judge(corrupt: Callable[[Rows, dict[str, Any]], Any] = fact()):
    rows, facts = sound_rows(), dict(FACTS)
    corrupt(rows, facts)
    return run_gate(table_of(rows), facts, POLICY)


@pytest.fixture(scope="module")
def sound():
    return judge()


def test_a_sound_ledger_passes(sound):
    result = sound
    assert result.failed == []
    assert result.passed
    assert [entry["expectation"] for entry in result.results] == [check.name for check in checks(POLICY, SCORES, True)]
    assert len({entry["expectation"] for entry in result.results}) == len(result.results)


def test_there_is_a_corruption_for_every_check():
    assert {name for name, _ in RECORDS + WHOLES} == {check.name for check in checks(POLICY, SCORES, True)}


def test_each_check_names_the_records_that_were_corrupted_for_it_and_no_other(monkeypatch):
    """One ledger of many blocks, each with one corruption: a check must find its own and must not see the others'."""
    monkeypatch.setattr("tasks.curation.gate.IDS_SHOWN", 10_000)
    blocks = [sound_rows(block) for block in range(len(RECORDS) + 1)]  # the last one stays sound
    for (_, corrupt), rows in zip(RECORDS, blocks, strict=False):
        corrupt(rows)
    ledger = [row for rows in blocks for row in rows]
    result = run_gate(table_of(ledger), FACTS | {"read": len(ledger)}, POLICY)
    found = {(entry["expectation"], name) for entry in result.failed for name in entry["record_ids"]}
    block_of = {row["record_id"]: number for number, rows in enumerate(blocks) for row in rows}
    seen = {(check, block_of[name]) for check, name in found}
    assert seen == {(check, number) for number, (check, _) in enumerate(RECORDS)}
    for entry in result.failed:
        if not entry["expectation"].startswith("corpus."):
            twice = 2 if entry["expectation"].endswith(".unique") else 1
            assert entry["count"] == twice * sum(name == entry["expectation"] for name, _ in RECORDS)
    assert not result.passed
    assert SECRET not in result.content().decode()


@pytest.mark.parametrize(("name", "corrupt"), WHOLES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(WHOLES)])
def test_each_corruption_of_the_whole_fails_one_check(name, corrupt):
    result = judge(corrupt)
    assert [entry["expectation"] for entry in result.failed] == [name]
    assert not result.passed
    assert SECRET not in result.content().decode()
    entry = result.failed[0]
    assert entry["record_ids"] == []  # null, malformed and so not repeated, or no record in particular
    if name.startswith("ledger."):
        assert (entry["count"], entry["observed"]) == (1, "1 of 24 records fail")
    if name.startswith("sources."):
        assert (entry["sources"], entry["observed"]) == (["books"], "1 of 2 sources fail")


def test_what_was_observed_is_said(sound):
    observed = {entry["expectation"]: entry["observed"] for entry in sound.results}
    assert observed["corpus.ledger.closed"] == "read 24, accounted 24"
    assert observed["corpus.admitted.minimum"] == "admitted 17"
    assert observed["corpus.quarantine_share.maximum"] == "quarantine_share 0.083333"
    assert observed["admitted.licence.allowed"] == "0 of 17 records fail"
    assert observed["duplicates.survivor.kept"] == "0 of 2 records fail"


def test_at_most_twenty_ids_in_order():
    rows = sound_rows() * 2
    for i, row in enumerate(rows):
        rows[i] = row | {"record_id": digest("many", i)[:32], "language_score": 7.0}
    result = run_gate(table_of(rows), FACTS | {"read": 48}, POLICY)
    entry = next(entry for entry in result.failed if entry["expectation"] == "ledger.language_score.range")
    assert entry["count"] == 48
    assert entry["record_ids"] == sorted(row["record_id"] for row in rows)[:IDS_SHOWN]


def test_gate_json_is_a_function_of_the_ledger_and_holds_nothing_of_the_documents(sound, tmp_path):
    result = judge(lambda rows, facts: rows[10].update(licence_allowed=False))
    shuffled = table_of(sound_rows()).take(pa.array(np.random.default_rng(0).permutation(24)))
    assert run_gate(shuffled, FACTS, POLICY).content() == sound.content()
    path = write(result, tmp_path)
    content = path.read_bytes()
    assert path.name == "gate.json"
    assert result.sha256 == hashlib.sha256(content).hexdigest()
    value = json.loads(content)
    assert value["passed"] is False
    assert value["policy_sha256"] == POLICY.sha256()
    keys = {"expectation", "passed", "observed", "expected", "count", "record_ids", "sources"}
    assert all(set(entry) == keys for entry in value["results"])
    assert value["results"] == result.results
    for secret in (SECRET, "ada", "write to", digest("hmac", "redact"), str(tmp_path)):
        assert secret.encode() not in content


@pytest.mark.parametrize(("size", "cut"), [(40, 7), (25, 60)])
def test_the_gate_says_the_same_however_the_rows_are_cut(size, cut, monkeypatch):
    """Every kind of corruption, equal ids and a null one among them, in blocks of other sizes than the frames'."""
    table, facts = _corrupted(), FACTS | {"read": 96}
    whole = run_gate(table, facts, POLICY)
    assert len({entry["expectation"] for entry in whole.failed}) > 10
    monkeypatch.setattr("tasks.curation.gate_frames.BLOCK_ROWS", size)
    table = table.take(pc.sort_indices(table["record_id"]))
    calls = []

    def blocks(columns):
        calls.append(columns)
        seen = table if columns is None else table.select(columns)
        return (seen.slice(at, cut) for at in range(0, len(table), cut))

    assert run_gate(blocks, facts, POLICY).content() == whole.content()
    assert sum(columns is None for columns in calls) == 2  # the scores are read once, and their names
    with pytest.raises(RuntimeError, match="not sorted"):
        run_gate(lambda columns: iter([table.slice(50), table.slice(0, 50)]), facts, POLICY)


def _corrupted() -> pa.Table:
    rows = [row for block in range(4) for row in sound_rows(block)]
    for number, (_, corrupt) in enumerate(RECORDS):
        corrupt(rows[(number * 7) % 72 :])
    rows[3]["record_id"] = None
    for number in range(60, 66):
        rows[number]["record_id"] = rows[59]["record_id"]
    return table_of(rows)


def test_golden_output(sound):
    """A change of gate.json needs a new VERSION. (A new key of the policy's changes only the policy's digest.)"""
    content = sound.content().replace(POLICY.sha256().encode(), b"")
    assert {VERSION: hashlib.sha256(content).hexdigest()} == {
        1: "2e5cb8f2ecdbd2b0a975d1d3b3a6d5c71ceaa19333b43dbd7859a7ad66c587ef"
    }


def test_nothing_is_printed_or_logged(capfd, caplog):
    judge(lambda rows, facts: rows[3].update(verdict="maybe"))
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_an_empty_ledger_fails_on_its_minimum_alone():
    rows = table_of(sound_rows()).slice(0, 0)
    result = run_gate(rows, {"read": 0, "previous_source_mix": None}, POLICY)
    assert [entry["expectation"] for entry in result.failed] == ["corpus.admitted.minimum"]


def test_a_lean_policy_asks_less_and_a_missing_score_is_an_error():
    lean = Policy(name="lean", version=1, owner="t", reason="t", licences=Licences(allow=("MIT",)))
    rows = [row | {"policy_sha256": lean.sha256()} for row in sound_rows()]
    result = run_gate(table_of(rows), {"read": 24, "previous_source_mix": None}, lean)
    assert result.passed
    names = {entry["expectation"] for entry in result.results}
    assert not names & {"corpus.source_kl.maximum", "sources.dropped_share.maximum", "admitted.language.allowed"}
    with pytest.raises(KeyError, match="toxicity.threat"):
        run_gate(table_of(sound_rows()).drop_columns(["toxicity.threat"]), FACTS, POLICY)


mixes = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000))


@given(mixes, mixes)
def test_source_kl_is_the_divergence_of_the_smoothed_mixes(now, before):
    names = set(now) | set(before)
    p = {name: (now.get(name, 0) + 0.5) / (sum(now.values()) + len(names) / 2) for name in names}
    q = {name: (before.get(name, 0) + 0.5) / (sum(before.values()) + len(names) / 2) for name in names}
    expected = sum(p[name] * math.log(p[name] / q[name]) for name in names)
    assert source_kl(now, before) == pytest.approx(expected, abs=1e-12)
    assert source_kl(now, before) >= 0
    assert source_kl(now, now) == 0


def test_a_rule_that_falls_on_one_source_is_refused_when_the_policy_bounds_it():
    bound = dataclasses.replace(POLICY, gates=Gates(maximum_disparity=3))
    rows = []
    for block in range(40):
        for row in sound_rows(block)[:8]:
            rule = "licence.unknown" if row["source"] == "books" and block % 2 else None
            refused = {"verdict": "drop", "rule": rule, "rules": [rule], "sample_sha256": None} if rule else {}
            rows.append(row | {"policy_sha256": bound.sha256(), "bytes": 500} | refused)
    table = table_of(rows)
    facts = {"read": len(rows), "previous_source_mix": None}
    [failed] = run_gate(table, facts, bound).failed
    assert failed["expectation"] == "disparities.certain.maximum"
    assert "licence.unknown by source" in failed["observed"]
    assert run_gate(table.filter(pc.equal(table["source"], "letters")), facts | {"read": 160}, bound).passed


def test_a_bound_is_asked_of_the_languages_that_it_is_meant_for():
    quality = {"gopher-quality": {"stop_words": Bounds(min=2)}, "fineweb": {"short_line_ratio": Bounds(max=0.5)}}
    bound = dataclasses.replace(POLICY, quality=quality)
    rows = [row | {"policy_sha256": bound.sha256()} for row in sound_rows()]
    for row in rows:  # null where the measure was not needed; 1 stop word in German is nobody's business
        row["quality.gopher-quality.stop_words"] = 2.0 if row["language"] == "en" else 1.0
        row["quality.fineweb.short_line_ratio"] = 0.1
    assert run_gate(table_of(rows), FACTS, bound).passed
    english = next(row for row in rows if row["language"] == "en" and row["verdict"] == "keep")
    for wrong in (1.0, None):
        english["quality.gopher-quality.stop_words"] = wrong
        [failed] = run_gate(table_of(rows), FACTS, bound).failed
        assert failed["expectation"] == "admitted.quality.gopher-quality.stop_words.bounds"
        assert failed["record_ids"] == [english["record_id"]]
