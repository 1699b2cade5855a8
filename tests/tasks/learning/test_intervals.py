"""Intervals hold the truth as often as they say, and know that documents of one file are alike."""

import numpy as np
import pytest

from tasks.learning.intervals import measure


def clustered(random, groups=60, size=5, spread=1.0):
    centres = random.normal(2.0, spread, groups)
    values = (centres[:, None] + random.normal(0, 0.3, (groups, size))).reshape(-1, 1)
    return values, [str(group) for group in range(groups) for _ in range(size)]


def test_the_truth_lies_inside_as_often_as_promised():
    random, hits = np.random.default_rng(1), 0
    for _ in range(200):
        (metric,) = measure(["x"], *clustered(random), rounds=300)
        hits += metric.low <= 2.0 <= metric.high
    assert 176 <= hits <= 199  # 95 % of 200, less what 60 groups cost


def test_ignoring_the_groups_would_promise_too_much():
    values, groups = clustered(np.random.default_rng(2))
    (honest,) = measure(["x"], values, groups)
    (naive,) = measure(["x"], values, [str(i) for i in range(len(values))])
    assert honest.value == naive.value == round(float(values.mean()), 4)
    assert honest.high - honest.low > 1.8 * (naive.high - naive.low)


def test_columns_are_resampled_together():
    random = np.random.default_rng(3)
    hard = random.normal(0, 5, 400)
    values = np.stack([hard + 0.5, hard, hard + 0.5 - hard], axis=1)
    first, second, difference = measure(["a", "b", "d"], values, [str(i) for i in range(400)], [1, 3, 2])
    assert first.low < second.high  # each alone says nothing
    assert difference.low == difference.high == difference.value == 0.5
    assert [metric.seeds for metric in (first, second, difference)] == [1, 3, 2]
    assert first.n == 400


def test_groups_of_any_name_and_order_give_one_result():
    values, groups = clustered(np.random.default_rng(4))
    turned = np.random.default_rng(5).permutation(len(values))
    assert measure(["x"], values, groups) == measure(["x"], values[turned], [groups[i] for i in turned])


def test_one_group_gives_no_interval_and_nothing_is_an_error():
    (metric,) = measure(["x"], np.asarray([[1.0], [2.0]]), ["a", "a"])
    assert (metric.value, metric.low, metric.high, metric.n) == (1.5, None, None, 2)
    assert metric.public() == {"name": "x", "value": 1.5, "low": None, "high": None, "n": 2, "seeds": 1}
    with pytest.raises(ValueError, match="nothing"):
        measure(["x"], np.empty((0, 1)), [])
