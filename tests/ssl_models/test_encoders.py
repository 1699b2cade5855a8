import hashlib

import numpy as np
import pytest
import torch

from ssl_models.config import MaskedLanguageModelling, TextEncoder
from ssl_models.encoders import build_encoder, hidden_states, masked_states, vocabulary_logits
from ssl_models.objectives.mlm import MaskedLanguageObjective
from ssl_models.packing import Batch
from ssl_models.views.masking import Vocabulary

SPECIAL = {"pad": 0, "cls": 2, "sep": 3}
VOCABULARY = Vocabulary(mask_id=4, special_V=np.arange(60) < 5)
SHAPE = {"layers": 3, "width": 32, "heads": 4, "maximum_tokens": 64}
ENCODERS = {
    "modernbert": TextEncoder(**SHAPE),
    "windows": TextEncoder(**SHAPE, window_tokens=6, global_every=2, neighbour_heads=True),
    "bert": TextEncoder(**SHAPE, architecture="bert"),
    "roberta": TextEncoder(**SHAPE, architecture="roberta"),
}


def build(config, seed=0):
    return build_encoder(config, vocabulary=60, special=SPECIAL, seed=seed).eval()


def packed(lengths, rows=2, length=40, seed=0):
    """Rows of random segments of the given lengths, and the segments by themselves."""
    random = np.random.default_rng(seed)
    ids, segment, place = (
        np.zeros((rows, length), np.int64),
        np.full((rows, length), -1),
        np.zeros((rows, length), np.int64),
    )
    alone, at = [], [0] * rows
    for number, size in enumerate(lengths):
        row = number % rows
        tokens = np.concatenate([[2], random.integers(5, 60, size - 2), [3]])
        ids[row, at[row] : at[row] + size] = tokens
        segment[row, at[row] : at[row] + size] = number
        place[row, at[row] : at[row] + size] = np.arange(size)
        at[row] += size
        alone.append(tokens)
    zeros = np.zeros(len(lengths), np.int64)
    return Batch(ids, segment, place, np.arange(len(lengths)).astype(np.uint64), zeros, zeros, len(lengths)), alone


def tensors(batch):
    return [torch.from_numpy(a) for a in (batch.ids_BT, batch.segment_BT, batch.place_BT)]


@pytest.mark.parametrize("name", ENCODERS)
def test_packed_equals_alone(name):
    """A segment in a packed row gets what transformers' own forward gives it by itself."""
    model = build(ENCODERS[name])
    batch, alone = packed([12, 17, 9, 20, 14])
    with torch.no_grad():
        logits = vocabulary_logits(model, hidden_states(model, *tensors(batch)))
        for number, tokens in enumerate(alone):
            expected = model(torch.from_numpy(tokens)[None]).logits[0]
            assert (logits[torch.from_numpy(batch.segment_BT == number)] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", ENCODERS)
def test_no_gradient_crosses_documents(name):
    model = build(ENCODERS[name])
    batch, _ = packed([12, 17, 9, 20, 14])
    ids, segment, place = tensors(batch)
    leaves = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        leaves.append(output)

    model.get_input_embeddings().register_forward_hook(keep)
    hidden = hidden_states(model, ids, segment, place)
    hidden[segment == 2].square().sum().backward()
    reach = leaves[0].grad.abs().sum(-1)
    assert (reach[segment != 2] == 0).all()
    assert (reach[segment == 2] > 0).all()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("probability", [0.01, 0.15, 0.9])
def test_the_short_cut_gives_the_same_loss_and_gradients(name, probability):
    """Logits and last-layer queries at the masked positions only: what the full forward gives, to 1e-5."""
    objective = MaskedLanguageObjective(MaskedLanguageModelling(mask_probability=probability), VOCABULARY, seed=1)
    batch, _ = packed([12, 17, 9, 20, 14])
    view = objective.view(batch)
    model = build(ENCODERS[name])
    loss = objective.loss(model, view)
    loss.backward()
    short = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    hidden = hidden_states(model, view.ids_BT, view.segment_BT, view.place_BT).flatten(0, 1)
    full = torch.nn.functional.cross_entropy(vocabulary_logits(model, hidden)[view.where_N], view.targets_N)
    full.backward()
    assert loss.item() == pytest.approx(full.item(), rel=1e-5)
    for n, p in model.named_parameters():
        if p.grad is not None:
            assert (p.grad - short[n]).abs().max() <= 1e-5 * max(1.0, p.grad.abs().max()), n


def test_a_batch_of_which_nothing_is_masked_has_no_loss_and_no_gradient():
    objective = MaskedLanguageObjective(MaskedLanguageModelling(), VOCABULARY, seed=0)
    batch, _ = packed([2, 2, 2])
    model = build(ENCODERS["windows"])
    loss = objective.loss(model, objective.view(batch))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.abs().max() for p in model.parameters())


