"""Toxicity against Detoxify itself, on checkpoints that this file builds; and the stand-in that ships."""

import hashlib
import json
import os
import pickle
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import expit
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from tasks.curation import toxicity, toxicity_models
from tasks.curation.toxicity import LABELS, SCHEMA, Toxicity, Unavailable, load
from tasks.curation.toxicity_models import Published, find
from tasks.engine import safe_score
from tasks.errors import UserError

WORDS = ["alpha", "beta", "gamma", "delta", "the", "of", "you", "are", "not", "foolish", "kind", ".", "!", "ü", "né"]
JIGSAW = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
UNBIASED = ["toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit"]


def build_checkpoint(folder, classes, outputs, max_tokens=64):
    """A tiny, randomly weighted model in Detoxify's checkpoint format; `model_type` is the relative folder ``hf``."""
    torch.manual_seed(0)
    (folder / "hf").mkdir(parents=True)
    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator([" ".join(WORDS)] * 5, vocab_size=120, min_frequency=1, show_progress=False)
    tokenizer = BertTokenizer(vocab=pieces.get_vocab(), do_lower_case=True, model_max_length=max_tokens)
    tokenizer.save_pretrained(folder / "hf")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=max_tokens,
        num_labels=outputs,
        initializer_range=0.5,  # wide weights: scores that differ
    )
    config.save_pretrained(folder / "hf")
    model = BertForSequenceClassification(config)
    arch = {"model_type": "hf", "model_name": "BertForSequenceClassification", "tokenizer_name": "BertTokenizer"}
    checkpoint = {
        "config": {"arch": {"args": {**arch, "num_classes": outputs}}, "dataset": {"args": {"classes": classes}}},
        "state_dict": model.state_dict(),
    }
    torch.save(checkpoint, folder / "tiny.ckpt")
    return checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("jigsaw")
    build_checkpoint(path, JIGSAW, 6)
    return path


@pytest.fixture(scope="module")
def scorer(folder):
    return load(str(folder))


@pytest.fixture(scope="module")
def stand_in():
    return load("stand-in", stand_in=True)


def detoxify(folder, monkeypatch):
    """Detoxify as its users call it: from inside the folder, since `model_type` is a relative one."""
    from detoxify import Detoxify

    monkeypatch.chdir(folder)
    return Detoxify(checkpoint="tiny.ckpt")


def sentences(count, seed=0, longest=50):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(0, longest))) for _ in range(count)]


# -- the same scores as Detoxify ------------------------------------------------------------------------------------


def test_one_window_scores_what_detoxify_predicts(folder, scorer, monkeypatch):
    texts = ["", " ", "You are foolish!", "ÜBER né \x00 \ufffd 漢字", *sentences(60)]
    predicted = detoxify(folder, monkeypatch).predict(texts)
    exact = expit(exact_logits(scorer, texts).astype(float))
    for column, label in enumerate(LABELS):
        np.testing.assert_allclose(exact[:, column], predicted[label], atol=1e-5)
    np.testing.assert_array_equal(scorer.score_texts(texts), np.round(exact, 4))
    assert np.ptp(exact, axis=0).min() > 0.02  # the comparison is of scores that differ


def test_token_ids_are_those_of_detoxifys_tokenizer(folder, scorer, monkeypatch):
    texts = [*sentences(40, seed=1), "né " * 100, "\t\n alpha\u200bbeta", "a" * 300]
    expected = detoxify(folder, monkeypatch).tokenizer(texts, truncation=True, padding=False)["input_ids"]
    ours = toxicity._opened(scorer.files).tokenizer.encode_batch_fast(texts)
    assert [encoding.ids for encoding in ours] == expected


