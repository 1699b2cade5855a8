"""What a policy may say of quality: names, canonical bounds, languages."""

import pyarrow as pa
import pytest

from data_policies.load import PolicyError, validate
from data_policies.measures import MEASURES, canonical, is_asked

BASE = {"name": "t", "version": 1, "owner": "t", "reason": "t", "licences": {"allow": ["MIT"]}}


def test_canonical_is_written_out_and_so_in_the_digest():
    short = validate(BASE | {"quality": {"fineweb": "canonical"}}, "here")
    long = validate(BASE | {"quality": {"fineweb": canonical("fineweb")}}, "here")
    other = validate(BASE | {"quality": {"fineweb": canonical("fineweb") | {"short_line_ratio": {"max": 0.5}}}}, "here")
    assert short == long
    assert short.sha256() == long.sha256() != other.sha256()
    assert short.quality["fineweb"]["terminal_line_ratio"].min == 0.12


@pytest.mark.parametrize(
    ("quality", "says"),
    [
        ({"gofer": "canonical"}, "no bounds of its own"),
        ({"basic": "canonical"}, "no bounds of its own"),
        ({"gofer": {"words": {"min": 1}}}, "unknown quality set 'gofer'"),
        ({"c4": {"words": {"min": 1}}}, "c4 has no measure 'words'"),
    ],
)
def test_names_are_checked_when_the_policy_is_read(quality, says):
    with pytest.raises(PolicyError, match=says):
        validate(BASE | {"quality": quality}, "here")


def test_whom_a_rule_is_asked_of():
    column = pa.chunked_array([pa.array(["en", "de", "th", "", None])])
    assert is_asked(column, ("en",), ()).tolist() == [True, False, False, True, True]
    assert is_asked(column, (), ("th",)).tolist() == [True, True, False, True, True]
    assert is_asked(column, (), ()).all()


def test_thresholds_are_the_sources_own():
    """Rae et al. 2021, table A1, and section A1.1; Penedo et al. 2024; as in datatrove 0.10."""
    bounds = {(name, measure): own for name, measures in MEASURES.items() for measure, own in measures.items()}
    assert (bounds["gopher-quality", "words"].low, bounds["gopher-quality", "words"].high) == (50, 100_000)
    found = [bounds["gopher-repetition", f"duplicate_{n}_gram_character_ratio"].high for n in range(5, 11)]
    assert found == [0.15, 0.14, 0.13, 0.12, 0.11, 0.10]
    assert bounds["c4", "sentences"].low == 5
