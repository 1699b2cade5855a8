"""The n-gram baselines against loops over dictionaries that state the formulas."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.learning import baselines
from tasks.learning.baselines import HIDDEN

VOCABULARY, SPECIALS = 9, (0, 1)
TEXTS = st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=12), min_size=1, max_size=8)


def arrays(texts):
    return [np.asarray(text, np.int64) for text in texts]


def markov(seed, documents=300, length=40, vocabulary=12):
    """Texts of a chain whose next token is mostly a fixed function of the last."""
    random = np.random.default_rng(seed)
    texts = []
    for _ in range(documents):
        text = [0]
        for _ in range(length):
            text.append(
                int(text[-1] * 5 % (vocabulary - 1) + 1 if random.random() < 0.7 else random.integers(1, vocabulary))
            )
        texts.append(text)
    return arrays(texts)


def naive_counts(texts):
    pairs = Counter()
    for text in texts:
        for left, token in zip(text, text[1:], strict=False):
            if token not in SPECIALS:
                pairs[left, token] += 1
    return pairs


@given(TEXTS)
def test_counts_are_those_of_a_loop(texts):
    counts = baselines.count(arrays(texts), VOCABULARY, SPECIALS)
    found = dict(zip(zip(counts.left.tolist(), counts.token.tolist(), strict=True), counts.pairs.tolist(), strict=True))
    assert found == naive_counts(texts)
    grid = np.asarray([(left, token) for left in range(-1, VOCABULARY) for token in range(VOCABULARY)])
    assert counts.of(grid[:, 0], grid[:, 1]).tolist() == [found.get((left, token), 0) for left, token in grid.tolist()]


@given(TEXTS, TEXTS)
def test_counts_of_a_part_can_be_taken_away(first, second):
    whole, part = baselines.count(arrays(first + second), VOCABULARY), baselines.count(arrays(second), VOCABULARY)
    rest = baselines.count(arrays(first), VOCABULARY)
    assert whole.minus(part).keys.tolist() == rest.keys.tolist()
    assert whole.minus(part).pairs.tolist() == rest.pairs.tolist()


@settings(max_examples=60)
@given(TEXTS)
def test_probabilities_are_the_formulas(texts):
    model = baselines.fit(arrays(texts), VOCABULARY, SPECIALS)
    pairs = naive_counts(texts)
    by_token, by_left, followers = Counter(), Counter(), defaultdict(set)
    for (left, token), times in pairs.items():
        by_token[token] += times
        by_left[left] += times
        followers[left].add(token)
    ordinary = [token for token in range(VOCABULARY) if token not in SPECIALS]
    alpha, total = model.unigram.alpha, sum(pairs.values())
    for left in [HIDDEN, *range(VOCABULARY)]:
        p = np.exp(-model.nats(np.full(len(ordinary), left), np.asarray(ordinary)))
        assert p.sum() == pytest.approx(1)
        for token, found in zip(ordinary, p.tolist(), strict=True):
            unigram = (by_token[token] + alpha) / (total + alpha * len(ordinary))
            if left == HIDDEN or not by_left[left]:
                assert found == pytest.approx(unigram)
                continue
            mean = by_left[left] / len(followers[left])
            weight = model.weights[min(int(2 * math.log2(mean)), 31)]
            assert 0 <= weight < 1
            assert found == pytest.approx(weight * pairs[left, token] / by_left[left] + (1 - weight) * unigram)


@settings(max_examples=60)
@given(TEXTS)
def test_kneser_ney_is_the_formula(texts):
    bigram = baselines.fit(arrays(texts), VOCABULARY, SPECIALS)
    model = baselines.kneser_ney(bigram)
    pairs = naive_counts(texts)
    ordinary = np.asarray([token for token in range(VOCABULARY) if token not in SPECIALS])
    alpha, types = bigram.unigram.alpha, len(pairs)
    for left in range(VOCABULARY):
        found = np.exp(-model.nats(np.full(len(ordinary), left), ordinary))
        assert found.sum() == pytest.approx(1)
        seen = {token: times for (other, token), times in pairs.items() if other == left}
        for token, p in zip(ordinary.tolist(), found.tolist(), strict=True):
            if not seen:
                assert p == pytest.approx(math.exp(-float(bigram.unigram.nats(np.asarray([token]))[0])))
                continue
            continuation = sum(1 for _, other in pairs if other == token)
            lower = (continuation + alpha) / (types + alpha * len(ordinary))
            direct = max(seen.get(token, 0) - model.discount, 0)
            assert p == pytest.approx((direct + model.discount * len(seen) * lower) / sum(seen.values()))


def test_weights_maximise_the_likelihood_of_the_held_out_tenth():
    documents = markov(1)
    model = baselines.fit(documents, 12, (0,))
    held = baselines.count(documents[::10], 12, (0,))
    rest = baselines.count([d for i, d in enumerate(documents) if i % 10], 12, (0,))
    unigram = baselines.unigram_at(rest, model.unigram.alpha)

    def loss(weights):
        bucket, seen = baselines._buckets(rest)
        p = baselines._mix(rest, unigram, np.where(seen, weights[bucket], 0.0), held.left, held.token)
        return float(-held.pairs @ np.log(p))

    best = loss(model.weights)
    for bucket in range(len(model.weights)):
        for step in (-0.02, 0.02):
            other = model.weights.copy()
            other[bucket] = np.clip(other[bucket] + step, 0, 0.999)
            assert loss(other) >= best - 1e-6


def test_a_chain_is_learned_and_held_out_text_confirms_it():
    model, test = baselines.fit(markov(2), 12, (0,)), markov(3)
    masks = [np.arange(len(document)) % 7 == 3 for document in test]
    left, token = baselines.masked_pairs(test, masks)
    truth = 0.7 + 0.3 / 11
    entropy = -truth * math.log(truth) - 10 * (0.3 / 11) * math.log(0.3 / 11)
    assert model.nats(left, token).mean() == pytest.approx(entropy, abs=0.1)
    assert baselines.kneser_ney(model).nats(left, token).mean() == pytest.approx(entropy, abs=0.1)
    assert model.unigram.nats(token).mean() > entropy + 0.8
    assert model.cross_entropy(test, masks).tolist() == model.nats(left, token).tolist()


def test_a_masked_left_neighbour_gives_the_unigram():
    model = baselines.fit(markov(4), 12, (0,))
    document = np.asarray([0, 3, 5, 7, 2])
    nats = model.cross_entropy([document], [np.asarray([False, True, True, False, True])])
    seen = model.nats(np.asarray([0, 7]), np.asarray([3, 2]))
    assert nats.tolist() == [seen[0], model.unigram.nats(np.asarray([5]))[0], seen[1]]
    first = model.cross_entropy([document], [np.asarray([True, False, False, False, False])])
    assert np.isinf(first).all()  # a special token has no probability: nobody may ask for one


@given(TEXTS, st.lists(st.lists(st.integers(2, VOCABULARY - 1), min_size=2, max_size=6), min_size=1, max_size=4))
def test_every_ordinary_token_costs_finite_nats(training, test):
    model = baselines.fit(arrays(training), VOCABULARY, SPECIALS)
    masks = [np.ones(len(text), bool) for text in test]
    assert np.isfinite(model.cross_entropy(arrays(test), masks)).all()
    left, token = np.asarray([text[0] for text in test]), np.asarray([text[1] for text in test])
    assert np.isfinite(model.nats(left, token)).all()
    assert np.isfinite(baselines.kneser_ney(model).nats(left, token)).all()


def test_interpolation_beats_each_part_on_held_out_text():
    documents = markov(5, documents=60, vocabulary=90)  # most pairs of the chain's noise are seen once or never
    model, test = baselines.fit(documents[:40], 90, (0,)), documents[40:]
    left, token = baselines.masked_pairs(test, [np.arange(len(d)) % 5 == 2 for d in test])
    greedy_V = np.where(model.weight_V > 0, 0.999, 0.0)
    greedy = -np.log(baselines._mix(model.counts, model.unigram, greedy_V, left, token))
    assert model.nats(left, token).mean() < model.unigram.nats(token).mean() - 0.5
    assert model.nats(left, token).mean() < greedy.mean() - 0.1


@pytest.mark.parametrize("ids", [[-1, 2], [0, VOCABULARY]])
def test_ids_outside_the_vocabulary_are_an_error(ids):
    with pytest.raises(ValueError, match="must lie in 0..8"):
        baselines.count(arrays([ids]), VOCABULARY)
    with pytest.raises(ValueError, match="special"):
        baselines.fit(arrays([[0, 1]]), 2, (0, 1))
