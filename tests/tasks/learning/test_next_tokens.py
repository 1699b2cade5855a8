"""Next-token cross-entropy: the model one row at a time, n-gram models, bits per byte, and samples."""

import math

import numpy as np
import pytest
import torch
from evaluation_run import make_corpus, make_run
from transformers import AutoModelForCausalLM

from tasks.learning import baselines
from tasks.learning.evaluate import evaluate
from tasks.learning.evaluate_config import NextTokens
from tasks.learning.masked_tokens import Cutter
from tasks.learning.next_tokens import draw, generate, next_tokens
from tasks.learning.samples import read_samples

CONFIG = NextTokens(documents=30, positions=300, prompts=("", "boil the"), sample_tokens=6)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def given_ids(corpus):
    return read_samples(corpus, "train")["record_id"].to_pylist()[::2]


@pytest.fixture(scope="module")
def run(tmp_path_factory, corpus, given_ids):
    return make_run(tmp_path_factory.mktemp("run"), corpus, given_ids, causal=True)


def test_figures_are_those_of_one_row_at_a_time(corpus, run, given_ids):
    result = next_tokens(run, corpus, CONFIG)
    figures = {metric.name: metric.value for metric in result.metrics}
    cutter = Cutter(run / "encoder", 24, "clm")
    special = cutter.vocabulary.special_V
    model = AutoModelForCausalLM.from_pretrained(run / "encoder").eval()
    documents = [
        np.concatenate(rows) for rows in cutter(read_samples(corpus, "train", set(given_ids))["text"].to_pylist())
    ]
    bigram = baselines.fit(documents, len(special), np.flatnonzero(special))
    rows, owners, drawn = draw(corpus, cutter, CONFIG)
    nats, ngram, size = [], [], 0
    for ids in rows:
        with torch.no_grad():
            log_p = model(torch.as_tensor(ids)[None]).logits[0].double().log_softmax(-1)
        for t in range(len(ids) - 2):  # the last is [SEP]
            nats.append(-float(log_p[t, ids[t + 1]]))
            ngram.append(float(bigram.nats(ids[t : t + 1], ids[t + 1 : t + 2])[0]))
        size += len(cutter.tokenizer.decode(ids.tolist(), skip_special_tokens=True).encode())
    assert figures["eval/cross_entropy"] == pytest.approx(np.mean(nats), abs=1e-4)
    assert figures["eval/bigram_cross_entropy"] == pytest.approx(np.mean(ngram), abs=1e-4)
    assert figures["eval/bigram_minus_cross_entropy"] == pytest.approx(np.mean(ngram) - np.mean(nats), abs=2e-4)
    assert figures["eval/bits_per_byte"] == pytest.approx(sum(nats) / math.log(2) / size, abs=1e-4)
    assert figures["eval/unigram_cross_entropy"] > figures["eval/bigram_cross_entropy"]
    assert result.details["positions"] == len(nats) >= CONFIG.positions
    assert result.details["unknown_tokens"] == 0
    texts = drawn["text"].to_pylist()
    assert result.details["bytes"] == size == sum(len(texts[i].encode()) for i in set(owners))


def test_samples_are_a_function_of_seed_and_number(corpus, run):
    cutter, model = Cutter(run / "encoder", 24, "clm"), AutoModelForCausalLM.from_pretrained(run / "encoder").eval()
    one, again = (generate(model, cutter, "boil the", 1, CONFIG) for _ in range(2))
    assert one == again
    assert one.startswith("boil the")
    assert one != generate(model, cutter, "boil the", 2, CONFIG)
    cold = NextTokens(temperature=0.0, sample_tokens=3)
    assert generate(model, cutter, "", 1, cold) == generate(model, cutter, "", 2, cold)


def test_an_evaluation_keeps_figures_samples_and_a_picture(corpus, run, tmp_path):
    found = evaluate(run, corpus, [CONFIG], tmp_path)
    assert found.metric("eval/bits_per_byte").value > 0
    assert (tmp_path / "samples.txt").read_text().split("\n\n")[1].startswith("boil the")
    assert found.details["next-tokens"]["samples"][1].startswith("boil the")
    assert set(found.pictures) == {"loss"}