def test_long_text_scores_the_maximum_over_its_windows(folder, scorer, monkeypatch):
    """Windows by hand: 62 tokens of text each, 7 of them shared with the window before, [CLS] and [SEP] around each."""
    words = np.random.default_rng(2).choice(WORDS[:12], 500).tolist()
    model = detoxify(folder, monkeypatch)
    ids = model.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert len(ids) > 62 * 5
    starts = [start for start in range(0, len(ids), 55) if start == 0 or start + 7 < len(ids)]
    windows = [ids[start : start + 62] for start in starts]
    cls, sep = model.tokenizer.cls_token_id, model.tokenizer.sep_token_id
    with torch.no_grad():
        scores = [torch.sigmoid(model.model(torch.tensor([[cls, *window, sep]])).logits)[0] for window in windows]
    expected = torch.stack(scores).amax(0).numpy()
    ours = scorer.score_texts([" ".join(words)])[0]
    np.testing.assert_allclose(ours, expected, atol=6e-5)  # rounded to 4 decimals
    assert np.abs(ours - scores[0].numpy()).max() > 1e-3  # the first window alone says something else


def test_a_very_long_text_is_tokenised_in_pieces(scorer, monkeypatch):
    text = " ".join(sentences(30, seed=3))
    monkeypatch.setattr(toxicity, "PIECE_CHARS", 200)
    monkeypatch.setattr(toxicity, "PIECE_OVERLAP", 20)
    parts = list(toxicity.pieces(text, 200, 20))
    assert len(parts) > 5
    np.testing.assert_array_equal(scorer.score_texts([text])[0], scorer.score_texts(parts).max(axis=0))


def test_classes_are_mapped_by_name_and_missing_ones_are_null(tmp_path, monkeypatch):
    build_checkpoint(tmp_path / "unbiased", UNBIASED, 16)  # as Detoxify's: more outputs than classes, in another order
    texts = sentences(20, seed=4)
    ours = load(str(tmp_path / "unbiased")).score_texts(texts)
    predicted = detoxify(tmp_path / "unbiased", monkeypatch).predict(texts)
    for column, label in enumerate(LABELS):
        np.testing.assert_allclose(ours[:, column], predicted[label], atol=6e-5)
    build_checkpoint(tmp_path / "two", ["insult", "toxic"], 2)
    table = load(str(tmp_path / "two")).score(pa.table({"text": texts}))
    assert table["toxicity.insult"].null_count == table["toxicity.toxicity"].null_count == 0
    assert table["toxicity.threat"].null_count == len(texts)


# -- the same bits whatever the split -------------------------------------------------------------------------------


def exact_logits(scorer, texts, workers=1):
    """Before sigmoid and rounding, so that no difference hides behind the fourth decimal."""
    out = np.full((len(texts), 6), -np.inf, np.float32)
    with toxicity.one_thread_each(workers) as pool:
        done = [
            index for part in toxicity._score_block(toxicity._opened(scorer.files), texts, out, pool) for index in part
        ]
    assert sorted(done) == list(range(len(texts)))
    return out


@pytest.mark.parametrize("which", ["scorer", "stand_in"])
def test_bits_do_not_depend_on_split_order_or_threads(which, request):
    scorer = request.getfixturevalue(which)
    texts = sorted(set(sentences(200, seed=5, longest=120)))
    whole = exact_logits(scorer, texts, workers=1)
    np.testing.assert_array_equal(exact_logits(scorer, texts, workers=4), whole)
    order = np.random.default_rng(6).permutation(len(texts))
    shuffled = exact_logits(scorer, [texts[row] for row in order], workers=2)
    np.testing.assert_array_equal(shuffled, whole[order])
    for size in (1, 7, 50):
        few = texts[: size * 3]
        parts = [exact_logits(scorer, few[start : start + size]) for start in range(0, len(few), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole[: len(few)])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=80), max_size=12), st.integers(0, 12))
def test_any_text_scores_alike_alone_and_in_company(scorer, texts, cut):
    whole = scorer.score_texts(texts)
    assert whole.shape == (len(texts), 6)
    np.testing.assert_array_equal(
        np.concatenate([scorer.score_texts(texts[:cut]), scorer.score_texts(texts[cut:])]), whole
    )
    assert ((whole >= 0) & (whole <= 1)).all()
    assert (np.round(whole, 4) == whole).all()


