"""CLIP and SigLIP in the common loop: the libraries' own loss, parts of a batch, resume, what opens the result."""

import dataclasses
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.glyph_pairs import write_glyphs
from benchmarks.quality_pairs import ask, learn_words, train
from ssl_models import losses, trainer
from ssl_models.accumulate import backward
from ssl_models.config import CorpusRef, Train, TrainSpec
from ssl_models.image_run import open_run
from ssl_models.pair_config import CLIP, PairEncoder, SigLIP
from ssl_models.pair_encoders import image_embeddings, open_pair_encoder, text_embeddings, token_ids
from ssl_models.ranks import Ranks

METHODS = {"clip": CLIP(), "siglip": SigLIP()}
LETTERS = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xFF), (0x391, 0x3CE))


@pytest.fixture(autouse=True)
def _as_before():
    strict, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(strict)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus of letters, and its tokenizer."""
    folder = tmp_path_factory.mktemp("pairs")
    corpus = write_glyphs(folder / "corpus", "development", ranges=LETTERS, away_names=12)
    learn_words(corpus, folder / "tokenizer", 512)
    return folder


def pair_spec(folder: Path, method: str, name: str = "run", **changes) -> TrainSpec:
    settings = {"steps": 6, "batch": 16, "learning_rate": 2e-3, "warmup_steps": 1, "threads": 1, "optimizer": "adamw"}
    settings |= {"checkpoint_every_steps": 2, "log_every_steps": 2, "precision": "float32"}
    return TrainSpec(
        run_id="glyphs-0123456789ab",
        recipe="glyphs",
        recipe_sha256="0" * 64,
        folder=str(folder / f"{name}-{method}"),
        tokenizer_folder=str(folder / "tokenizer"),
        tokenizer_sha256="0" * 64,
        corpus=CorpusRef(name="glyphs", version=1, root="ab" * 32, folder=str(folder / "corpus")),
        encoder=PairEncoder(
            architecture=method, patch=16, layers=1, width=16, heads=2, text_layers=1, maximum_tokens=12, projection=8
        ),
        objective=METHODS[method],
        train=Train(**{**settings, **changes}),
    )


def weights(spec: TrainSpec) -> str:
    return hashlib.sha256((Path(spec.folder) / "encoder" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("method", METHODS)
def test_where_all_captions_differ_it_is_the_loss_of_the_library(method, folder):
    run = open_run(pair_spec(folder, method, batch=64))
    model, view = run.build_model().double(), run.view(next(run.packer))
    view = view.to(torch.device("cpu"), torch.float64)
    first = [
        int(np.flatnonzero(view.captions_B.numpy() == word)[0]) for word in dict.fromkeys(view.captions_B.tolist())
    ]
    assert 1 < len(first) < 64
    view = type(view)(*(part[first] for part in (view.pixels_BCSS, view.ids_BT, view.captions_B, view.keys_B)))
    ours = run.objective.loss(model, view)
    theirs = model(input_ids=view.ids_BT, pixel_values=view.pixels_BCSS, return_loss=True).loss
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
    parameters = list(model.parameters())
    for one, other in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_another_pair_with_the_same_words_is_no_negative(seed):
    rng = np.random.default_rng(seed)
    B = int(rng.integers(1, 9))
    image, text = (torch.from_numpy(rng.normal(size=(B, 4))) for _ in range(2))
    captions = torch.from_numpy(rng.integers(0, 3, B))
    x, y = (z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True) for z in (image, text))
    clip, siglip = 0.0, 0.0
    for i in range(B):
        others = [j for j in range(B) if j == i or captions[j] != captions[i]]
        for a, b in ((x, y), (y, x)):
            logits = {j: 14 * a[i] @ b[j] for j in others}
            clip += (math.log(sum(math.exp(value) for value in logits.values())) - logits[i]) / (2 * B)
        for j in others:
            siglip += math.log1p(math.exp(-(1 if i == j else -1) * (14 * x[i] @ y[j] - 3))) / B
    assert float(losses.clip(image, text, 14.0, captions)) == pytest.approx(clip, rel=1e-10)
    assert float(losses.siglip(image, text, 14.0, -3.0, captions)) == pytest.approx(siglip, rel=1e-10)
    with pytest.raises(ValueError, match="expected captions"):
        losses.clip(image, text, 14.0, captions[:-1])


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_give_the_gradients_of_the_batch(method, folder):
    run = open_run(pair_spec(folder, method, batch=16, precision="float64"))
    model, view = run.build_model().double(), run.view(next(run.packer))
    gradients = []
    for micro in (None, 4):
        model.zero_grad()
        loss = backward(run.objective, model, view, micro_batch=micro, ranks=Ranks())
        gradients.append([loss, *(p.grad.clone() for p in model.parameters())])
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-12)
    for one, other in zip(gradients[0][1:], gradients[1][1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_it_goes_on_where_it_stopped_and_the_library_opens_it(method, folder):
    import transformers

    whole, part = pair_spec(folder, method), pair_spec(folder, method, "part")
    assert trainer.run_spec(whole) == trainer.FINISHED
    device = trainer.choose_device(part.train, Path(part.folder))
    Path(part.folder).mkdir()
    first = trainer.Trainer(part, open_run(part), device)
    first.run.after_step = lambda model, step: setattr(first, "stop", step == 4)
    assert first.train() == trainer.STOPPED
    assert trainer.run_spec(part) == trainer.FINISHED
    assert weights(whole) == weights(part)

    encoder = Path(whole.folder) / "encoder"
    name = {"clip": "CLIPModel", "siglip": "SiglipModel"}[method]
    model = getattr(transformers, name).from_pretrained(encoder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder, local_files_only=True)
    texts = ["latin small letter a", "greek capital letter omega with tonos, and more than it can hold of this name"]
    theirs = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    run = open_run(whole)
    ours = token_ids(run.tokenizer, texts, run.special, 12)
    assert torch.equal(ours, theirs)
    pixels = run.view(next(run.packer)).pixels_BCSS[:2]
    with torch.inference_mode():
        found = model(input_ids=theirs, pixel_values=pixels)
        reopened = open_pair_encoder(encoder)
        pair = (image_embeddings(reopened, pixels), text_embeddings(reopened, ours))
    for one, other in zip(pair, (found.image_embeds, found.text_embeds), strict=True):
        torch.testing.assert_close(torch.nn.functional.normalize(one, dim=1), other)


def test_the_scale_is_held_within_its_bounds(folder):
    run = open_run(pair_spec(folder, "clip"))
    model = run.build_model()
    assert float(model.logit_scale.detach().exp()) == pytest.approx(1 / 0.07)
    for value, held in ((9.0, 100.0), (-2.0, 1.0)):
        with torch.no_grad():
            model.logit_scale.fill_(value)
        run.after_step(model, 1)
        assert float(model.logit_scale.detach().exp()) == pytest.approx(held, rel=1e-5)
    bias = open_run(pair_spec(folder, "siglip")).build_model().logit_bias
    assert float(bias.detach()) == -10


def test_a_corpus_without_captions_and_a_wrong_tower_are_refused(folder, tmp_path):
    from small_images import write_images

    write_images(tmp_path / "corpus", 20)
    spec = pair_spec(folder, "clip")
    bare = dataclasses.replace(spec, corpus=dataclasses.replace(spec.corpus, folder=str(tmp_path / "corpus")))
    with pytest.raises(ValueError, match="have no captions"):
        open_run(bare)
    with pytest.raises(ValueError, match="cannot train a siglip"):
        dataclasses.replace(spec, encoder=PairEncoder(architecture="siglip"))


def test_it_learns_to_name_letters_of_a_font_it_never_saw(folder):
    """A miniature of `python -m benchmarks.quality_pairs`: 40 steps on letters."""
    train("clip", 0, folder / "corpus", folder / "tokenizer", folder / "mini", steps=40)
    found = ask(folder / "mini", folder / "corpus", 100)
    assert found["fonts"]["interval"][0] > 5 * found["fonts"]["chance"], found
    assert found["names"]["interval"][0] > 2 * found["names"]["chance"], found
