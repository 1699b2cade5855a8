"""The cascade's arithmetic against scipy, its promises on random corpora, and how often its bound is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tasks.curation import toxicity_cascade
from tasks.curation.toxicity_cascade import cascade, draw, interval, sample_size, size_for, upper_bound


@given(st.integers(0, 30), st.integers(1, 5000))
def test_the_bounds_are_those_of_scipys_exact_test(missed, sampled):
    missed = min(missed, sampled)
    both_sides = binomtest(missed, sampled).proportion_ci(0.95, "exact")
    assert interval(missed, sampled) == pytest.approx((both_sides.low, both_sides.high), abs=1e-9)
    one_side = binomtest(missed, sampled, alternative="less").proportion_ci(0.95, "exact")
    assert upper_bound(missed, sampled) == pytest.approx(one_side.high, abs=1e-9)


def test_sample_sizes():
    assert size_for(0, 0.001) == 2995  # ln(0.05) / ln(1 - 0.001)
    assert [size_for(k, 0.01) for k in range(3)] == [299, 473, 628]
    assert sample_size(14_000, 0.001) == 2995  # more than a tenth: no miss can be afforded
    assert sample_size(100_000, 0.001) == size_for(4, 0.001) <= 10_000 < size_for(5, 0.001)
    assert sample_size(10**9, 0.001) == size_for(10, 0.001)


@given(st.integers(0, 8), st.floats(0.0005, 0.9))
def test_a_sample_is_as_small_as_its_misses_allow(misses, bound):
    size = size_for(misses, bound)
    assert upper_bound(misses, size) <= bound
    assert size == misses + 1 or upper_bound(misses, size - 1) > bound


CORPUS = st.integers(0, 2**32).map(np.random.default_rng)


def random_corpus(generator):
    count = int(generator.integers(50, 400))
    screen_N = np.round(generator.random(count), 2)
    screen_N[generator.random(count) < 0.02] = np.nan  # the screen failed on these
    toxic_N = generator.random(count) < generator.choice([0.0, 0.01, 0.2])
    return [f"record-{row}" for row in range(count)], screen_N, toxic_N


@settings(max_examples=60)
@given(CORPUS, st.sampled_from([0.0, 0.4, 0.9]), st.sampled_from([0.02, 0.1, 0.5]))
def test_only_the_screen_clears_and_only_within_the_bound(generator, threshold, bound):
    keys, screen_N, toxic_N = random_corpus(generator)
    asked_N = np.zeros(len(keys), dtype=bool)

    def ask(mask_N):
        asked_N[mask_N] = True
        return mask_N & toxic_N

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toxicity_cascade, "MINIMUM_DOCUMENTS", 100)
        outcome = cascade(keys, screen_N, threshold, bound, "key", ask)
    report, cleared_N = outcome.report, screen_N < threshold
    np.testing.assert_array_equal(outcome.scored_N, asked_N)  # scored means that the model was asked
    assert outcome.scored_N[~cleared_N].all()
    assert outcome.scored_N[np.isnan(screen_N)].all()
    assert report["screen_cleared"] == cleared_N.sum()
    if not report["applied"]:
        assert outcome.scored_N.all()
    else:
        assert len(keys) >= 100
        assert report["missed_per_cleared_upper"] <= bound
        assert (outcome.scored_N & cleared_N).sum() == report["sampled"] == sample_size(cleared_N.sum(), bound)
        assert report["missed"] == (toxic_N & outcome.scored_N & cleared_N).sum()
    if share := report["missed_share_of_toxic"]:
        assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1


@given(CORPUS, st.integers(0, 60))
def test_the_sample_depends_on_keys_and_on_nothing_else(generator, size):
    keys, screen_N, _ = random_corpus(generator)
    among_N = screen_N < 0.7
    drawn = draw(keys, among_N, size, "key")
    assert drawn.sum() == min(size, among_N.sum())
    assert not (drawn & ~among_N).any()
    order = generator.permutation(len(keys))
    np.testing.assert_array_equal(draw([keys[row] for row in order], among_N[order], size, "key"), drawn[order])
    others = draw(keys, among_N, size, "another key")
    assert size in (0, 1) or drawn.sum() == among_N.sum() or not np.array_equal(others, drawn) or size < 4


def test_too_many_misses_are_refused_nineteen_times_of_twenty(monkeypatch):
    """2 % of the cleared are toxic, exactly the bound: a sample that says otherwise must be rare."""
    monkeypatch.setattr(toxicity_cascade, "MINIMUM_DOCUMENTS", 100)
    count, bound = 1000, 0.02
    keys, screen_N = [f"record-{row}" for row in range(count)], np.zeros(count)
    toxic_N = np.arange(count) % 50 == 0
    outcomes = [cascade(keys, screen_N, 0.5, bound, f"key {n}", lambda mask: mask & toxic_N) for n in range(200)]
    assert np.mean([outcome.report["applied"] for outcome in outcomes]) <= 0.08
    shares = [outcome.report["missed_share_of_toxic"] for outcome in outcomes]
    assert all(share["low"] <= 1.0 <= share["high"] for share in shares)  # every toxic document was cleared
    few = cascade(keys[:99], screen_N[:99], 0.5, bound, "key", lambda mask: mask & toxic_N[:99])
    assert few.scored_N.all()
    assert "fewer than 100" in few.report["reason"]
