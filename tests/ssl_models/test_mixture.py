import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_corpora import keyed_texts, write_corpus

from ssl_models.batches import Batches
from ssl_models.mixture import CIRCLE, STEP, Mixture, floor_sum
from ssl_models.reader import Index, Reader

SIZES = {"a": 7, "b": 30, "c": 11}


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    texts = {name: keyed_texts(size, seed=ord(name)) for name, size in SIZES.items()}
    folder = tmp_path_factory.mktemp("mixture")
    return {name: Index(write_corpus(folder / name, some, shards=2), "train") for name, some in texts.items()}


def mixture(indexes, weights, seed=0, position=0):
    readers = {name: Reader(indexes[name], seed=3, order="blocked", group_shards=1) for name in weights}
    return Mixture(readers, weights, seed, position)


@given(st.integers(0, 60), st.integers(1, 50), st.integers(0, 200), st.integers(0, 200))
def test_sums_of_floors(count, modulus, factor, offset):
    assert floor_sum(count, modulus, factor, offset) == sum((factor * i + offset) // modulus for i in range(count))


weights = st.fixed_dictionaries(dict.fromkeys(SIZES, st.floats(1e-3, 1e3)))


@given(weights=weights, seed=st.integers(0, 2**63 - 1), begin=st.integers(0, 10**12))
def test_the_source_of_a_position_and_its_count_are_those_of_the_circle(weights, seed, begin):
    mix = Mixture(dict.fromkeys(SIZES, None), weights, seed)
    total = sum(weights.values())
    bounds = [sum(weights[name] for name in mix.names[: n + 1]) / total for n in range(3)]
    counts = [mix.count(source, begin) for source in range(3)]
    assert sum(counts) == begin
    for source in range(3):  # a Kronecker sequence with this step is never far from its share
        assert abs(counts[source] - begin * mix.shares[source]) < 60
    which, own = mix._places(begin, begin + 50)
    for position in range(begin, begin + 50):
        point = ((position * STEP + mix._start) % CIRCLE) / CIRCLE
        source = int(which[position - begin])
        low = bounds[source - 1] if source else 0
        assert low - 1e-9 <= point <= bounds[source] + 1e-9
        assert mix.source_at(position) == (source, own[position - begin]) == (source, counts[source])
        counts[source] += 1


def test_each_source_is_its_own_stream_and_the_shares_hold(indexes):
    mix = mixture(indexes, {"a": 1, "b": 5, "c": 2})
    got = mix.take(0, 800)
    own = {name: [] for name in SIZES}
    for key in got.keys:
        own[next(name for name in SIZES if key in set(indexes[name].keys))].append(key)
    for name, expected in {"a": 100, "b": 500, "c": 200}.items():
        assert abs(len(own[name]) - expected) <= 3
    for name, keys in own.items():
        assert keys == Reader(indexes[name], 3, order="blocked", group_shards=1).take(0, len(keys)).keys
        full = keys[: len(keys) // SIZES[name] * SIZES[name]]
        assert set(Counter(full).values()) == {len(full) // SIZES[name]}


def test_it_goes_on_from_any_position_one_by_one_or_together(indexes):
    shares = {"a": 0.3, "b": 0.6, "c": 0.1}
    whole = mixture(indexes, shares).take(0, 200)
    late = mixture(indexes, shares, position=150)
    documents = [next(late) for _ in range(50)]
    assert [d.key for d in documents] == whole.keys[150:]
    assert [d.epoch for d in documents] == whole.epochs[150:].tolist()
    assert [d.text.encode() for d in documents] == whole.payloads[150:]
    assert [d.position for d in documents] == list(range(150, 200))
    assert mixture(indexes, shares, seed=1).take(0, 200).keys != whole.keys
    assert mixture(indexes, dict(reversed(shares.items()))).take(0, 200).keys == whole.keys
    parts = [Batches(mixture(indexes, shares), 40, rank=rank, ranks=4).part(2).keys for rank in range(4)]
    assert sum(parts, []) == whole.keys[80:120]


def test_repeats_are_logged_once_with_their_place(indexes, caplog):
    with caplog.at_level(logging.WARNING):
        mix = mixture(indexes, {"a": 1, "b": 1})
        got = mix.take(0, 50)
        mix.take(0, 50)
    again = [n for n, key in enumerate(got.keys) if key in set(indexes["a"].keys)][7::7]
    assert mix.repeats == [("a", n + 1, position) for n, position in enumerate(again)]
    assert len(caplog.records) == len(again) == 3
    one_by_one = mixture(indexes, {"a": 1, "b": 1})
    for _ in range(50):
        next(one_by_one)
    assert one_by_one.repeats == mix.repeats
    resumed = mixture(indexes, {"a": 1, "b": 1}, position=again[1])
    for _ in range(50 - again[1]):
        next(resumed)
    assert resumed.repeats == mix.repeats[1:]
    assert len(mix) == 60


@pytest.mark.parametrize("weights", [{}, {"a": 1}, {"a": 1, "b": 0}, {"a": 1, "b": float("inf")}, {"a": 1, "x": 1}])
def test_weights_that_make_no_mixture(indexes, weights):
    with pytest.raises(ValueError, match="weight"):
        Mixture({name: Reader(indexes[name], 0) for name in "ab"}, weights, 0)
