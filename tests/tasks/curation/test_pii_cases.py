"""Precision and recall on the adversarial set, type by type, with exact places."""

from collections import Counter
from functools import cache

import pii_cases
import pytest

from tasks.curation.pii import Pii
from tasks.curation.pii_patterns import PATTERNS

CASES = pii_cases.read()
SCANNER = Pii(b"0123456789abcdef0123456789abcdef")


@cache
def tally():
    """(found rightly, found wrongly, missed), each a Counter by type; a wrong place counts as both of the latter."""
    right, wrong, missed = Counter(), Counter(), Counter()
    for case in CASES:
        got = {(span["type"], span["start"], span["end"]) for span in SCANNER.find(case.text)}
        right.update(kind for kind, *_ in got & set(case.spans))
        wrong.update(kind for kind, *_ in got - set(case.spans))
        missed.update(kind for kind, *_ in set(case.spans) - got)
    return right, wrong, missed


def test_the_set_is_what_it_says():
    assert len(CASES) >= 600
    assert len({case.text for case in CASES}) == len(CASES)
    positive = Counter(kind for case in CASES for kind, *_ in case.spans)
    assert set(positive) == {pattern.type for pattern in PATTERNS}
    assert min(positive.values()) >= 10
    assert sum(case.kind == "none" for case in CASES) >= 200
    assert all(case.spans == () for case in CASES if case.kind == "none")
    assert all(case.spans for case in CASES if case.kind != "none")


@pytest.mark.parametrize("kind", sorted({pattern.type for pattern in PATTERNS}))
def test_each_structured_type_is_found_exactly(kind):
    right, wrong, missed = (counter[kind] for counter in tally())
    assert right / (right + wrong) >= 0.98
    assert right / (right + missed) >= 0.98


def test_over_all_types():
    right, wrong, missed = (sum(counter.values()) for counter in tally())
    assert right / (right + wrong) >= 0.98
    assert right / (right + missed) >= 0.98


@pytest.mark.parametrize("case", [case for case in CASES if case.kind == "none"], ids=lambda case: case.what)
def test_no_false_alarm_when_the_text_stands_in_prose(case):
    text = f"Before it (see above):\n\n    {case.text}\n\nand after it."
    assert SCANNER.find(text) == []
