"""Licences as a step: once per distinct evidence, joined to every record, nothing lost."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_policies.licences import conclude
from tasks.curation.licences import SCORES, Licences, conclude_all
from tasks.curation.records import EVIDENCE_SCHEMA, RECORD_SCHEMA


def evidence_table(rows: dict[str, list[tuple[str, str]]]) -> pa.Table:
    listed = [
        {"evidence_id": name, "fields": [{"field": f, "value": v} for f, v in fields]}
        for name, fields in sorted(rows.items())
    ]
    return pa.Table.from_pylist(listed, schema=EVIDENCE_SCHEMA)


def records_table(ids: list[str | None]) -> pa.Table:
    rows = [
        {"record_id": f"{index:04x}", "source": "s", "text": "t", "evidence_id": name} for index, name in enumerate(ids)
    ]
    return pa.Table.from_pylist(rows, schema=RECORD_SCHEMA)


EVIDENCE = {
    "a": [("name", "MIT"), ("classifier", "License :: OSI Approved :: MIT License")],
    "b": [("name", "BSD")],
    "c": [("vendored", "_vendor")],
    "d": [("colour", "blue")],
    "e": [("expression", "MIT"), ("name", "GPL-3.0-only")],
    "f": [],
}


def test_one_row_for_each_evidence_and_an_error_stays_in_its_row():
    table = Licences().score(evidence_table(EVIDENCE))
    assert table.column_names == ["evidence_id", *SCORES.names, "error"]
    assert table["evidence_id"].to_pylist() == list(EVIDENCE)
    assert table["licence_problem"].to_pylist() == ["", "unknown", "vendored", None, "conflict", "missing"]
    assert table["licence"].to_pylist() == ["MIT", "", "", None, "", ""]
    assert table["error"].to_pylist() == ["", "", "", "ValueError", "", ""]
    assert table["obligations"][0].as_py() == "attribution,notice"


def test_every_record_gets_its_evidences_conclusion():
    ids = ["a", "f", "b", "zz", None, "a", "d", "c", "a", ""]
    found = conclude_all(records_table(ids), evidence_table(EVIDENCE))
    assert found.column_names == ["record_id", *SCORES.names, "error"]
    assert found["record_id"].to_pylist() == [f"{index:04x}" for index in range(len(ids))]
    assert found["licence_problem"].to_pylist() == [
        "",
        "missing",
        "unknown",
        None,
        "missing",
        "",
        None,
        "vendored",
        "",
        "missing",
    ]
    assert found["error"].to_pylist() == ["", "", "", "KeyError", "", "", "ValueError", "", "", ""]


def test_no_records_no_rows():
    found = conclude_all(records_table([]), evidence_table(EVIDENCE))
    assert len(found) == 0
    assert found.column_names == ["record_id", *SCORES.names, "error"]
    assert len(conclude_all(records_table([None]), evidence_table({}))) == 1


def test_evidence_given_twice_is_refused():
    twice = pa.concat_tables([evidence_table(EVIDENCE), evidence_table({"a": [("name", "ISC")]})])
    with pytest.raises(RuntimeError, match="licences"):
        conclude_all(records_table(["a"]), twice)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from([*EVIDENCE, None]), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_count(ids, random):
    records, evidence = records_table(ids), evidence_table(EVIDENCE)
    shuffled = records.take(random.sample(range(len(ids)), len(ids)))
    found = conclude_all(shuffled, evidence.take(random.sample(range(len(evidence)), len(evidence))))
    assert found.equals(conclude_all(records, evidence))
    expected = [
        conclude(EVIDENCE[name]).licence if name not in (None, "d") else (None if name == "d" else "") for name in ids
    ]
    assert found["licence"].to_pylist() == expected


def test_config_names_what_the_output_depends_on():
    config = Licences().config()
    assert set(config) == {"detector", "tables", "license-expression"}
    assert len(config["tables"]) == 64
