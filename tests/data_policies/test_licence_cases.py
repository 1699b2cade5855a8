"""The cases are data: cases/*.tsv holds (input, field, expected, origin), most of it real metadata."""

import json
from collections import Counter
from pathlib import Path

import pytest

from data_policies.licences import conclude
from data_policies.load import load_policy
from data_policies.spdx import admitted, canonical

CASES = Path(__file__).parent / "cases"


def rows(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def evidence(value: str, field: str) -> list[tuple[str, str]]:
    return [(name, text) for name, text in json.loads(value)] if field == "all" else [(field, value)]


ALL = [row for path in sorted(CASES.glob("*.tsv")) for row in rows(path)]


@pytest.mark.parametrize("path", sorted(CASES.glob("*.tsv")), ids=lambda path: path.stem)
def test_every_case_is_concluded_as_expected(path):
    wrong = []
    for value, field, expected, _ in rows(path):
        found = conclude(evidence(value, field))
        got = f"!{found.problem}" if found.problem else found.licence
        if got != expected:
            wrong.append((value, expected, got, found.detail))
    assert not wrong


def test_there_are_enough_real_cases():
    real = [row for row in ALL if row[3].startswith(("debian ", "pypi "))]
    assert len(real) >= 250
    assert sum(not row[2].startswith("!") for row in real) >= 250
    assert Counter(len(row) for row in ALL) == {4: len(ALL)}


@pytest.mark.parametrize("policy", ["open-definition", "strict"])
def test_no_problem_is_ever_admitted(policy):
    allow = load_policy(policy).licences.allow
    for value, field, expected, _ in ALL:
        found = conclude(evidence(value, field))
        if expected.startswith("!"):
            assert found.licence == ""
            assert not admitted(found.licence, allow)


def test_expected_licences_are_canonical_expressions():
    assert [row[2] for row in ALL if not row[2].startswith("!") and canonical(row[2]) != row[2]] == []


def test_no_open_policy_admits_what_restricts():
    """NC, ND, proprietary and use-restricted terms, whatever field they come in."""
    allow = load_policy("open-definition").licences.allow
    restricted = [
        row for row in ALL if any(part in row[2] for part in ("-NC", "-ND", "Proprietary", "RAIL", "llama", "gemma"))
    ]
    assert len(restricted) >= 20
    assert [row[0] for row in restricted if admitted(row[2], allow)] == []
