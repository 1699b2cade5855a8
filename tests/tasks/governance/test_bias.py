"""Rates of every rule by group: against a naive loop, Wilson against its equation, and what the gate makes of them."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.governance.bias import BANDS, COLUMNS, MINIMUM_RECORDS, Tally, Z, disparities, rates, wilson
from tasks.governance.ledger import VERDICTS
from tasks.governance.report import render

TYPES = {"bytes": pa.int64(), "rules": pa.list_(pa.string())}
SCHEMA = pa.schema([(name, TYPES.get(name, pa.string())) for name in COLUMNS])
STOP = "quality.gopher-quality.stop_words"  # English only
RULES = ["quality.basic.words", STOP, "pii.email", "licence.unknown", "language.unsure"]
ROWS = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["books", "letters", None]),
        "language": st.sampled_from(["en", "de", "", None]),
        "licence": st.sampled_from(["MIT", "", None]),
        "bytes": st.sampled_from([0, 199, 200, 999, 1000, 5000, 24_999, 25_000, 10**9, None]),
        "verdict": st.sampled_from(["keep", "redact", "drop", "quarantine"]),
        "rules": st.lists(st.sampled_from(RULES), max_size=4),
    }
)


def table(rows):
    for row in rows:  # a rule hits only where it is asked
        if row.get("language") == "de":
            row["rules"] = [rule for rule in row["rules"] if rule != STOP]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def band(size):
    size = size or 0
    return BANDS[sum(size >= edge for edge in (200, 1_000, 5_000, 25_000))]


def naive(rows):
    """(rule, dimension, group) -> (records, hits), one record after the other."""
    groups = [
        {"source": r["source"] or "", "language": r["language"] or "", "licence": r["licence"] or "",
         "length": band(r["bytes"])} for r in rows
    ]  # fmt: skip
    records = Counter((d, g) for group in groups for d, g in group.items())
    records |= Counter({("length", name): 0 for name in BANDS})
    hits = Counter((rule, d, g) for r, group in zip(rows, groups, strict=True)
                   for rule in set(r["rules"]) for d, g in group.items())  # fmt: skip
    rules = {rule for r in rows for rule in r["rules"]}
    keys = {*records, *(("length", name) for name in BANDS)}
    english = Counter((d, g) for r, group in zip(rows, groups, strict=True) if r["language"] in ("en", "", None)
                      for d, g in group.items())  # fmt: skip
    return {
        (rule, d, g): ((english if rule == STOP else records)[d, g], hits[rule, d, g])
        for rule in rules
        for d, g in keys
    }


@settings(max_examples=60)
@given(st.lists(ROWS, max_size=30))
def test_rates_agree_with_a_naive_loop(rows):
    found = rates(table(rows)).to_pylist()
    assert {(r["rule"], r["dimension"], r["group"]): (r["records"], r["hits"]) for r in found} == naive(rows)
    for row in found:
        assert row["rate"] == (row["hits"] / row["records"] if row["records"] else 0)
        assert 0 <= row["low"] <= row["rate"] <= row["high"] <= 1
        admitted = [r for r in rows if row["rule"] in r["rules"] and r["verdict"] in ("keep", "redact")]
        assert row["refuses"] == (not admitted)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_ends_solve_the_score_equation(hits, more):
    n = hits + more
    p, (low, high) = hits / n, wilson(np.array([hits]), np.array([n]))
    for end in (low[0], high[0]):
        if 0 < end < 1:
            assert abs(p - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / n), rel=1e-6, abs=1e-9)
    assert wilson(np.array([0]), np.array([0])) == (0, 1)


def corpus(**rates_by_source):
    """`n` records of each source, of which the given number was hit."""
    rows = []
    for source, (n, hit) in rates_by_source.items():
        for i in range(n):
            rules = ["quality.basic.words", "language.not_allowed"] if i < hit else []
            rows.append({"source": source, "language": source, "licence": "MIT", "bytes": 500, "rules": rules,
                         "verdict": "drop" if rules else "keep"})  # fmt: skip
    return table(rows)


def test_the_group_hit_most_stands_beside_the_one_hit_least():
    rows = disparities(rates(corpus(a=(1000, 200), b=(1000, 50), c=(1000, 20), few=(MINIMUM_RECORDS - 1, 99))))
    by_source = next(r for r in rows if (r["rule"], r["dimension"]) == ("quality.basic.words", "source"))
    assert (by_source["most"]["group"], by_source["least"]["group"], by_source["groups"]) == ("a", "c", 3)
    assert by_source["ratio"] == 10
    assert 5 < by_source["certain"] < 10
    asked = {(r["rule"], r["dimension"]) for r in rows}
    assert ("language.not_allowed", "language") not in asked  # the rule says so itself
    assert ("language.not_allowed", "source") in asked
    assert not {d for _, d in asked} & {"licence", "length"}  # one group only


def test_a_zero_and_chance_are_no_certain_disparity():
    rows = disparities(rates(corpus(a=(120, 3), b=(120, 0))))
    row = next(r for r in rows if r["dimension"] == "source")
    assert row["ratio"] is None
    assert row["certain"] == 1


def test_nothing_hit_nothing_to_compare():
    assert disparities(rates(corpus(a=(200, 0), b=(200, 0)))) == []
    assert rates(table([])).num_rows == 0


def test_the_audit_page_shows_them_with_a_picture():
    rows = disparities(rates(corpus(a=(1000, 200), b=(1000, 0))))
    counts = dict.fromkeys(VERDICTS, 0) | {"read": 2000, "keep": 1800, "drop": 200}
    manifest = {"name": "x", "version": 1, "root": "00", "policy": {"name": "p", "sha256": "00"}, "counts": counts,
                "gate": {"passed": True}, "steps": {}, "parent": None}  # fmt: skip
    page = render({"manifest": manifest, "gate": {"results": []}, "rules": [], "rules_hit": [], "licences": [],
                   "licences_refused": [], "languages": [], "sources": [], "runs": [], "disparities": rows,
                   "rates": []})  # fmt: skip
    assert "Whom the rules hit" in page
    assert "a 20.00 %" in page
    assert page.count("<rect") == 2 * len(rows) == 2 * 3  # both rules by source, one of them by language
    assert render_error_free(page)


def render_error_free(page):
    return "{{" not in page and "undefined" not in page.lower()


@given(st.lists(ROWS, max_size=40), st.integers(1, 12))
def test_a_ledger_that_comes_in_blocks_has_the_same_rates(rows, size):
    whole, tally = table(rows), Tally()
    for start in range(0, len(rows), size):
        tally.add(whole.slice(start, size))
    assert tally.rates().equals(rates(whole))
