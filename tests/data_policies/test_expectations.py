"""The suites: what a policy says is what the gate asks, through real expectations, of derived columns only."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_policies.expectations import HEX_32, RULE, checks, suites
from data_policies.schema import Bounds, Duplicates, Gates, Languages, Licences, Policy, Toxicity

LEAN = Policy(name="lean", version=1, owner="o", reason="r", licences=Licences(allow=("MIT",)))
Q = "quality.gopher-quality"
FULL = Policy(
    name="full",
    version=2,
    owner="o",
    reason="r",
    licences=Licences(allow=("MIT", "CC0-1.0")),
    languages=Languages(allow=("en",), minimum_score=0.65),
    quality={
        "gopher-quality": {
            "words": Bounds(min=50),
            "hash_word_ratio": Bounds(max=0.1),
            "mean_word_length": Bounds(min=3, max=10),
            "stop_words": Bounds(),
        }
    },
    toxicity=Toxicity(thresholds={"obscene": 0.7}),
    duplicates=Duplicates(threshold=0.9),
    gates=Gates(
        maximum_quarantine_share=0.2,
        maximum_dropped_share_per_source=0.3,
        maximum_source_kl=0.4,
        minimum_kept=7,
        maximum_duplicate_share_per_source=0.6,
    ),
)


def by_name(policy: Policy, **options) -> dict[str, dict]:
    return {check.name: check.arguments for check in checks(policy, **options)}


def test_the_bounds_are_those_of_the_policy():
    found = by_name(FULL, with_previous=True)
    bounds = {
        name: (a["column"], a["min_value"], a["max_value"], a.get("strict_max", False))
        for name, a in found.items()
        if "min_value" in a
    }
    assert bounds == {
        "admitted.language_score.minimum": ("language_score", 0.65, None, False),
        f"admitted.{Q}.words.bounds": (f"{Q}.words", 50, None, False),
        "admitted.quality.gopher-quality.hash_word_ratio.bounds": (
            "quality.gopher-quality.hash_word_ratio",
            None,
            0.1,
            False,
        ),
        "admitted.quality.gopher-quality.mean_word_length.bounds": (
            "quality.gopher-quality.mean_word_length",
            3,
            10,
            False,
        ),
        "admitted.toxicity.obscene.threshold": ("toxicity.obscene", 0, 0.7, True),  # dropped from the threshold on
        "duplicates.similarity.threshold": ("similarity", 0.9, 1, False),
        "corpus.admitted.minimum": ("admitted", 7, None, False),
        "corpus.quarantine_share.maximum": ("quarantine_share", 0, 0.2, False),
        "sources.dropped_share.maximum": ("dropped_share", 0, 0.3, False),
        "sources.duplicate_share.maximum": ("duplicate_share", 0, 0.6, False),
        "corpus.source_kl.maximum": ("source_kl", 0, 0.4, False),
    }
    assert found["admitted.language.allowed"]["value_set"] == ["en"]
    assert found["ledger.policy.this"]["value_set"] == [FULL.sha256()]


def test_what_the_policy_leaves_open_is_not_asked():
    lean, full = by_name(LEAN, with_previous=True), by_name(FULL, with_previous=True)
    assert lean.keys() < full.keys()
    always = {
        name
        for name in full
        if not re.search(r"language|quality|toxicity|quarantine|dropped|duplicate_share|threshold", name)
    }
    assert lean.keys() == always | {"duplicates.similarity.threshold"}
    assert full.keys() - by_name(FULL).keys() == {"corpus.source_kl.maximum"}


def test_scores_that_were_measured_are_in_range():
    found = by_name(LEAN, scores=["language_score", "toxicity.threat"])
    assert {name for name in found if name.endswith(".range")} == {
        "ledger.language_score.range",
        "ledger.toxicity.threat.range",
    }


def test_no_check_reads_text():
    columns = {column for check in checks(FULL, ["language_score"], True) for column in check.columns}
    assert not columns & {"text", "spans", "uri", "detail", "licence_declared"}
    assert all(check.columns for check in checks(FULL, ["language_score"], True))


def test_every_check_becomes_one_expectation_of_its_frame():
    asked = checks(FULL, ["language_score"], True)
    assert len({check.name for check in asked}) == len(asked)
    made = suites(asked)
    assert list(made) == list(dict.fromkeys(check.frame for check in asked))
    for frame, suite in made.items():
        here = [check for check in asked if check.frame == frame]
        assert [expectation.meta["check"] for expectation in suite.expectations] == [check.name for check in here]
        assert [type(expectation).__name__ for expectation in suite.expectations] == [check.kind for check in here]
        for expectation, check in zip(suite.expectations, here, strict=True):
            assert all(getattr(expectation, key) == value for key, value in check.arguments.items())


GOOD = [
    "",
    "ingest.utf8",
    "licence.vendored",
    "language.unsure",
    "quality.gopher-quality.mean_word_length",
    "pii.email",
    "toxicity.severe_toxicity",
    "duplicate.near",
    "contamination.my-set",
    "override.erased",
    "error.toxicity",
]


@pytest.mark.parametrize("rule", GOOD)
def test_rules_that_exist(rule):
    assert re.search(RULE, rule)


@given(st.sampled_from(GOOD[1:]), st.sampled_from([" ", "@", ":", "/", "\u00e9", "\n."]), st.text(max_size=5))
def test_a_rule_cannot_carry_text(rule, mark, tail):
    assert not re.search(RULE, rule + mark + tail)
    assert not re.search(RULE, tail + mark + rule)
    assert not re.search(HEX_32, "a" * 31 + mark + tail)


@pytest.mark.parametrize("rule", ["duplicate.other", "ingest.email", "licence.", "pii.", "pii", "other.rule", "keep"])
def test_rules_that_do_not_exist(rule):
    assert not re.search(RULE, rule)
