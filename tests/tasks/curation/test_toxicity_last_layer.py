"""The shortened last layer against the whole model: the same logits, for every kind that is shortened."""

import pytest
import torch
from torch import nn
from transformers import AlbertConfig, AutoModelForSequenceClassification, BertConfig, RobertaConfig, XLMRobertaConfig

from tasks.curation.toxicity_last_layer import FirstTokenLayer, first_token_only

SIZES = {
    "vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40,
    "max_position_embeddings": 40, "num_labels": 6, "initializer_range": 0.5, "pad_token_id": 1,
}  # fmt: skip


def model_of(config, **more):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config(**SIZES), **more).eval()


def logits(model, rows, tokens):
    """Rows of different lengths, padded; and rows without any padding."""
    ids = torch.randint(5, 60, (rows, tokens), generator=torch.Generator().manual_seed(rows))
    lengths = torch.linspace(1, tokens, rows).long()[:, None]
    mask = (torch.arange(tokens) < lengths).long()
    with torch.inference_mode():
        padded = model(input_ids=torch.where(mask == 1, ids, 1), attention_mask=mask).logits
        return torch.cat([padded, model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits])


@pytest.mark.parametrize("config", [BertConfig, RobertaConfig, XLMRobertaConfig])
def test_the_logits_are_those_of_the_whole_model(config):
    model = model_of(config)
    shapes = [(1, 1), (5, 17), (8, 32)]
    whole = [logits(model, *shape) for shape in shapes]
    assert first_token_only(model) is model
    assert isinstance(model.base_model.encoder.layer[-1], FirstTokenLayer)
    for shape, expected in zip(shapes, whole, strict=True):
        torch.testing.assert_close(logits(model, *shape), expected, atol=1e-5, rtol=1e-5)
    assert whole[-1].std(dim=0).min() > 0.01  # logits that differ


def test_only_the_first_token_goes_through_the_feed_forward_network():
    model = first_token_only(model_of(BertConfig))
    seen = []
    for layer in (*model.bert.encoder.layer[:-1], model.bert.encoder.layer[-1].layer):
        layer.intermediate.register_forward_hook(lambda module, given, result: seen.append(result.shape[1]))
    logits(model, 4, 9)
    assert seen == [9, 9, 1] * 2


def test_other_kinds_are_left_as_they_are():
    class ReadsAll(type(model_of(BertConfig))):
        pass

    others = [
        model_of(AlbertConfig),  # one layer, repeated
        model_of(BertConfig, attn_implementation="eager"),  # another mask
        ReadsAll(BertConfig(**SIZES)),
    ]
    for model in others:
        before = [type(module) for module in model.modules()]
        assert first_token_only(model) is model
        assert [type(module) for module in model.modules()] == before
        assert nn.Linear in before