def test_concurrent_calls_agree_and_torchs_thread_count_comes_back(scorer):
    texts = sentences(120, seed=7)
    expected = scorer.score(pa.table({"text": texts}))
    before = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: scorer.score(pa.table({"text": texts})), range(6)))
    assert all(result.equals(expected) for result in results)
    assert torch.get_num_threads() == before


def test_equal_texts_are_scored_once_and_progress_counts_every_text(scorer, monkeypatch):
    seen, forward = [], toxicity._forward
    monkeypatch.setattr(toxicity, "_forward", lambda *a: (seen.append(len(a[1])), forward(*a))[1])
    done = []
    scores = scorer.score_texts(["alpha", "beta", "alpha", "alpha"], progress=done.append)
    assert sum(seen) == 2
    assert sum(done) == 4
    np.testing.assert_array_equal(scores[0], scores[3])
    monkeypatch.setattr(toxicity, "BLOCK_CHARS", 10)
    blocks = list(toxicity._blocks(["alpha", "beta gamma", "x", "", "delta"]))
    assert blocks == [(0, ["alpha", "beta gamma"]), (2, ["x", "", "delta"])]
    assert list(toxicity._blocks([])) == []
    assert scorer.score_texts([]).shape == (0, 6)


# -- as a scorer ----------------------------------------------------------------------------------------------------


def test_score_keeps_rows_and_schema(scorer):
    batch = pa.table({"text": pa.array(["alpha", None, "beta"], pa.large_string())})
    table = scorer.score(batch)
    assert table.schema == SCHEMA
    assert table["toxicity.toxicity"].is_valid().to_pylist() == [True, False, True]
    assert set(table["scored_by"].to_pylist()) == {scorer.digest}
    assert len(scorer.digest) == 16
    assert scorer.score(batch.slice(0, 0)).schema == SCHEMA


def test_a_model_that_returns_no_number_fails_the_row(tmp_path):
    checkpoint = build_checkpoint(tmp_path / "nan", JIGSAW, 6)
    vocabulary = load(str(tmp_path / "nan"))
    word = toxicity._opened(vocabulary.files).tokenizer.token_to_id("gamma")
    checkpoint["state_dict"]["bert.embeddings.word_embeddings.weight"][word] = 3e38  # finite, and its sum is not
    torch.save(checkpoint, tmp_path / "nan" / "tiny.ckpt")
    table = safe_score(load(str(tmp_path / "nan")), pa.table({"text": ["alpha", "gamma", "beta"]}))
    assert table["error"].to_pylist() == ["", "FloatingPointError", ""]
    assert table["toxicity.toxicity"].is_valid().to_pylist() == [True, False, True]


def test_digest_depends_on_bytes_and_not_on_the_folder(folder, scorer, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert load(str(copy)).config() == scorer.config()
    assert load(str(copy / "tiny.ckpt")).digest == scorer.digest
    config = json.loads((copy / "hf/tokenizer_config.json").read_text())
    (copy / "hf/tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 32}))
    assert load(str(copy)).digest != scorer.digest


# -- what is refused ------------------------------------------------------------------------------------------------


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_bomb_is_not_opened(tmp_path, legacy):
    checkpoint = build_checkpoint(tmp_path / "m", JIGSAW, 6)
    checkpoint["config"]["bomb"] = Bomb(str(tmp_path / "exploded"))
    torch.save(checkpoint, tmp_path / "m/tiny.ckpt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match="tensors and plain values"):
        load(str(tmp_path / "m")).open()
    assert not (tmp_path / "exploded").exists()
    (tmp_path / "m/tiny.ckpt").write_bytes(pickle.dumps(Bomb(str(tmp_path / "exploded"))))
    with pytest.raises(UserError, match="tensors and plain values"):
        load(str(tmp_path / "m")).open()
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 truncated"])
def test_damaged_checkpoints_are_refused(folder, tmp_path, content):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "tiny.ckpt").write_bytes(content)
    with pytest.raises(UserError):
        load(str(copy)).open()


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    checkpoint = build_checkpoint(tmp_path / "m", JIGSAW, 6)
    path = tmp_path / "m/tiny.ckpt"
    weight = checkpoint["state_dict"].pop("classifier.weight")
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="lacks the tensor 'classifier.weight'"):
        load(str(path)).open()
    checkpoint["state_dict"]["classifier.weight"] = weight[:, :-1].clone()
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="does not fit"):
        load(str(path)).open()
    checkpoint["state_dict"]["classifier.weight"] = torch.full_like(weight, float("nan"))
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="no finite"):
        load(str(path)).open()
    checkpoint["config"]["arch"]["args"]["model_name"] = "pipeline"
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="no sequence classifier"):
        load(str(path)).open()
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match="not a checkpoint"):
        load(str(path)).open()


