"""Hashed shingles against the sets of strings that they stand for."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation import shingles
from tasks.curation.shingles import contains, frequent, hash_words, normalise, shingle, words

TEXT = st.text(max_size=40) | st.lists(
    st.sampled_from(["a", "B", "b c", "é", "e\u0301", "İ", "_", ", ", "-", "1", "一", " ", "\n", "word"]), max_size=40
).map("".join)
TEXTS = st.lists(TEXT, max_size=8)


def naive_grams(text: str) -> list[tuple[str, ...]]:
    tokens = words(text)
    return [tuple(tokens[at : at + 5]) for at in range(len(tokens) - 4)]


@given(TEXTS, st.integers(0, 3))
def test_normalised_texts_are_their_words(texts, skipped):
    array = pa.array([*["skipped é"] * skipped, *texts], pa.large_string()).slice(skipped)
    assert normalise(array).texts.to_pylist() == [" ".join(words(text)) for text in texts]


@settings(max_examples=60)
@given(TEXTS, st.sampled_from([4, 1 << 20]))
def test_equal_words_and_no_others_have_equal_hashes(texts, piece):
    before = shingles._PIECE
    shingles._PIECE = piece  # a word longer than the piece is hashed alone
    try:
        hashes, firsts, _, _ = hash_words(normalise(pa.array(texts, pa.large_string())))
    finally:
        shingles._PIECE = before
    tokens = [words(text) for text in texts]
    assert np.diff(firsts).tolist() == [len(each) for each in tokens]
    flat = [word for each in tokens for word in each]
    assert len(set(hashes.tolist())) == len(set(flat)) == len(set(zip(hashes.tolist(), flat, strict=True)))


@given(TEXTS)
def test_equal_shingles_and_no_others_have_equal_hashes(texts):
    found = shingle(normalise(pa.array(texts, pa.large_string())))
    grams = [naive_grams(text) for text in texts]
    assert np.diff(found.firsts).tolist() == [len(each) for each in grams]
    flat = [gram for each in grams for gram in each]
    assert len(set(found.hashes.tolist())) == len(set(flat)) == len(set(zip(found.hashes.tolist(), flat, strict=True)))
    distinct, firsts = found.distinct()
    for at, each in enumerate(grams):
        part = distinct[firsts[at] : firsts[at + 1]].tolist()
        assert part == sorted(set(part))
        assert len(part) == len(set(each))


@given(TEXTS, st.randoms(use_true_random=False))
def test_the_stretches_between_boilerplate_have_the_other_shingles(texts, chance):
    found = shingle(normalise(pa.array(texts, pa.large_string())))
    marked = np.array([chance.random() < 0.3 for _ in found.hashes], bool)
    owners, runs = found.runs_without(marked)
    for at, text in enumerate(texts):
        here = slice(found.firsts[at], found.firsts[at + 1])
        own = [gram for gram, out in zip(naive_grams(text), marked[here].tolist(), strict=True) if not out]
        stretches = [run.decode() for owner, run in zip(owners.tolist(), runs, strict=True) if owner == at]
        if marked[here].any() and not marked[here].all():
            assert [gram for run in stretches for gram in naive_grams(run)] == own
        else:
            assert stretches == []


def test_what_is_frequent():
    sets = [np.array([1, 2, 100 + at], np.uint64) for at in range(200)]
    assert frequent(sets).tolist() == [1, 2]
    sets = [
        np.array(sorted({100 + at, *([7] if at < 20 else []), *([8] if at < 19 else [])}), np.uint64)
        for at in range(200)
    ]
    assert frequent(sets).tolist() == [7]
    sets += [np.array([1], np.uint64)] * 300  # 20 of 500 are less than 5 %
    assert frequent(sets).tolist() == [1]
    assert frequent([np.array([5], np.uint64)] * 19).tolist() == frequent([]).tolist() == []


@given(st.lists(st.integers(0, 50), max_size=20), st.lists(st.integers(0, 50), max_size=20))
def test_contains(some, values):
    found = contains(np.unique(np.array(some, np.uint64)), np.array(values, np.uint64))
    assert found.tolist() == [value in some for value in values]
