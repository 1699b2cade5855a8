"""Names by a model: a small one, trained here in the format of the real ones."""

import json
import pickle
import random

import pyarrow as pa
import pytest
import yaml

from data_policies.load import PolicyError, validate
from data_policies.schema import Ner
from tasks.curation import pii_names
from tasks.curation.pii import Pii
from tasks.curation.pii_names import open_names
from tasks.engine import score_table
from tasks.errors import UserError
from tests_support import corpus_lines, write_recipe

KEY = b"0123456789abcdef0123456789abcdef"
FIRST = [
    "anna",
    "ben",
    "clara",
    "david",
    "emma",
    "felix",
    "greta",
    "hugo",
    "ida",
    "jonas",
    "karla",
    "leon",
    "mia",
    "noah",
    "olga",
    "paul",
]
LAST = ["keller", "brandt", "vogel", "sommer", "winter", "lang", "kurz", "weber", "fuchs", "wolf", "adler", "roth"]
STREETS = ["mill", "river", "baker", "church", "garden", "market"]
WORDS = [
    "the",
    "mill",
    "grinds",
    "wheat",
    "near",
    "a",
    "river",
    "while",
    "two",
    "sacks",
    "of",
    "fresh",
    "flour",
    "wait",
    "and",
    "every",
    "stone",
    "turns",
]
SAY = ["said", "met", "wrote", "thanked", "asked"]
LABELS = ["O", "B-PER", "I-PER", "B-ADDRESS", "I-ADDRESS"]


def sentence(draw):
    """Words and their labels; a name follows a verb of saying, an address the word at."""
    words, labels = [], []
    for _ in range(draw.randint(1, 3)):
        filler = [draw.choice(WORDS) for _ in range(draw.randint(2, 6))]
        words += filler
        labels += ["O"] * len(filler)
        if draw.random() < 0.6:
            words += [draw.choice(SAY), draw.choice(FIRST), draw.choice(LAST)]
            labels += ["O", "B-PER", "I-PER"]
        else:
            words += ["at", str(draw.randint(10, 99)), draw.choice(STREETS), "street"]
            labels += ["O", "B-ADDRESS", "I-ADDRESS", "I-ADDRESS"]
    return words, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("ner")
    known = [*WORDS, *FIRST, *LAST, *STREETS, *SAY, "at", "street", ".", ",", *map(str, range(10, 100))]
    vocabulary = {word: n for n, word in enumerate(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *known]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(place)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, id2label=dict(enumerate(LABELS)), label2id={n: i for i, n in enumerate(LABELS)},
    )  # fmt: skip
    model = BertForTokenClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    draw = random.Random(0)
    for _ in range(60):
        rows = [sentence(draw) for _ in range(16)]
        most = max(len(words) for words, _ in rows)
        ids = torch.tensor([[vocabulary[w] for w in words] + [0] * (most - len(words)) for words, _ in rows])
        labels = torch.tensor([[LABELS.index(n) for n in names] + [-100] * (most - len(names)) for _, names in rows])
        loss = model(input_ids=ids, attention_mask=(ids > 0).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(place, safe_serialization=True)
    return place


@pytest.fixture(scope="module")
def names(folder):
    return open_names(Ner(model=str(folder)))


def marked(text, found):
    return [(item.type, text[item.start : item.end]) for item in found]


def test_names_and_addresses_are_found(names):
    text = "the mill grinds wheat and thanked anna keller near a river at 23 baker street"
    (found,) = names.find([text])
    assert marked(text, found) == [("person", "anna keller"), ("address", "23 baker street")]


def test_most_of_what_is_planted_is_found(names):
    draw = random.Random(99)
    wanted = right = said = 0
    for _ in range(60):
        words, labels = sentence(draw)
        text = " ".join(words)
        planted = {(n, m) for n, m in zip(words, words[1:], strict=False) if n in FIRST and m in LAST}
        found = {tuple(text[f.start : f.end].split()) for f in names.find([text])[0] if f.type == "person"}
        wanted, right, said = wanted + len(planted), right + len(planted & found), said + len(found)
    assert right / wanted > 0.95
    assert right / said > 0.95


def test_nulls_and_empty_texts_have_none(names):
    assert names.find([None, "", "the mill"]) == [[], [], []]


def test_a_text_longer_than_a_window_is_read_to_its_end(names):
    parts = [f"the mill grinds wheat and thanked {FIRST[n % 16]} {LAST[n % 12]}" for n in range(40)]
    text = " ".join(parts)
    (found,) = names.find([text])
    people = [text[item.start : item.end] for item in found if item.type == "person"]
    assert people == [f"{FIRST[n % 16]} {LAST[n % 12]}" for n in range(40)]


def test_what_stands_beside_does_not_matter(names):
    texts = [" ".join(sentence(random.Random(n))[0]) for n in range(30)]
    together = names.find(texts)
    assert together == [names.find([text])[0] for text in texts]
    assert pickle.loads(pickle.dumps(names)).find(texts) == together  # noqa: S301 - Ray carries scorers so


def test_spans_beside_the_patterns(names):
    text = "two sacks thanked anna keller near joe@site.com"
    scanner = Pii(KEY, names=names)
    spans = scanner.find(text)
    assert [(s["type"], text[s["start"] : s["end"]]) for s in spans] == [
        ("person", "anna keller"),
        ("email", "joe@site.com"),
    ]
    assert spans == scanner.score(pa.table({"text": pa.array([text, None], pa.large_string())}))["spans"].to_pylist()[0]
    assert spans[1:] == Pii(KEY).find(text)
    assert scanner.config()["names"]["model"] == names.digest
    assert "names" not in Pii(KEY).config()


def test_a_word_is_never_cut(names):
    for text in ("thanked anna keller.", "thanked anna-keller", "asked Ännaanna"):
        for item in names.find([text])[0]:
            assert not (item.start and text[item.start - 1].isalnum() and text[item.start].isalnum())
            assert not (item.end < len(text) and text[item.end].isalnum() and text[item.end - 1].isalnum())


def test_a_score_below_the_minimum_does_not_count(folder):
    sure = open_names(Ner(model=str(folder), minimum_score=1.0))
    assert sum(map(len, sure.find(["wheat and thanked stone river"]))) == 0


@pytest.mark.parametrize("name", pii_names.NEEDED)
def test_without_its_files_nothing_runs(folder, tmp_path, name):
    for file in pii_names.NEEDED:
        if file != name:
            (tmp_path / file).write_bytes((folder / file).read_bytes())
    with pytest.raises(UserError, match=f"has no {name}") as caught:
        open_names(Ner(model=str(tmp_path)))
    assert caught.value.exit_code == 2


def test_another_digest_than_the_pinned_one_is_refused(folder, names):
    assert open_names(Ner(model=str(folder), sha256=names.digest)).digest == names.digest
    with pytest.raises(UserError, match="it was not opened"):
        open_names(Ner(model=str(folder), sha256="0" * 64))


def test_a_model_without_the_labels_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="none of the labels"):
        open_names(Ner(model=str(folder), labels={"LOC": "address"}))
    for file in pii_names.NEEDED:
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "id2label"}))
    with pytest.raises(UserError, match="names no labels"):
        open_names(Ner(model=str(tmp_path)))


