import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ssl_models.keys import fold, mix, sample_words, stream

WORD = (1 << 64) - 1
words = st.integers(0, WORD)


def naive_mix(x: int) -> int:
    """SplitMix64 in Python's integers."""
    x = (x + 0x9E3779B97F4A7C15) & WORD
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def test_the_published_first_outputs():
    # SplitMix64 seeded with 0: outputs 1 and 2 of its author's reference program.
    assert [int(v) for v in mix(np.array([0, 0x9E3779B97F4A7C15], np.uint64))] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
    ]


@given(st.lists(words, min_size=1, max_size=8))
def test_the_array_mixer_is_the_scalar_one(values):
    assert [int(v) for v in mix(np.array(values, np.uint64))] == [naive_mix(v) for v in values]


@given(words, st.integers(0, 63))
def test_one_flipped_bit_flips_about_half(value, bit):
    changed = naive_mix(value) ^ naive_mix(value ^ (1 << bit))
    assert 8 <= changed.bit_count() <= 56


@given(st.lists(words, min_size=1, max_size=5), st.integers(0, WORD), st.integers(0, WORD))
def test_folding_tells_words_and_their_order_apart(values, a, b):
    array = np.array(values, np.uint64)
    assert np.array_equal(fold(array, a), fold(array, np.full(len(array), a, np.uint64)))
    if a != b:
        assert not np.array_equal(fold(array, a, b), fold(array, b, a))
        assert not np.array_equal(fold(array, a), fold(array, b))


def test_streams_and_samples_have_keys_of_their_own():
    seeds = [stream(name, n) for name in ("mask", "order") for n in range(50)] + [
        stream("mask", 1, 2),
        stream("mask", 120),
    ]
    assert len(set(seeds)) == 102
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert sample_words([]).shape == (0,)
    assert len(set(sample_words([f"{n:032x}" for n in range(1000)]).tolist())) == 1000
