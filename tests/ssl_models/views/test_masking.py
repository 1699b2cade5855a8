import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_models.config import MaskedLanguageModelling
from ssl_models.keys import sample_words
from ssl_models.views.masking import Vocabulary, mask_batch, mask_document, segment_keys

SPECIAL = np.zeros(50, bool)
SPECIAL[[0, 1, 2, 3, 4, 49]] = True
VOCABULARY = Vocabulary(mask_id=4, special_V=SPECIAL)
RULE = MaskedLanguageModelling()

documents = st.lists(
    st.tuples(st.text("abcdef0123", min_size=1, max_size=6), st.lists(st.integers(0, 49), min_size=1, max_size=40)),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)
@given(documents, st.integers(0, 5), st.integers(0, 3), st.floats(0.01, 0.99))
def test_packed_masks_are_each_segments_own(documents, seed, epoch, probability):
    """A segment's mask does not depend on the row, the neighbours or the padding around it."""
    rule = MaskedLanguageModelling(mask_probability=probability)
    keys = segment_keys(
        sample_words([key for key, _ in documents]), np.full(len(documents), epoch), np.arange(len(documents)), seed
    )
    width = sum(len(ids) for _, ids in documents) + 3
    ids, segment = np.zeros((2, width), np.int64), np.full((2, width), -1)
    at = [0, 0]
    for number, (_, tokens) in enumerate(documents):
        row = number % 2
        ids[row, at[row] : at[row] + len(tokens)] = tokens
        segment[row, at[row] : at[row] + len(tokens)] = number
        at[row] += len(tokens)
    corrupted, selected = mask_batch(ids, segment, keys, VOCABULARY, rule)
    for number, (key, tokens) in enumerate(documents):
        alone, chosen = mask_document(np.array(tokens), key, VOCABULARY, rule, seed=seed, epoch=epoch, chunk=number)
        assert np.array_equal(corrupted[segment == number], alone)
        assert np.array_equal(selected[segment == number], chosen)
    assert not selected[segment == -1].any()
    assert np.array_equal(corrupted[~selected], ids[~selected])


@settings(deadline=None)
@given(st.lists(st.integers(0, 49), min_size=1, max_size=300), st.text("ab", max_size=9), st.floats(0.01, 0.99))
def test_exactly_so_many_and_never_a_special_token(tokens, key, probability):
    ids = np.array(tokens)
    rule = MaskedLanguageModelling(mask_probability=probability)
    corrupted, selected = mask_document(ids, key, VOCABULARY, rule, seed=0)
    ordinary = ~SPECIAL[ids]
    assert selected.sum() == (max(1, round(probability * int(ordinary.sum()))) if ordinary.any() else 0)
    assert not (selected & ~ordinary).any()
    assert not SPECIAL[corrupted[selected & (corrupted != VOCABULARY.mask_id)]].any()


def test_masks_depend_on_seed_epoch_sample_and_chunk_and_on_nothing_else():
    ids = np.arange(5, 45)
    masks = [
        mask_document(ids, key, VOCABULARY, RULE, seed=seed, epoch=epoch, chunk=chunk)[1].tobytes()
        for key in ("a", "b")
        for seed in (0, 1)
        for epoch in (0, 1)
        for chunk in (0, 1)
    ]
    assert len(set(masks)) == 16
    again = mask_document(ids, "a", VOCABULARY, RULE, seed=0, epoch=0, chunk=0)[1].tobytes()
    assert again == masks[0]
    other_words = mask_document(ids[::-1], "a", VOCABULARY, RULE, seed=0)[1].tobytes()
    assert other_words == masks[0]


def within_three_sigma(count: int, total: int, share: float) -> bool:
    return abs(count - total * share) <= 3 * math.sqrt(total * share * (1 - share))


@pytest.mark.parametrize(
    "rule", [RULE, MaskedLanguageModelling(mask_probability=0.3, mask_share=0.6, random_share=0.2)]
)
def test_shares_on_a_million_tokens(rule):
    rows, length = 5000, 200
    ids = np.tile(np.arange(length) % 44 + 5, (rows, 1))
    segment = np.repeat(np.arange(rows)[:, None], length, 1)
    words = sample_words([str(n) for n in range(rows)])
    keys = segment_keys(words, np.zeros(rows), np.zeros(rows), 3)
    corrupted, selected = mask_batch(ids, segment, keys, VOCABULARY, rule)
    total = int(selected.sum())
    assert total == rows * round(length * rule.mask_probability)
    # Every place of a segment is as likely as any other.
    assert all(within_three_and_a_half(n, rows, rule.mask_probability) for n in selected.sum(0))
    masked = int((corrupted[selected] == VOCABULARY.mask_id).sum())
    assert within_three_sigma(masked, total, rule.mask_share)
    changed = selected & (corrupted != VOCABULARY.mask_id) & (corrupted != ids)
    # A random word is the word itself once in 44.
    assert within_three_sigma(int(changed.sum()), total, rule.random_share * 43 / 44)
    drawn = np.bincount(corrupted[changed], minlength=50)[~SPECIAL]
    assert (drawn > 0).all()
    expected = drawn.mean()
    assert ((drawn - expected) ** 2 / expected).sum() < 90  # chi-squared, 43 degrees: p = 4e-5


def within_three_and_a_half(count: int, total: int, share: float) -> bool:
    return abs(count - total * share) <= 4.5 * math.sqrt(total * share * (1 - share))  # the worst of 200 places


def test_all_mask_and_none_random():
    rule = MaskedLanguageModelling(mask_probability=0.5, mask_share=1.0, random_share=0.0)
    corrupted, selected = mask_document(np.arange(5, 45), "a", VOCABULARY, rule, seed=0)
    assert (corrupted[selected] == 4).all()
    assert selected.sum() == 20


def test_whole_words_are_masked_whole_and_as_many_tokens():
    """Words of one to four pieces: all of a word or none of it, 15 % within 3 sigma, at least one word a segment."""
    continues = np.zeros(60, bool)
    continues[30:] = True
    vocabulary = Vocabulary(4, np.arange(60) < 5, continues)
    random = np.random.default_rng(0)
    rows, segments, share = [], [], []
    for number in range(400):
        words = [[random.integers(5, 30), *random.integers(30, 60, random.integers(0, 4))] for _ in range(40)]
        rows.append(np.concatenate([[2], *words, [3]]).astype(np.int64))
        segments.append(np.full(len(rows[-1]), number))
    flat, segment = np.concatenate(rows)[None], np.concatenate(segments)[None]
    keys = segment_keys(np.arange(400).astype(np.uint64), np.zeros(400), np.zeros(400), 7)
    _, selected = mask_batch(flat, segment, keys, vocabulary, MaskedLanguageModelling(whole_word=True))
    begins = ~continues[flat[0]] & (flat[0] >= 5)
    word = np.cumsum(begins | (flat[0] < 5))
    for number in np.unique(word):
        part = selected[0][word == number]
        assert part.all() or not part.any()
    per_segment = np.bincount(segment[0], selected[0])
    assert per_segment.min() >= 1
    ordinary = np.bincount(segment[0], flat[0] >= 5)
    share = per_segment / ordinary
    assert abs(share.mean() - 0.15) < 3 * share.std() / np.sqrt(len(share))
    with pytest.raises(ValueError, match="continue a word"):
        mask_batch(flat, segment, keys, Vocabulary(4, np.arange(60) < 5), MaskedLanguageModelling(whole_word=True))