def test_a_file_that_changes_after_the_check_is_not_opened(folder, tmp_path):
    for file in pii_names.NEEDED:
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    names = open_names(Ner(model=str(tmp_path), minimum_score=0.4, sha256=None))
    (tmp_path / "tokenizer.json").write_bytes((tmp_path / "tokenizer.json").read_bytes() + b" ")
    pii_names._open_models.clear()
    with pytest.raises(RuntimeError, match="has changed"):
        names.find(["the mill"])


def test_through_the_engine_a_row_that_the_model_cannot_read_is_an_error_and_the_others_stay(names, monkeypatch):
    texts = ["thanked anna keller", "the stone", "wrote to ben vogel"]
    table = pa.table({"record_id": ["0", "1", "2"], "text": pa.array(texts, pa.large_string())})
    whole = score_table(table, Pii(KEY, names=names)).to_pylist()
    assert [[span["type"] for span in row["spans"]] for row in whole] == [["person"], [], ["person"]]
    read = pii_names.Names.find

    def fails(self, texts):
        if "the stone" in texts:
            raise FloatingPointError("the stone")
        return read(self, texts)

    monkeypatch.setattr(pii_names.Names, "find", fails)
    rows = score_table(table, Pii(KEY, names=names)).to_pylist()
    assert [row["error"] for row in rows] == ["", "FloatingPointError", ""]  # decide: quarantine, error.pii
    assert [row["spans"] for row in rows] == [whole[0]["spans"], None, whole[2]["spans"]]


def test_the_input_check_says_that_the_model_is_missing(tmp_path):
    from flows.preflight import check
    from flows.recipe import load_recipe

    policy = {"name": "x", "version": 1, "owner": "t", "reason": "t", "licences": {"allow": ["MIT"]}}
    policy |= {"pii": {"person": "redact"}, "ner": {"model": str(tmp_path / "nowhere")}}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy))
    path = write_recipe(tmp_path, corpus_lines(3), policy=str(tmp_path / "policy.yaml"))
    with pytest.raises(UserError, match=r"has no config.json"):
        check(load_recipe(str(path)))


def test_no_model_asked_for_none_opened():
    assert open_names(None) is None


@pytest.mark.parametrize(("kind", "action"), [("person", "redact"), ("address", "drop"), ("person", "pseudonymise")])
def test_a_policy_cannot_ask_for_names_without_a_model(kind, action):
    policy = {
        "name": "x",
        "version": 1,
        "owner": "t",
        "reason": "t",
        "licences": {"allow": ["MIT"]},
        "pii": {kind: action},
    }
    with pytest.raises(PolicyError, match=f"pii.{kind} asks for what only a model finds"):
        validate(policy, "x.yaml")
    assert validate({**policy, "ner": {"model": "folder"}}, "x.yaml").ner.labels["PER"] == "person"
    assert validate({**policy, "pii": {kind: "keep"}}, "x.yaml").ner is None
