import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_models.keys import fold, sample_words, stream
from ssl_models.orders import BlockedOrder, GlobalOrder, fill_up, make_order
from ssl_models.shard_index import Index, Keys


def memory_index(shard_of):
    """An index over {key: shard number}, without files; a shard without samples is not there."""
    index = object.__new__(Index)
    keys = sorted(shard_of)
    present = sorted(set(shard_of.values()))
    index.keys, index.words = Keys(pa.array(keys, pa.large_string())), sample_words(keys)
    index.shard_names = [f"train-{number:06d}" for number in present]
    index.shard = np.array([present.index(shard_of[key]) for key in keys], np.int32)
    return index


def keyed(count, shards, seed):
    """Keys and their shards by the leading bits of SHA-256, as corpora have them."""
    keys = [hashlib.sha256(f"{seed}.{n}".encode()).hexdigest()[:32] for n in range(count)]
    return {key: hashlib.sha256(key.encode()).digest()[0] * shards // 256 for key in keys}


def one(*words):
    return int(fold(np.array([words[0]], np.uint64), *words[1:])[0])


def naive_global(shard_of, seed, epoch):
    return sorted(shard_of, key=lambda key: (one(sample_words([key])[0], stream("order", seed, epoch)), key))


def naive_blocked(shard_of, seed, epoch, group):
    """As docs/reading.md says it, a step at a time."""
    highest, count = max(shard_of.values()), 1
    while count <= highest:
        count *= 2
    names = [f"train-{number:06d}" for number in range(count)]
    names.sort(key=lambda name: (one(sample_words([name])[0], stream("shards", seed, epoch)), name))
    read = []
    while names:
        here, names = names[:group], names[group:]
        members = [key for key, shard in shard_of.items() if f"train-{shard:06d}" in here]
        read += sorted(members, key=lambda k: (one(sample_words([k])[0], stream("blocked", seed, epoch)), k))
    return read


def sequence(order, epochs):
    samples, numbers = order.at(0, epochs * len(order.index))
    assert numbers.tolist() == [epoch for epoch in range(epochs) for _ in range(len(order.index))]
    return [order.index.keys[sample] for sample in samples]


corpora = st.builds(keyed, st.integers(1, 60), st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 99))


@settings(max_examples=60)
@given(shard_of=corpora, seed=st.integers(0, 2**63), group=st.integers(1, 5))
def test_both_orders_are_what_they_say(shard_of, seed, group):
    index = memory_index(shard_of)
    expected = [key for epoch in range(3) for key in naive_global(shard_of, seed, epoch)]
    assert sequence(GlobalOrder(index, seed), 3) == expected
    expected = [key for epoch in range(3) for key in naive_blocked(shard_of, seed, epoch, group)]
    assert sequence(BlockedOrder(index, seed, group), 3) == expected


@settings(max_examples=60)
@given(shard_of=corpora, data=st.data(), order=st.sampled_from(["global", "blocked"]))
def test_any_stretch_of_positions_is_that_part_of_the_sequence(shard_of, data, order):
    index = memory_index(shard_of)
    whole, parts = (make_order(index, 5, order, 3) for _ in range(2))
    positions = 4 * len(shard_of)
    samples, epochs = whole.at(0, positions)
    for _ in range(5):
        begin = data.draw(st.integers(0, positions))
        end = data.draw(st.integers(begin, positions))
        got = parts.at(begin, end)
        assert got[0].tolist() == samples[begin:end].tolist()
        assert got[1].tolist() == epochs[begin:end].tolist()


@settings(max_examples=80)
@given(shard_of=corpora, data=st.data(), order=st.sampled_from(["global", "blocked"]))
def test_without_some_samples_and_shards_each_epoch_is_the_same_without_them(shard_of, data, order):
    keys = sorted(shard_of)
    gone = data.draw(st.sets(st.sampled_from(keys)))
    lost_shard = data.draw(st.sampled_from([None, *sorted(set(shard_of.values()))]))
    top = max(shard_of.values())
    left = {key: shard for key, shard in shard_of.items() if key not in gone and shard != lost_shard}
    left |= {key: shard for key, shard in shard_of.items() if shard == top}  # the upper half is not all gone
    before, after = (make_order(memory_index(one), 7, order, 2) for one in (shard_of, left))
    expected = [key for key in sequence(before, 3) if key in left]
    assert sequence(after, 3) == expected


@settings(max_examples=40)
@given(shard_of=corpora, group=st.integers(1, 4))
def test_a_group_holds_its_shards_alone_and_says_which_come(shard_of, group):
    index = memory_index(shard_of)
    order = BlockedOrder(index, 3, group)
    position, size = 0, len(shard_of)
    while position < 2 * size:
        shards, until = order.shards_near(position)
        samples, _ = order.at(position, until)
        found = dict.fromkeys(index.shard[samples].tolist())
        assert len(found) <= group
        assert set(found) <= set(shards[:group])
        following = set(index.shard[order.at(until, order.shards_near(until)[1])[0]].tolist())
        assert following <= set(shards)
        assert (until - 1) // size == position // size
        position = until


def test_equal_hashes_fall_in_the_order_of_keys():
    index = memory_index(dict.fromkeys(["a" * 8, "b" * 8, "c" * 8], 0))
    index.words = np.array([5, 9, 5], np.uint64)
    for order in (GlobalOrder(index, 0), BlockedOrder(index, 0, 1)):
        for epoch in range(4):
            got = order.within(epoch, 0, 3).tolist()
            assert got.index(0) < got.index(2)


def test_names_are_filled_up_only_where_they_are_numbers_of_one_split():
    assert fill_up(["train-000000"]) == ["train-000000"]
    assert fill_up(["train-000004", "train-000001"]) == [f"train-{n:06d}" for n in range(8)]
    assert fill_up(["b", "a"]) == ["a", "b"]
    assert fill_up(["a-000001", "b-000002"]) == ["a-000001", "b-000002"]


def test_what_cannot_be_an_order_is_said():
    index = memory_index({"a": 0})
    with pytest.raises(ValueError, match="global or blocked"):
        make_order(index, 0, "random", 1)
    with pytest.raises(ValueError, match="at least one shard"):
        make_order(index, 0, "blocked", 0)
    with pytest.raises(ValueError, match="no less than 0"):
        make_order(index, 0, "global", 1).at(-1, 2)
