"""Opt-outs: the cases are data; what is reserved is refused whatever the licence, a doubt admits nothing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_policies.licences import conclude
from data_policies.opt_outs import FIELDS, opt_out

LINES = (Path(__file__).parent / "opt_out_cases" / "signals.tsv").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith("#")])
def test_every_case_is_read_as_expected(line):
    field, value, expected = line.split("\t")
    assert opt_out([(field, value.replace("\\n", "\n"))]).partition(":")[0] == expected


def test_what_is_reserved_goes_before_what_cannot_be_read():
    both = [("tdm_reservation", "perhaps"), ("x_robots_tag", "noai")]
    assert opt_out(both) == opt_out(both[::-1]) == "reserved: x_robots_tag says noai"


def test_an_opt_out_says_nothing_about_the_licence():
    assert conclude([("name", "MIT"), ("x_robots_tag", "noai")]) == conclude([("name", "MIT")])
    assert conclude([("tdm_reservation", "1")]).problem == "missing"


@given(st.sampled_from(FIELDS), st.text(max_size=200))
def test_any_value_is_read_without_an_exception_and_never_quoted_whole(field, value):
    assert len(opt_out([(field, value)])) <= 80
