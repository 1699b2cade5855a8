"""Image-text scores: those of the model itself, whatever is scored beside a pair; and what a policy makes of them."""

import dataclasses
import io

import numpy as np
import pyarrow as pa
import pytest
from media_chain import POLICY, media_chain, picture, write_files

from data_policies.schema import PairModel, Policy, Range
from tasks.curation.media import media_of
from tasks.curation.pair_scores import PairScores, pair_score_stage
from tasks.curation.records import Engine
from tasks.curation.sources.media import Pairs
from tasks.curation.steps import decide_stage, scores
from tasks.errors import UserError
from tasks.governance.corpus import build_corpus
from tasks.governance.ledger import read_ledger
from tasks.governance.verification import verify
from tasks.home import Home

WORDS = ["<pad>", "<start>", "<end>", "<unk>", "a", "red", "green", "mill", "stone"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A CLIP of random weights, in the form that transformers saves."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {"vocab_size": len(WORDS), "max_position_embeddings": 10, "bos_token_id": 1, "eos_token_id": 2}
    vision = small | {"image_size": 16, "patch_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = CLIPConfig(text_config=text | {"pad_token_id": 0}, vision_config=vision, projection_dim=8)
        CLIPModel(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        "<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    named = {"pad_token": "<pad>", "bos_token": "<start>", "eos_token": "<end>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **named)
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return PairModel(model=str(folder))


TEXTS = ["a red mill", "a green stone", "stone", "mill a a", None]


def rows(texts):
    images = [None if text == "stone" else picture(number) for number, text in enumerate(texts)]
    return pa.table({"regular": pa.array(images, pa.large_binary()), "text": pa.array(texts, pa.large_string())})


def test_the_score_is_the_models_cosine_and_depends_on_its_pair_alone(model):
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPProcessor

    scorer = PairScores(model)
    found = scorer.score(rows(TEXTS))["pair.score"].to_pylist()
    assert found[2] is None
    assert found[4] is None
    clip, processor = CLIPModel.from_pretrained(model.model).eval(), CLIPProcessor.from_pretrained(model.model)
    for number in (0, 1, 3):
        image = Image.open(io.BytesIO(picture(number)))
        given = processor(
            text=[TEXTS[number]], images=[image], return_tensors="pt", padding="max_length", max_length=10
        )
        with torch.no_grad():
            out = clip(**given)
        expected = (out.image_embeds @ out.text_embeds.T).item()
        assert found[number] == pytest.approx(expected, abs=2e-4)
    many = scorer.score(rows(TEXTS * 5))["pair.score"].to_pylist()
    assert many[0] == found[0]
    assert scorer.score(rows(TEXTS).slice(3, 1))["pair.score"].to_pylist() == [found[3]]


def test_a_pair_that_does_not_fit_goes_and_a_picture_without_a_text_is_not_asked(model, tmp_path):
    home = Home.at(tmp_path / "home")
    files = {f"{n}.png": picture(n) for n in range(6)} | {f"{n}.txt": TEXTS[n % 2].encode() for n in range(5)}
    source = Pairs(name="p", path=str(write_files(tmp_path / "in", files)), licence="MIT")
    curated = media_chain(home, [source])
    stage = pair_score_stage(home, curated.ingested, media_of(curated.scored), model, Engine())
    known = [value for value in scores(stage, ["pair.score"])["pair.score"].to_pylist() if value is not None]
    assert len(known) == 5
    middle = float(np.median(known))
    policy = dataclasses.replace(POLICY, pair_model=model, pairs={"score": Range(min=middle)})
    scored = [*curated.scored, stage]
    decided = decide_stage(home, curated.ingested, scored, policy)
    version, _ = build_corpus(home, dataclasses.replace(curated, scored=scored, decided=decided), policy, Engine())
    assert verify(version) == []
    ledger = {row["uri"]: row for row in read_ledger(version / "ledger").to_pylist()}
    dropped = [row["value"] for row in ledger.values() if row["rule"] == "pair.score"]
    assert sorted(dropped) == sorted(value for value in known if value < middle)
    assert len(dropped) == 2
    assert ledger["5.png"]["verdict"] == "keep"


def test_another_model_than_the_policys_is_not_asked(model, tmp_path):
    assert PairScores(dataclasses.replace(model, sha256=PairScores(model).digest)).digest == PairScores(model).digest
    with pytest.raises(UserError, match="not the one"):
        PairScores(dataclasses.replace(model, sha256="0" * 64))
    with pytest.raises(UserError, match="no image-text model"):
        PairScores(PairModel(model=str(tmp_path)))


def test_a_bound_on_the_score_names_its_model():
    with pytest.raises(ValueError, match="pair_model"):
        dataclasses.replace(POLICY, pairs={"score": Range(min=0.2)})
    plain = dataclasses.replace(POLICY, pair_model=None)
    assert isinstance(plain, Policy)
    assert "pair_model" not in plain.plain()