def test_bert_agrees_with_transformers_own_loss():
    """The oracle: BertForMaskedLM's loss over labels, on one unpacked row."""
    model = build(ENCODERS["bert"])
    batch, _ = packed([30], rows=1, length=30)
    objective = MaskedLanguageObjective(MaskedLanguageModelling(), VOCABULARY, seed=0)
    view = objective.view(batch)
    labels = torch.full((30,), -100).index_put((view.where_N,), view.targets_N)
    expected = model(view.ids_BT, labels=labels[None]).loss
    assert objective.loss(model, view).item() == pytest.approx(expected.item(), rel=1e-6)


def test_heads_start_as_looks_at_neighbours():
    model = build(TextEncoder(layers=2, width=64, heads=4, neighbour_heads=True))
    seen = {}
    model.set_attn_implementation("eager")
    with torch.no_grad():
        ids = torch.randint(5, 60, (1, 24), generator=torch.Generator().manual_seed(0))
        seen = model(ids, output_attentions=True).attentions
    for head, offset in enumerate([-1, 1, -2, 2]):
        weights = seen[0][0, head]
        for position in range(4, 20):
            assert weights[position].argmax() == position + offset
            assert weights[position, position + offset] > 0.4
    plain = build(TextEncoder(layers=2, width=64, heads=4, neighbour_heads=False))
    assert "model.layers.0.attn.Wqkv.bias" not in plain.state_dict()


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = build(ENCODERS["modernbert"], seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    two, other = build(ENCODERS["modernbert"], seed=7), build(ENCODERS["modernbert"], seed=8)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.get_input_embeddings().weight, other.get_input_embeddings().weight)


@pytest.mark.parametrize("name", ["bert", "windows"])
def test_training_can_continue_from_a_checkpoint(name, tmp_path):
    first = build(ENCODERS[name], seed=3)
    first.save_pretrained(tmp_path)
    digest = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    model = build(TextEncoder(continue_from=str(tmp_path), continue_from_sha256=digest))
    batch, _ = packed([12, 17])
    objective = MaskedLanguageObjective(MaskedLanguageModelling(), VOCABULARY, seed=0)
    assert objective.loss(model, objective.view(batch)).item() == objective.loss(first, objective.view(batch)).item()
    with pytest.raises(ValueError, match="recipe pins"):
        build(TextEncoder(continue_from=str(tmp_path), continue_from_sha256="0" * 64))
    with pytest.raises(ValueError, match="more than the checkpoint embeds"):
        build_encoder(TextEncoder(continue_from=str(tmp_path)), vocabulary=61, special=SPECIAL, seed=0)


def test_a_checkpoint_that_cannot_be_used_is_named(tmp_path):
    from transformers import GPT2Config

    with pytest.raises(ValueError, match="no checkpoint"):
        build(TextEncoder(continue_from=str(tmp_path / "nowhere")))
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot continue from a gpt2"):
        build(TextEncoder(continue_from=str(tmp_path)))


def test_positions_without_padding_of_the_row_do_not_matter():
    """masked_states accepts rows with different numbers of wanted positions, one row without any."""
    model = build(ENCODERS["windows"])
    batch, _ = packed([12, 17, 9])
    where = torch.tensor([3, 5, 9])
    wanted, pick = torch.tensor([[3, 5, 9], [0, 0, 0]]), torch.tensor([0, 1, 2])
    with torch.no_grad():
        some = masked_states(model, *tensors(batch), where, wanted, pick)
        full = hidden_states(model, *tensors(batch)).flatten(0, 1)[where]
    assert (some - full).abs().max() < 1e-5
