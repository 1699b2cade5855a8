"""The seed's own example in miniature: wikitext's rows and a BERT checkpoint, both in the formats of the hub."""

import json

import pytest
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from flows.recipe import load_recipe
from tests_support import text

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """(a folder as `datasets` finds wikitext-2-raw-v1, a folder as the hub keeps bert-base-uncased)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("hub")
    rows = []
    for number in range(60):
        rows += ["", f" = Article {number} = \n", "", f" {text(number, 8)} \n", f" {text(number + 500, 8)} \n"]
    data = folder / "wikitext"
    data.mkdir()
    (data / "README.md").write_text("---\nlicense:\n- cc-by-sa-3.0\n- gfdl\n---\n# Wikitext\n")
    pq.write_table(pa.table({"text": rows}), data / "train-00000-of-00001.parquet")

    model = folder / "bert"
    model.mkdir()
    words = sorted({word for row in rows for word in row.lower().replace(".", " ").split() if word.isalpha()})
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        ".",
        "=",
        *words,
        *"0123456789",
        *(f"##{n}" for n in range(10)),
    ]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    BertTokenizerFast(vocab=vocabulary, do_lower_case=True, model_max_length=64).save_pretrained(model)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(pieces), max_position_embeddings=64, **shape)
    BertForMaskedLM(config).save_pretrained(model)
    return data, model


def test_bert_goes_on_with_wikitext_and_opens_as_bert(copies, prefect_server, tmp_path):
    from flows.pipeline import pipeline

    data, model = copies
    settings = {
        "sources.0.path": data,
        "sources.0.subset": "null",
        "encoder.continue_from": model,
        "train": json.dumps({"steps": 40, "batch": 8, "sequence_length": 64, "learning_rate": 3e-3, "threads": 1,
                             "optimizer": "adamw", "warmup_steps": 5, "log_every_steps": 10}),
        "evaluate": json.dumps([{"kind": "masked-tokens", "documents": 40, "positions": 400}]),
    }  # fmt: skip
    recipe = load_recipe("bert-wikitext", tuple(f"{key}={value}" for key, value in settings.items()))
    outcome = pipeline(recipe, str(tmp_path / "home"))
    rules = outcome["curate"]["by_rule"]
    assert rules["ingest.empty"] == 120  # wikitext's blank lines: counted, not hidden
    result = outcome["pretrain"]
    assert result["last_loss"] < result["first_loss"] - 0.3
    found = BertForMaskedLM.from_pretrained(result["encoder"])
    assert found.config.hidden_size == 32
    before = BertForMaskedLM.from_pretrained(model).state_dict()
    moved = [name for name, value in found.state_dict().items() if not value.equal(before[name])]
    assert "bert.encoder.layer.0.attention.self.query.weight" in moved
    assert BertTokenizerFast.from_pretrained(result["encoder"]).convert_tokens_to_ids("[MASK]") == 4
    assert outcome["promote"]["reason"].startswith("eval/bigram_minus_cross_entropy")
