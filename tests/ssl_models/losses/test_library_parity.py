"""Losses and parameter gradients against `transformers`' models: a second implementation, <= 1e-5 in float32.

Each model of a few thousand parameters runs once with its own loss and once with ours on its outputs.
"""

import pytest
import torch

from ssl_models import losses

CASES = range(20)


def generator(case):
    return torch.Generator().manual_seed(case)


def gradients(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def same(model, theirs, ours, tolerance=1e-5):
    assert ours.item() == pytest.approx(theirs.item(), rel=tolerance, abs=1e-6)
    expected, found = gradients(model, theirs), gradients(model, ours)
    whole = max(float(g.abs().max()) for g in expected.values())
    assert whole > 0 or ours == 0  # every distractor may be a copy of the target
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        assert (gradient - found[name]).abs().max() <= tolerance * max(whole, 0.1), name


def built(config, kind, **changes):
    torch.manual_seed(0)
    model = kind(config(**changes)).eval()
    for p in model.parameters():  # far from the tame initialisation: logits of several units
        p.data.mul_(3) if p.ndim > 1 else None
    return model


@pytest.fixture(scope="module")
def models():
    import transformers as hf

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = {**small, "vocab_size": 30, "max_position_embeddings": 16}
    image = {**small, "image_size": 8, "patch_size": 4}
    both = {"text_config": text, "vision_config": image}
    return {
        "bert": built(hf.BertConfig, hf.BertForMaskedLM, **text),
        "gpt2": built(hf.GPT2Config, hf.GPT2LMHeadModel, vocab_size=30, n_positions=16, n_embd=16, n_layer=1, n_head=2),
        "clip": built(hf.CLIPConfig, hf.CLIPModel, **both, projection_dim=8),
        "siglip": built(hf.SiglipConfig, hf.SiglipModel, **both),
        "mae": built(
            hf.ViTMAEConfig, hf.ViTMAEForPreTraining, **image, norm_pix_loss=True, decoder_hidden_size=16,
            decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=16, mask_ratio=0.75,
        ),
        "wav2vec2": built(
            hf.Wav2Vec2Config, hf.Wav2Vec2ForPreTraining, **small, conv_dim=(8, 8), conv_stride=(4, 2),
            conv_kernel=(4, 2), num_feat_extract_layers=2, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
            num_codevectors_per_group=5, num_codevector_groups=2, codevector_dim=8, proj_codevector_dim=8,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_masked_cross_entropy_is_berts(models, case):
    model, g = models["bert"], generator(case)
    B, T = 1 + case % 3, 4 + case % 9
    ids = torch.randint(5, 30, (B, T), generator=g)
    labels = ids.clone()
    labels[torch.rand(B, T, generator=g) > 0.3] = -100
    labels[0, case % T] = ids[0, case % T]  # case 0 may have one masked token; none gives NaN there, 0 here
    if case % 5 == 0:
        labels[:] = -100
        labels[0, 1] = ids[0, 1]
    attention = torch.ones_like(ids)
    attention[-1, T - case % 3 :] = 0
    output = model(ids, attention_mask=attention, labels=labels)
    same(model, output.loss, losses.masked_cross_entropy(output.logits[labels >= 0], labels[labels >= 0]))


@pytest.mark.parametrize("case", CASES)
def test_next_token_cross_entropy_is_gpt2s(models, case):
    model, g = models["gpt2"], generator(case)
    B, T = 1 + case % 3, 2 + case % 9
    ids = torch.randint(30, (B, T), generator=g)
    length = torch.randint(2, T + 1, (B,), generator=g)
    labels = ids.masked_fill(torch.arange(T) >= length[:, None], -100)
    document = torch.where(labels >= 0, torch.arange(B)[:, None], -1)
    output = model(ids, labels=labels)
    same(model, output.loss, losses.next_token_cross_entropy(output.logits, ids, document))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pairs_are_theirs(models, kind, case):
    model, g = models[kind], generator(case)
    B = 1 + case % 6
    ids = torch.randint(3, 29, (B, 6), generator=g)
    ids[:, -1] = 29  # the end token, which CLIP reads
    if case % 4 == 0:
        ids[:] = ids[0]  # duplicate captions
    model.logit_scale.data.fill_((2.6592, 4.6052, 0.0)[case % 3])
    output = model(input_ids=ids, pixel_values=torch.randn(B, 3, 8, 8, generator=g), return_loss=True)
    pair = output.image_embeds, output.text_embeds, model.logit_scale.exp()
    ours = losses.clip(*pair) if kind == "clip" else losses.siglip(*pair, model.logit_bias)
    if B == 1 and kind == "clip":
        assert ours.item() == pytest.approx(output.loss.item(), abs=1e-6)
    else:
        same(model, output.loss, ours)


@pytest.mark.parametrize("case", CASES)
def test_mae_is_vitmaes(models, case):
    model, g = models["mae"], generator(case)
    B = 1 + case % 4
    model.config.mask_ratio = (0.75, 0.5, 0.25)[case % 3]
    pixels = torch.randn(B, 3, 8, 8, generator=g)
    output = model(pixels, noise=torch.rand(B, 4, generator=g))
    same(model, output.loss, losses.mae(output.logits, model.patchify(pixels), output.mask))


@pytest.mark.parametrize("case", CASES)
def test_wav2vec2_is_theirs(models, case):
    """Contrastive loss with gradients, diversity by value; theirs are sums over masked frames, ours means."""
    model, g = models["wav2vec2"], generator(case)
    B, K = 1 + case % 2, 1 + case % 6
    audio = torch.randn(B, 8 * 12, generator=g)
    T = int(model._get_feat_extract_output_lengths(torch.tensor(audio.shape[1])))
    mask = torch.rand(B, T, generator=g) < 0.5
    mask[:, 0] = mask[:, 3] = True
    if case % 5 == 0:
        mask[:] = False
        mask[0, [1, 4]] = True
    flat = mask.flatten().nonzero()[:, 0]
    indices = torch.zeros(B, T, K, dtype=torch.long)
    for place in flat.tolist():
        row = place // T
        others = [other for other in flat.tolist() if other // T == row and other != place]
        drawn = torch.randint(len(others), (K,), generator=g)
        indices[row, place % T] = torch.tensor(others)[drawn]
    seen = {}
    hook = model.quantizer.weight_proj.register_forward_hook(lambda *x: seen.update(scores=x[2]))
    output = model(audio, mask_time_indices=mask, sampled_negative_indices=indices)
    hook.remove()
    G, V = 2, 5
    codes = torch.nn.functional.one_hot(seen["scores"].view(B * T, G, V).argmax(-1), V).float()
    context, target = output.projected_states.flatten(0, 1), output.projected_quantized_states.flatten(0, 1)
    contrastive, diversity, _ = losses.wav2vec2(
        context[flat],
        target[flat],
        target[indices.flatten(0, 1)[flat]],
        codes[flat],
        context,
        model.config.contrastive_logits_temperature,
    )
    assert diversity.item() == pytest.approx(output.diversity_loss.item() / len(flat), abs=1e-5)
    same(model, output.contrastive_loss / len(flat), contrastive)
