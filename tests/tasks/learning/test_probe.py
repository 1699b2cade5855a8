"""The probe reads labels out of features where they are, and nothing else decides its figures."""

import json
import os

import numpy as np
import pytest
import torch
from evaluation_run import TOPICS, make_corpus, make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from tasks.errors import UserError
from tasks.learning import classify, embed, probe
from tasks.learning.collapse import feature_std, rank_me
from tasks.learning.evaluate_config import LinearProbe
from tasks.learning.samples import keyed_order, read_labels

SMALL = LinearProbe(labels=3, train_documents=90, test_documents=30, maximum_tokens=24)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, corpus):
    return make_run(tmp_path_factory.mktemp("run"), corpus, [])


@pytest.fixture(scope="module")
def result(run, corpus):
    return probe.linear_probe(run, corpus, SMALL)


def test_labels_are_the_largest_of_the_train_split(corpus):
    labels = read_labels(corpus, "train")["label"].to_pylist()
    wanted = sorted({label for label in labels if label}, key=lambda label: (-labels.count(label), label))
    assert probe.probe_labels(corpus, 20) == wanted
    assert probe.probe_labels(corpus, 2) == wanted[:2]


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"])))
def test_ranks_are_by_count_then_name(labels):
    found = probe.ranked(labels)
    assert sorted(found) == sorted(set(labels) - {""})
    assert found == sorted(found, key=lambda label: (-labels.count(label), label))


def test_a_corpus_without_labels_cannot_be_probed(tmp_path):
    corpus = make_corpus(tmp_path, documents=30, topics={"": "no label here", "one": "a single one there"})
    with pytest.raises(UserError, match="at least two labels") as error:
        probe.draw(corpus, SMALL)
    assert "take linear-probe out" in error.value.hint


def test_the_draw_is_capped_keyed_and_of_two_splits(corpus):
    data = probe.draw(corpus, LinearProbe(labels=2, train_documents=21, test_documents=10))
    for table, split, cap in ((data.train, "train", 10), (data.test, "validation", 5)):
        known = read_labels(corpus, split).to_pylist()
        order = keyed_order([row["record_id"] for row in known], f"probe-{split}", 0)
        wanted = {
            row["record_id"]
            for label in data.labels
            for row in [known[i] for i in order if known[i]["label"] == label][:cap]
        }
        assert set(table["record_id"].to_pylist()) == wanted
        assert len(wanted) == 2 * cap
    assert not set(data.train["group"].to_pylist()) & set(data.test["group"].to_pylist())


def planted(seed, separation, documents=160, width=12):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, documents)
    features = random.normal(size=(documents, width))
    features[np.arange(documents), labels] += separation
    return features, [f"label{i}" for i in labels], [f"g{i // 3}" for i in range(documents)]


@pytest.mark.parametrize("sparse", [False, True])
def test_planted_labels_are_found_and_absent_ones_are_not(sparse):
    from scipy.sparse import csr_matrix

    def accuracy(separation):
        features, labels, groups = planted(1, separation)
        fresh, truth, _ = planted(2, separation)
        matrices = [csr_matrix(features), csr_matrix(fresh)] if sparse else [features, fresh]
        predicted, strength = classify.fit_predict(matrices[0], labels, groups, matrices[1], classify.PROBE_STRENGTHS)
        assert strength in classify.PROBE_STRENGTHS
        return np.mean(np.asarray(predicted) == truth)

    assert accuracy(8.0) > 0.97
    assert accuracy(0.0) < 0.45


def test_noise_is_answered_with_more_regularisation():
    def chosen(separation):
        features, labels, groups = planted(3, separation, width=60)
        return classify.fit_predict(
            *classify.standardise(features, features)[:1], labels, groups, features, classify.PROBE_STRENGTHS
        )[1]

    assert chosen(0.3) < chosen(9.0)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_the_held_out_tenth_is_whole_groups(numbers):
    groups = [f"g{number}" for number in numbers]
    held = classify._held_out(groups)
    assert held.sum() >= 0.1 * len(groups)
    assert not {g for g, out in zip(groups, held, strict=True) if out} & {
        g for g, out in zip(groups, held, strict=True) if not out
    }
    largest = max(groups.count(group) for group in groups)
    assert held.sum() < 0.1 * len(groups) + largest


def test_figures_of_a_run(result, corpus):
    figures = {metric.name: metric for metric in result.metrics}
    linear, fresh = figures["eval/linear_top1"], figures["eval/random_init_top1"]
    difference, majority = figures["eval/linear_minus_random_init_top1"], figures["eval/majority_top1"]
    assert difference.value == pytest.approx(linear.value - fresh.value, abs=1e-4)
    assert (linear.seeds, fresh.seeds, difference.seeds) == (1, 3, 3)
    assert linear.low <= linear.value <= linear.high
    # Each topic has words of its own: even mean random embeddings tell them apart, the majority does not.
    assert majority.high < linear.low
    assert majority.high < figures["eval/tfidf_top1"].low
    assert linear.n == len(result.labels_N) == len(result.features_NF) == result.details["test_documents"]
    assert set(result.labels_N) == set(TOPICS) - {""}
    commonest = probe.ranked(probe.draw(corpus, SMALL).train["label"].to_pylist())[0]
    assert majority.value == round(result.labels_N.count(commonest) / linear.n, 4)
    assert 1 <= figures["health/rank_me"].value <= 32


