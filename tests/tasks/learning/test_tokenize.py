import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_corpora import keyed_texts, write_corpus

from ssl_models.config import Tokenizer
from tasks.errors import UserError
from tasks.learning.tokenize import SPECIAL, copy_tokenizer, tokenizer_sha256, train_tokenizer

TEXTS = keyed_texts(80) | {
    "f" * 32: "Caf\u00e9 CAF\u00c9 \u2603 don't re-enter foo_bar(x)\u2026 12.5 \u4f60\u597d " * 3
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), TEXTS)


@pytest.fixture(scope="module", params=["wordpiece", "bpe"])
def trained(request, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / request.param
    train_tokenizer(corpus, Tokenizer(kind=request.param, vocabulary=300), folder)
    return folder


def test_transformers_opens_it(trained):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == [0, 1, 2, 3, 4]
    assert (tokenizer.pad_token_id, tokenizer.mask_token_id, tokenizer.model_max_length) == (0, 4, 512)
    assert len(tokenizer) <= 300
    text = next(iter(TEXTS.values()))
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (2, 3)
    assert 1 not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    assert tokenizer("a [MASK] b", add_special_tokens=False)["input_ids"].count(4) == 1
    assert tokenizer.tokenize("CAF\u00c9") == tokenizer.tokenize("cafe")
    assert len(tokenizer.tokenize("bal")) == 1, "a frequent word is one piece"


def test_the_same_texts_give_the_same_bytes_in_another_process(trained, tmp_path):
    """Another hash seed, other threads, other shards: the same files. The library's own trainers fail this."""
    again = write_corpus(tmp_path / "again", TEXTS, shards=3, index=False)
    code = (
        "import sys; from pathlib import Path; from ssl_models.config import Tokenizer; "
        "from tasks.learning.tokenize import train_tokenizer; "
        "train_tokenizer(Path(sys.argv[1]), Tokenizer(kind=sys.argv[2], vocabulary=300), Path(sys.argv[3]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, "-c", code, again, trained.name, tmp_path / "two"], check=True, env=environment)
    assert tokenizer_sha256(trained) == tokenizer_sha256(tmp_path / "two")


def test_the_vocabulary_is_as_large_as_asked_and_keeps_case_if_told(corpus, tmp_path):
    train_tokenizer(corpus, Tokenizer(vocabulary=120, lowercase=False), tmp_path)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) == 120
    assert sorted(vocabulary.values()) == list(range(120))
    assert {"C", "##C"} <= set(vocabulary)
    assert any(piece.startswith("##") for piece in vocabulary)


def test_pieces_are_learnt_from_a_share_of_the_text(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", {f"{n:032x}": chr(97 + n) * 3 for n in range(20)})
    train_tokenizer(corpus, Tokenizer(vocabulary=100, training_megabytes=15e-6, minimum_frequency=1), tmp_path / "few")
    pieces = json.loads((tmp_path / "few" / "tokenizer.json").read_text())["model"]["vocab"]
    assert len([piece for piece in pieces if len(piece) == 1]) == 5, "five documents of three bytes make 15 bytes"


def test_a_corpus_without_words_is_refused(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", {"a" * 32: " \n\t "})
    with pytest.raises(UserError, match="no words"):
        train_tokenizer(corpus, Tokenizer(), tmp_path / "out")


def test_a_checkpoints_tokenizer_can_be_taken(trained, tmp_path):
    copy_tokenizer(str(trained), tmp_path / "copy")
    assert (tmp_path / "copy" / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()
    with pytest.raises(UserError, match="no tokenizer can be read"):
        copy_tokenizer(str(tmp_path / "nowhere"), tmp_path / "other")
    with pytest.raises(UserError, match="there is no tokenizer"):
        tokenizer_sha256(Path(tmp_path))


def test_a_tokenizer_without_a_mask_is_refused(trained, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(tmp_path / "bare")
    with pytest.raises(UserError, match="no \\[MASK\\]"):
        copy_tokenizer(str(tmp_path / "bare"), tmp_path / "copy")


def test_byte_pairs_give_every_text_back(corpus, tmp_path):
    """Any text, known or not, and the same files in another process."""
    from tokenizers import Tokenizer as Pipeline

    config = Tokenizer(kind="byte_bpe", vocabulary=400)
    train_tokenizer(corpus, config, tmp_path / "one")
    pipeline = Pipeline.from_file(str(tmp_path / "one" / "tokenizer.json"))
    for text in ["def f(x):\n    return x\t# \u2603\U0001f600  two  spaces ", "CAF\u00c9", *list(TEXTS.values())[:5]]:
        ids = pipeline.encode(text, add_special_tokens=False).ids
        assert pipeline.decode(ids, skip_special_tokens=False) == text
        assert min(ids, default=5) >= len(SPECIAL)
    assert pipeline.encode("bal").ids[0] == 2
    assert pipeline.get_vocab_size() <= 400
    code = (
        "import sys; from pathlib import Path; from ssl_models.config import Tokenizer; "
        "from tasks.learning.tokenize import train_tokenizer; "
        "train_tokenizer(Path(sys.argv[1]), Tokenizer(kind='byte_bpe', vocabulary=400), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, "-c", code, corpus, tmp_path / "two"], check=True, env=environment)
    assert tokenizer_sha256(tmp_path / "one") == tokenizer_sha256(tmp_path / "two")
