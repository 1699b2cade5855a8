"""GPT's objective on packed rows: what a document would get alone, and nothing from its neighbours."""

import numpy as np
import pytest
import torch
from small_runs import small_spec

from ssl_models import losses, trainer
from ssl_models.config import CausalLanguageModelling, TextEncoder
from ssl_models.encoders import build_encoder, hidden_states, vocabulary_logits
from ssl_models.objectives import build_objective
from ssl_models.optimizers import build_optimizers
from ssl_models.packing import Batch
from ssl_models.run import Run
from ssl_models.views.masking import Vocabulary

SPECIAL = {"pad": 0, "cls": 2, "sep": 3}
DECODERS = ["gpt2", "llama", "qwen3"]
LENGTH = 40


def build(architecture):
    config = TextEncoder(architecture=architecture, layers=2, width=32, heads=4, maximum_tokens=64)
    return build_encoder(config, vocabulary=60, special=SPECIAL, seed=0, method="clm").eval()


def packed(rows):
    """Rows of segments of the given lengths: the batch, and each segment's tokens."""
    random = np.random.default_rng(0)
    ids = np.zeros((len(rows), LENGTH), np.int64)
    segment, place = np.full_like(ids, -1), np.zeros_like(ids)
    alone = []
    for row, lengths in enumerate(rows):
        at = 0
        for size in lengths:
            tokens = np.concatenate([[2], random.integers(5, 60, size - 2), [3]])
            ids[row, at : at + size], place[row, at : at + size] = tokens, np.arange(size)
            segment[row, at : at + size] = len(alone)
            alone.append(tokens)
            at += size
    zeros = np.zeros(len(alone), np.int64)
    return Batch(ids, segment, place, zeros.astype(np.uint64), zeros, zeros, len(alone)), alone


ROWS = [[12, 17, 9], [20, 14], [40]]


def objective():
    return build_objective(CausalLanguageModelling(), Vocabulary(4, np.arange(60) < 5), 0)


@pytest.mark.parametrize("architecture", DECODERS)
def test_packed_equals_alone_and_the_libraries_own_loss(architecture):
    model = build(architecture)
    batch, alone = packed(ROWS)
    view = objective().view(batch)
    with torch.no_grad():
        logits = vocabulary_logits(model, hidden_states(model, view.ids_BT, view.segment_BT, view.place_BT))
        total = count = 0
        for number, tokens in enumerate(alone):
            ids = torch.from_numpy(tokens)[None]
            labels = ids.masked_fill(
                torch.tensor(len(tokens) == LENGTH) & (torch.arange(len(tokens)) == LENGTH - 1), -100
            )
            expected = model(ids, labels=labels)
            assert (logits[view.segment_BT == number] - expected.logits[0]).abs().max() < 1e-5
            targets = int((labels[:, 1:] >= 0).sum())
            total, count = total + expected.loss * targets, count + targets
        assert len(view.targets_N) == count
        assert objective().loss(model, view).item() == pytest.approx((total / count).item(), rel=1e-5)
        whole = packed(ROWS[:2])[0]  # without a full row, what the pure loss says of all logits
        pure = objective().view(whole)
        logits = vocabulary_logits(model, hidden_states(model, pure.ids_BT, pure.segment_BT, pure.place_BT))
        expected = losses.next_token_cross_entropy(logits, pure.ids_BT, pure.segment_BT)
        assert objective().loss(model, pure).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("architecture", DECODERS)
def test_no_gradient_comes_from_another_document_or_from_a_later_token(architecture):
    model = build(architecture)
    view = objective().view(packed(ROWS)[0])
    seen = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        seen.append(output)

    model.get_input_embeddings().register_forward_hook(keep)
    hidden = hidden_states(model, view.ids_BT, view.segment_BT, view.place_BT)
    middle = (view.segment_BT == 1) & (view.place_BT == 8)
    hidden[middle].square().sum().backward()
    reach = seen[0].grad.abs().sum(-1)
    allowed = (view.segment_BT == 1) & (view.place_BT <= 8)
    assert (reach[~allowed] == 0).all()
    assert (reach[allowed] > 0).all()


def test_every_token_after_the_first_is_a_target_but_the_end_of_a_full_row():
    batch, alone = packed(ROWS)
    view = objective().view(batch)
    expected = np.concatenate([tokens[1:-1] if len(tokens) == LENGTH else tokens[1:] for tokens in alone])
    assert sorted(view.targets_N.tolist()) == sorted(expected.tolist())
    assert (view.ids_BT.flatten()[view.where_N + 1] == view.targets_N).all()


@pytest.mark.parametrize("architecture", ["gpt2", "qwen3"])
def test_a_run_learns_and_opens_as_a_causal_model(tmp_path, architecture):
    """Below the unigram by far, and the same weights from the same spec; saved as `transformers` opens it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    encoder = {"architecture": architecture}
    spec = small_spec(
        tmp_path, 300, encoder, CausalLanguageModelling(), steps=100, batch=8, learning_rate=5e-3, log_every_steps=10
    )
    assert trainer.run_spec(spec) == trainer.FINISHED
    folder = tmp_path / "run" / "encoder"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    from small_corpora import keyed_texts

    texts = list(keyed_texts(300).values())[:40]
    nats = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            nats.append(float(model(ids, labels=ids).loss))
    assert np.mean(nats) < 3.3  # the unigram's is 4.3, a choice of three words is 1.1


def test_tables_are_not_matrices_of_layers():
    """Muon is for the layers: no embedding, position table or head goes there."""
    from ssl_models.config import Train

    for architecture in DECODERS:
        model = build(architecture)
        muon, adamw = build_optimizers(model, Train(optimizer="muon"))
        names = {id(p): name for name, p in model.named_parameters()}
        layers = {names[id(p)] for group in muon.param_groups for p in group["params"]}
        assert all(".h." in name or ".layers." in name for name in layers)
        assert sum(len(g["params"]) for o in (muon, adamw) for g in o.param_groups) == len(names)


def test_training_goes_on_from_a_gpt2_checkpoint_with_its_own_tokenizer(tmp_path):
    """GPT-2's tokenizer has one special token, which begins, ends and pads."""
    from small_corpora import keyed_texts
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from tasks.learning.tokenize import copy_tokenizer

    own = Tokenizer(models.BPE())
    own.pre_tokenizer, own.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    learner = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    own.train_from_iterator(keyed_texts(50).values(), learner)
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=own, bos_token=end, eos_token=end, unk_token=end).save_pretrained(
        tmp_path / "gpt2"
    )
    config = GPT2Config(vocab_size=own.get_vocab_size(), n_positions=64, n_embd=32, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")

    spec = small_spec(tmp_path)
    copy_tokenizer(str(tmp_path / "gpt2"), tmp_path / "copied", "clm")
    import dataclasses

    spec = dataclasses.replace(
        spec,
        tokenizer_folder=str(tmp_path / "copied"),
        objective=CausalLanguageModelling(),
        encoder=TextEncoder(continue_from=str(tmp_path / "gpt2")),
    )
    run = Run(spec)
    assert run.special["cls"] == run.special["sep"] == run.special["pad"] == 0
    assert trainer.run_spec(spec) == trainer.FINISHED
    with pytest.raises(ValueError, match="cannot continue from a gpt2"):
        build_encoder(spec.encoder, vocabulary=60, special=SPECIAL, seed=0)