def test_the_same_figures_again_whatever_the_number_of_threads(result, run, corpus, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    before = torch.random.get_rng_state()
    again = probe.linear_probe(run, corpus, SMALL)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert again.metrics == result.metrics
    assert again.details == result.details
    assert again.features_NF.tobytes() == result.features_NF.tobytes()


def test_features_are_means_over_tokens_one_text_at_a_time(run):
    tokenizer, encoder = embed.open_tokenizer(run / "encoder"), embed.open_encoder(run / "encoder")
    texts = ["boil the soup", "hoist", "", "every finite group of prime order is cyclic " * 9]
    rows = embed.tokenize(tokenizer, texts, 24)
    assert max(map(len, rows)) == 24
    found = embed.embed(encoder, rows, tokenizer.pad_token_id)
    plain = AutoModel.from_pretrained(run / "encoder").eval()
    for text, vector in zip(texts, found, strict=True):
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=24)
        with torch.no_grad():
            output = plain(**encoded, output_hidden_states=True)
        wanted = [output.hidden_states[0][0].mean(0), output.last_hidden_state[0].mean(0)]
        np.testing.assert_allclose(vector, torch.stack(wanted).numpy(), atol=1e-5)


def test_a_random_encoder_is_the_runs_own_beginning(run):
    """The test run was never trained, so that an encoder begun with its seed equals it, and another does not."""
    trained = embed.open_encoder(run / "encoder").state_dict()
    same, other = (embed.random_encoder(run, seed).state_dict() for seed in (5, 6))
    assert list(same) == list(trained)
    assert all(torch.equal(same[name], trained[name]) for name in trained)
    assert not all(torch.equal(other[name], trained[name]) for name in trained)


def test_more_tokens_than_the_encoder_takes_are_not_asked_of_it(run):
    encoder, tokenizer = embed.open_encoder(run / "encoder"), embed.open_tokenizer(run / "encoder")
    assert embed.token_limit(encoder, tokenizer, 1000) == 64
    assert embed.token_limit(encoder, tokenizer, 10) == 10


def test_bfloat16_where_the_run_was_trained_in_it(run, tmp_path):
    tokenizer, encoder = embed.open_tokenizer(run / "encoder"), embed.open_encoder(run / "encoder")
    rows = embed.tokenize(tokenizer, ["stir the pot and taste", "steer the boat"], 24)
    plain, half = (embed.embed(encoder, rows, tokenizer.pad_token_id, bfloat16=flag) for flag in (False, True))
    assert plain.dtype == half.dtype == np.float32
    assert not np.array_equal(plain, half)
    np.testing.assert_allclose(plain, half, atol=0.05)
    assert not embed.trained_in_bfloat16(tmp_path)
    for precision in ("float32", "bfloat16"):
        (tmp_path / "run.json").write_text(json.dumps({"precision": precision}))
        assert embed.trained_in_bfloat16(tmp_path) == (precision == "bfloat16")


@given(st.integers(1, 60))
def test_layers_are_spread_from_the_first_to_the_last(states):
    chosen = embed.spread(states)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, states - 1, min(states, 5))
    gaps = {later - earlier for earlier, later in zip(chosen, chosen[1:], strict=False)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_no_run_no_probe(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        embed.read_spec(tmp_path)


@given(st.lists(st.integers(1, 70), max_size=40), st.sampled_from([16, 64, 256]))
def test_buckets_hold_everything_once_within_their_size(lengths, tokens):
    buckets = embed.length_buckets(lengths, tokens)
    assert sorted(i for bucket in buckets for i in bucket) == list(range(len(lengths)))
    for bucket in buckets:
        width = -(-max(lengths[i] for i in bucket) // 8) * 8
        assert len(bucket) == 1 or len(bucket) * width <= tokens
    order = [lengths[i] for bucket in buckets for i in bucket]
    assert order == sorted(order)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 8), st.integers(2, 8))
def test_rank_me_is_the_entropy_of_the_spectrum(seed, n, d):
    features = np.random.default_rng(seed).normal(size=(n, d)) + 100
    covariance = np.cov(features.T, bias=True).reshape(d, d) * n
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(covariance), 0, None))
    singular = singular[singular > 1e-6]
    p = singular / singular.sum()
    assert rank_me(features) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)


def test_each_kind_of_collapse_shows_in_one_of_two_measures():
    random = np.random.default_rng(0)
    healthy = random.normal(size=(400, 32))
    few = random.normal(size=(400, 2)) @ random.normal(size=(2, 32))
    point = np.ones((400, 32)) + random.normal(0, 1e-3, (400, 32))
    assert rank_me(healthy) > 28
    assert rank_me(healthy + 50) == pytest.approx(rank_me(healthy))
    assert feature_std(healthy) == pytest.approx(1, abs=0.05)
    assert rank_me(few) < 2.01
    assert feature_std(few) > 0.8
    assert rank_me(point) > 28
    assert feature_std(point) < 0.01
    assert rank_me(np.ones((5, 3))) == 1.0
