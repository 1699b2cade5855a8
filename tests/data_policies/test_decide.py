"""Verdicts: each rule alone, their order, fail-closed on every missing score, and a naive row-by-row reference."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_policies.decide import CHEAP, decide, needs_toxicity, span_actions
from data_policies.schema import Bounds, Languages, Licences, Policy, Toxicity

SPANS = pa.list_(
    pa.struct(
        [
            ("type", pa.string()),
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("action", pa.string()),
            ("value_hmac", pa.string()),
        ]
    )
)
TYPES = {
    "spans": SPANS,
    "language_score": pa.float64(),
    "quality.basic.words": pa.float64(),
    "toxicity.toxicity": pa.float64(),
}
POLICY = Policy(
    name="test",
    version=1,
    owner="tests",
    reason="tests",
    licences=Licences(allow=("CC0-1.0", "MIT", "GPL-2.0-only WITH Classpath-exception-2.0")),
    languages=Languages(allow=("en",), minimum_score=0.5),
    quality={"basic": {"words": Bounds(min=5, max=100)}},
    pii={"email": "redact", "card": "drop", "ip": "keep", "imei": "pseudonymise"},
    toxicity=Toxicity(thresholds={"toxicity": 0.8}),
)
GOOD = {
    "record_id": "0",
    "ingest_rule": "",
    "ingest_detail": "",
    "licence": "MIT",
    "licence_problem": "",
    "opt_out": "",
    "licence_detail": "name: MIT",
    "error.licences": "",
    "language": "en",
    "language_score": 0.9,
    "error.languages": "",
    "quality.basic.words": 20.0,
    "error.quality": "",
    "spans": [],
    "error.pii": "",
    "toxicity.toxicity": 0.1,
    "scored_by": "0123456789abcdef",
    "error.toxicity": "",
}


def span(kind):
    return {"type": kind, "start": 0, "end": 1, "action": "", "value_hmac": "00"}


def table(*rows):
    merged = [{**GOOD, "record_id": str(i), **row} for i, row in enumerate(rows)]
    return pa.table({name: pa.array([row[name] for row in merged], TYPES.get(name, pa.string())) for name in GOOD})


@pytest.mark.parametrize(
    ("change", "verdict", "rule"),
    [
        ({}, "keep", None),
        ({"ingest_rule": "ingest.utf8"}, "quarantine", "ingest.utf8"),
        ({"licence": "", "licence_problem": "missing"}, "quarantine", "licence.missing"),
        ({"licence": "", "licence_problem": "unknown"}, "quarantine", "licence.unknown"),
        ({"licence": "MIT", "licence_problem": "conflict"}, "quarantine", "licence.conflict"),
        ({"licence": "", "licence_problem": "vendored"}, "quarantine", "licence.vendored"),
        ({"licence": ""}, "quarantine", "licence.unknown"),
        ({"licence": None, "licence_problem": None}, "quarantine", "licence.unknown"),
        ({"opt_out": "reserved: x_robots_tag says noai"}, "drop", "licence.opt_out"),
        ({"opt_out": "unreadable: tdm_reservation is neither 0 nor 1"}, "quarantine", "licence.opt_out"),
        ({"error.licences": "KeyError"}, "quarantine", "error.licences"),
        ({"error.licences": None}, "quarantine", "error.licences"),
        ({"licence": "GPL-3.0-only"}, "drop", "licence.not_allowed"),
        ({"licence": "MIT AND GPL-3.0-only"}, "drop", "licence.not_allowed"),
        ({"licence": "MIT OR GPL-3.0-only"}, "keep", None),
        ({"licence": "GPL-2.0-only WITH Classpath-exception-2.0"}, "keep", None),
        ({"licence": "GPL-2.0-only"}, "drop", "licence.not_allowed"),
        ({"licence": "not an expression ("}, "drop", "licence.not_allowed"),
        ({"language": "fr"}, "drop", "language.not_allowed"),
        ({"language_score": 0.49}, "quarantine", "language.unsure"),
        ({"language_score": None}, "quarantine", "language.unsure"),
        ({"language": ""}, "quarantine", "language.unsure"),
        ({"quality.basic.words": 4.0}, "drop", "quality.basic.words"),
        ({"quality.basic.words": 101.0}, "drop", "quality.basic.words"),
        ({"quality.basic.words": None}, "quarantine", "error.quality"),
        ({"spans": [span("email")]}, "redact", "pii.email"),
        ({"spans": [span("phone")]}, "redact", "pii.phone"),
        ({"spans": [span("imei")]}, "redact", "pii.imei"),
        ({"spans": [span("imei"), span("card")]}, "drop", "pii.card"),
        ({"spans": [span("ip")]}, "keep", None),
        ({"spans": [span("email"), span("card")]}, "drop", "pii.card"),
        ({"spans": None}, "quarantine", "error.pii"),
        ({"toxicity.toxicity": 0.8}, "drop", "toxicity.toxicity"),
        ({"toxicity.toxicity": 0.7999}, "keep", None),
        ({"toxicity.toxicity": None}, "quarantine", "error.toxicity"),
        ({"error.toxicity": "RuntimeError", "toxicity.toxicity": None}, "quarantine", "error.toxicity"),
    ],
)
def test_each_rule_alone(change, verdict, rule):
    row = decide(table({}, change, {}), POLICY).slice(1, 1).to_pylist()[0]
    assert (row["verdict"], row["rule"]) == (verdict, rule)
    if rule:
        assert rule in row["rules"]


def test_the_cheaper_rule_decides_and_all_that_hit_are_recorded():
    row = decide(
        table({"licence": "GPL-3.0-only", "language": "fr", "quality.basic.words": 1.0, "spans": [span("email")]}),
        POLICY,
    )
    row = row.to_pylist()[0]
    assert row["rule"] == "licence.not_allowed"
    assert row["rules"] == ["licence.not_allowed", "language.not_allowed", "quality.basic.words", "pii.email"]


def test_value_and_threshold_are_those_of_the_deciding_rule():
    row = decide(table({"quality.basic.words": 2.0, "toxicity.toxicity": 0.95}), POLICY).to_pylist()[0]
    assert (row["value"], row["threshold"]) == (2.0, 5.0)


def test_only_records_that_no_cheaper_rule_refuses_need_the_model():
    scores = table({}, {"licence": "GPL-3.0-only"}, {"spans": [span("email")]}, {"language_score": 0.1})
    cheap = scores.drop_columns(["toxicity.toxicity", "scored_by", "error.toxicity"])
    assert needs_toxicity(cheap, POLICY).tolist() == [True, False, True, False]


def test_not_needed_is_no_verdict_of_its_own():
    row = decide(
        table({"scored_by": "not_needed", "toxicity.toxicity": None, "licence": "GPL-3.0-only"}), POLICY
    ).to_pylist()[0]
    assert row["rule"] == "licence.not_allowed"
    assert not any(rule.startswith("error.") for rule in row["rules"])


def test_a_missing_score_column_is_an_error_not_an_admission():
    with pytest.raises(KeyError):
        decide(table({}).drop_columns(["toxicity.toxicity"]), POLICY)


def test_a_type_the_policy_does_not_name_is_redacted():
    assert span_actions(POLICY)["iban"] == "redact"
    assert span_actions(POLICY)["ip"] == "keep"


def test_no_rows():
    assert len(decide(table({}).slice(0, 0), POLICY)) == 0


rows = st.fixed_dictionaries(
    {},
    optional={
        "licence": st.sampled_from(["MIT", "GPL-3.0-only", "", None]),
        "licence_problem": st.sampled_from(["", "missing", "vendored"]),
        "language_score": st.sampled_from([0.0, 0.5, 1.0, None]),
        "quality.basic.words": st.sampled_from([1.0, 5.0, 500.0, None]),
        "spans": st.lists(st.sampled_from([span("email"), span("card"), span("ip")]), max_size=3),
        "toxicity.toxicity": st.sampled_from([0.0, 0.8, None]),
    },
)


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, min_size=1, max_size=12))
def test_a_row_decides_alone(changes):
    """No row's verdict depends on its neighbours, and exactly one verdict comes out for each."""
    together = decide(table(*changes), POLICY)
    assert len(together) == len(changes)
    for i, change in enumerate(changes):
        alone = decide(table({**change, "record_id": str(i)}), POLICY)
        assert together.slice(i, 1).to_pylist() == alone.to_pylist()
    admitted = np.array([verdict in ("keep", "redact") for verdict in together["verdict"].to_pylist()])
    cheap = decide(table(*changes), POLICY, CHEAP)["verdict"].to_pylist()
    assert all(verdict in ("keep", "redact") for verdict, ok in zip(cheap, admitted, strict=True) if ok)