def test_a_model_changed_after_loading_is_not_opened(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    scorer = load(str(copy))
    (copy / "tiny.ckpt").write_bytes(b"something else")
    toxicity._open_models.clear()
    with pytest.raises(UserError, match="not opened"):
        scorer.open()


def test_wrong_names_and_folders(tmp_path):
    with pytest.raises(UserError, match="no toxicity model") as caught:
        load("orginal")
    assert "original-small" in caught.value.hint
    with pytest.raises(UserError, match="0 checkpoints"):
        load(str(tmp_path))
    (tmp_path / "a.ckpt").touch()
    with pytest.raises(UserError, match="0 configurations"):
        load(str(tmp_path))
    (tmp_path / "b.ckpt").touch()
    with pytest.raises(UserError, match="2 checkpoints"):
        load(str(tmp_path))


# -- published models -----------------------------------------------------------------------------------------------


@pytest.fixture
def published(folder, tmp_path, monkeypatch):
    """A release page on file:// URLs, with this file's checkpoint under a name that carries its digest."""
    import shutil

    digest = hashlib.sha256((folder / "tiny.ckpt").read_bytes()).hexdigest()
    page = tmp_path / "page"
    shutil.copytree(folder / "hf", page / "some/backbone/resolve/abc")
    shutil.copy(folder / "tiny.ckpt", page / f"tiny-{digest[:8]}.ckpt")
    files = {"config.json": "", "tokenizer.json": "", "tokenizer_config.json": ""}
    spec = Published(f"{page.as_uri()}/tiny-{digest[:8]}.ckpt", digest[:8], "some/backbone", "abc", files)
    monkeypatch.setitem(toxicity_models.PUBLISHED, "original", spec)
    monkeypatch.setattr(toxicity_models, "_HUB", page.as_uri() + "/{backbone}/resolve/{revision}/{name}")
    return page


def test_a_published_model_is_downloaded_once_and_only_when_allowed(published, scorer, tmp_path):
    models = tmp_path / "models"
    refused = load("original", models=models)
    assert isinstance(refused, Unavailable)
    assert "allow" in refused.message
    assert not models.exists()
    assert isinstance(load("original", allow_download=True), Unavailable)  # nowhere to keep it
    first = load("original", models=models, allow_download=True)
    assert first.digest == scorer.digest
    for path in published.rglob("*.*"):
        path.unlink()
    again = load("original", models=models)
    np.testing.assert_array_equal(again.score_texts(["you are kind"]), scorer.score_texts(["you are kind"]))


def test_a_download_with_another_digest_is_not_kept(published, tmp_path):
    (checkpoint,) = published.glob("*.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes() + b"x")
    result = load("original", models=tmp_path / "models", allow_download=True)
    assert isinstance(result, Unavailable)
    assert "RuntimeError" in result.message
    assert not list((tmp_path / "models").rglob("*.ckpt"))
    assert load("original", models=tmp_path / "models", allow_download=True, stand_in=True).files.name == "stand-in"


def test_a_kept_model_that_changed_is_refused_before_it_is_opened(published, tmp_path, monkeypatch):
    models = tmp_path / "models"
    load("original", models=models, allow_download=True)
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("opened"))
    (kept,) = models.rglob("*.ckpt")
    good = kept.read_bytes()
    kept.write_bytes(good[:-1] + b"?")
    with pytest.raises(UserError, match="not opened"):
        load("original", models=models)
    kept.write_bytes(good)
    (pins,) = models.rglob("pins.json")
    pins.write_text(json.dumps({**json.loads(pins.read_text()), "weights": "f" * 64}))
    with pytest.raises(UserError, match="not the published one"):
        load("original", models=models)


def test_published_pins_are_what_the_names_carry():
    from detoxify.detoxify import MODEL_URLS

    assert {name: spec.url for name, spec in toxicity_models.PUBLISHED.items()} == MODEL_URLS
    for spec in toxicity_models.PUBLISHED.values():
        assert len(spec.sha256) >= 8
        assert spec.file_name.endswith(f"-{spec.sha256[:8]}.ckpt")


# -- no model -------------------------------------------------------------------------------------------------------


def test_without_a_model_every_row_is_an_error():
    scorer = load("stand-in")
    assert isinstance(scorer, Unavailable)
    assert "stand_in: true" in scorer.message
    table = safe_score(scorer, pa.table({"text": ["a", "b"]}))
    assert table["error"].to_pylist() == ["NoModel", "NoModel"]
    assert table["toxicity.toxicity"].null_count == 2
    assert scorer.config() != load("stand-in", stand_in=True).config()


# -- the stand-in ---------------------------------------------------------------------------------------------------


def test_the_stand_in_ships_whole_small_and_pinned():
    folder = toxicity_models.STAND_IN_FOLDER
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    assert (folder / "README.md").is_file()
    files = find("stand-in")
    assert files.sha256 == toxicity_models.STAND_IN_SHA256
    assert len(set(files.sha256.values())) == len(files.sha256)


def test_the_stand_in_opens_without_a_network(stand_in, monkeypatch):
    def refuse(*_):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    toxicity._open_models.clear()
    stand_in.open()


HOSTILE = [
    "You are a stupid idiot and nobody likes you.",
    "I'm going to kill you and your family.",
    "Shut the fuck up, you worthless piece of shit.",
    "Immigrants are vermin and should be shot.",
]
HARMLESS = [
    "Return the number of rows in the table.",
    "Kill the child process and abort the transaction; the dummy handler destroys the dirty buffer.",
    "The master node executes the query on every slave and drops orphan records.",
    "Gay people, Muslims and Jews live in the same street as my mother.",
    "The film was boring and the ending was terrible.",
    "Whether to crash on invalid input; trash files are purged.",
]


def test_the_stand_in_tells_hostile_from_harmless(stand_in):
    hostile, harmless = stand_in.score_texts(HOSTILE)[:, 0], stand_in.score_texts(HARMLESS)[:, 0]
    assert hostile.min() > 0.7
    assert harmless.max() < 0.3


def test_the_stand_in_names_the_kind(stand_in):
    scores = dict(zip(HOSTILE, stand_in.score_texts(HOSTILE), strict=True))
    column = {label: LABELS.index(label) for label in LABELS}
    assert scores[HOSTILE[0]][column["insult"]] > 0.6
    assert scores[HOSTILE[1]][column["threat"]] > 0.6
    assert scores[HOSTILE[2]][column["obscene"]] > 0.6
    assert scores[HOSTILE[3]][column["identity_attack"]] > 0.6


def test_a_hostile_sentence_is_found_at_the_end_of_a_long_text(stand_in):
    text = HARMLESS[0] * 200
    assert stand_in.score_texts([text])[0, 0] < 0.3
    assert stand_in.score_texts([f"{text} {HOSTILE[2]}"])[0, 0] > 0.6


def test_stand_in_golden_scores(stand_in):
    """Another result means another model or other arithmetic: it needs a new VERSION or new weights."""
    assert toxicity.VERSION == 3
    assert isinstance(stand_in, Toxicity)
    scores = stand_in.score_texts([HOSTILE[0], HARMLESS[0]])
    np.testing.assert_allclose(scores, GOLDEN, atol=2e-4)


GOLDEN = [[0.8878, 0.0369, 0.1429, 0.0207, 0.8511, 0.0375], [0.0101, 0.0081, 0.0082, 0.0115, 0.0102, 0.0081]]
