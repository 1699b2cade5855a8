"""Cross-entropy at masked positions: the model one row at a time, and n-gram models of what the run was given."""

import numpy as np
import pytest
import torch
from evaluation_run import make_corpus, make_run
from transformers import AutoModelForMaskedLM

from tasks.errors import UserError
from tasks.learning import baselines
from tasks.learning.evaluate_config import MaskedTokens
from tasks.learning.masked_tokens import RULE, Cutter, draw, masked_tokens, model_nats
from tasks.learning.samples import keyed_order, read_samples

CONFIG = MaskedTokens(documents=30, positions=80)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def given_ids(corpus):
    return read_samples(corpus, "train")["record_id"].to_pylist()[::2]


@pytest.fixture(scope="module")
def run(tmp_path_factory, corpus, given_ids):
    return make_run(tmp_path_factory.mktemp("run"), corpus, given_ids)


@pytest.fixture(scope="module")
def cutter(run):
    return Cutter(run / "encoder", 24)


def test_rows_are_those_of_training(corpus, run, cutter):
    """Every chunk is one that the trainer's packer makes of the same document."""
    from ssl_models.packing import Packer
    from ssl_models.reader import Index, Reader

    samples = read_samples(corpus, "validation")
    rows = dict(zip(samples["record_id"].to_pylist(), cutter(samples["text"].to_pylist()), strict=True))
    reader = Reader(Index(corpus, "validation"), seed=0)

    def tokenize(texts):
        return [np.asarray(one.ids) for one in cutter.tokenizer.encode_batch(texts, add_special_tokens=False)]

    packer = Packer(reader, tokenize, rows=1, length=24, cls=cutter.ids["cls"], sep=cutter.ids["sep"], pad=0)
    for position, key in enumerate(reader.index.keys[i] for i in reader.index.order(0, 0)):
        for number, ids in enumerate(rows[key]):
            segment = packer._next_segment()
            assert (segment.position, segment.chunk) == (position, number)
            assert segment.ids.tolist() == ids.tolist()
    assert any(len(chunks) > 1 for chunks in rows.values())


def test_every_selected_token_is_masked_and_none_that_is_special(corpus, cutter):
    chunks, _ = draw(corpus, cutter, MaskedTokens(documents=1000, positions=10**6))
    special = cutter.vocabulary.special_V
    for chunk in chunks:
        assert (chunk.corrupted[chunk.selected] == cutter.ids["mask"]).all()
        assert (chunk.corrupted == chunk.ids)[~chunk.selected].all()
        assert not special[chunk.ids[chunk.selected]].any()
        ordinary = int((~special[chunk.ids]).sum())
        assert chunk.selected.sum() == max(1, round(RULE.mask_probability * ordinary))


def test_documents_come_in_keyed_order_until_there_are_positions_enough(corpus, cutter):
    chunks, samples = draw(corpus, cutter, CONFIG)
    every, _ = draw(corpus, cutter, MaskedTokens(documents=1000, positions=10**6))
    counted = np.cumsum([chunk.selected.sum() for chunk in chunks])
    assert counted[-1] >= CONFIG.positions > counted[-2]
    for one, other in zip(chunks, every, strict=False):
        assert one.document == other.document
        assert one.corrupted.tolist() == other.corrupted.tolist()
    keys = sorted(read_samples(corpus, "validation")["record_id"].to_pylist())
    assert samples["record_id"].to_pylist() == [keys[i] for i in keyed_order(keys, "masked-tokens", 0)[:30]]
    fewer, _ = draw(corpus, cutter, MaskedTokens(documents=3, positions=10**6))
    assert max(chunk.document for chunk in fewer) == 2
    turned, _ = draw(corpus, cutter, MaskedTokens(documents=30, positions=80, seed=1))
    assert [chunk.ids.tolist() for chunk in turned] != [chunk.ids.tolist() for chunk in chunks]


def test_model_nats_are_those_of_one_row_at_a_time(corpus, run, cutter):
    chunks, _ = draw(corpus, cutter, CONFIG)
    found = model_nats(run / "encoder", chunks, cutter.ids["pad"])
    model = AutoModelForMaskedLM.from_pretrained(run / "encoder").eval()
    wanted = []
    for chunk in chunks:
        with torch.no_grad():
            log_p = model(torch.as_tensor(chunk.corrupted)[None]).logits[0].double().log_softmax(-1)
        wanted += [-float(log_p[place, chunk.ids[place]]) for place in np.flatnonzero(chunk.selected)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_figures_stand_beside_ngrams_of_the_given_documents(corpus, run, given_ids, cutter):
    result = masked_tokens(run, corpus, CONFIG)
    figures = {metric.name: metric for metric in result.metrics}
    texts = read_samples(corpus, "train", set(given_ids))["text"].to_pylist()
    documents = [np.concatenate(rows) for rows in cutter(texts)]
    assert result.details["baseline_documents"] == len(given_ids)
    assert result.details["baseline_tokens"] == sum(map(len, documents))
    bigram = baselines.fit(documents, len(cutter.vocabulary.special_V), np.flatnonzero(cutter.vocabulary.special_V))
    chunks, _ = draw(corpus, cutter, CONFIG)
    masks = [chunk.selected for chunk in chunks]
    nats = bigram.cross_entropy([chunk.ids for chunk in chunks], masks)
    assert figures["eval/bigram_cross_entropy"].value == pytest.approx(nats.mean(), abs=1e-4)
    assert figures["eval/bigram_cross_entropy"].n == len(nats) == result.details["positions"]
    unigram, model = figures["eval/unigram_cross_entropy"], figures["eval/cross_entropy"]
    assert model.value > unigram.value > 1  # a model that was never trained is worse than word frequencies
    difference = figures["eval/cross_entropy_minus_unigram"]
    assert difference.value == pytest.approx(model.value - unigram.value, abs=2e-4)
    assert 0 < difference.low <= difference.value <= difference.high
    again = masked_tokens(run, corpus, CONFIG)
    assert (again.metrics, again.details) == (result.metrics, result.details)


def test_a_run_on_another_corpus_is_the_users_error(tmp_path, corpus):
    run = make_run(tmp_path, corpus, ["f" * 32])
    with pytest.raises(UserError, match="given no document of this corpus"):
        masked_tokens(run, corpus, CONFIG)
