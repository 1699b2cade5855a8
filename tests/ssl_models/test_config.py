import dataclasses
import json
import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from ssl_models.config import CorpusRef, MaskedLanguageModelling, TextEncoder, Tokenizer, Train, TrainSpec

CORPUS = CorpusRef(name="docs", version=1, root="ab" * 32, folder="corpora/docs/v1")


def spec(**changes):
    values = {
        "run_id": "docs-0123456789ab",
        "recipe": "docs",
        "recipe_sha256": "0" * 64,
        "folder": "runs/docs-0123456789ab",
        "tokenizer_folder": "stages/tokenizer-0",
        "tokenizer_sha256": "1" * 64,
        "corpus": CORPUS,
        "encoder": TextEncoder(),
        "objective": MaskedLanguageModelling(),
        "train": Train(),
    }
    return TrainSpec(**{**values, **changes})


def test_validating_a_recipe_imports_no_torch():
    code = "import sys, ssl_models.config; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", [Tokenizer, TextEncoder, MaskedLanguageModelling, Train])
def test_unknown_keys_are_refused_and_values_frozen(kind):
    with pytest.raises(ValidationError, match="unexpected"):
        TypeAdapter(kind).validate_python({"learning_rte": 1})
    value = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (TextEncoder, {"width": 100, "heads": 3}, "multiple of heads"),
        (TextEncoder, {"width": 18, "heads": 2}, "even width per head"),
        (TextEncoder, {"continue_from_sha256": "0" * 64}, "without continue_from"),
        (MaskedLanguageModelling, {"mask_share": 0.8, "random_share": 0.3}, "more than 1"),
        (MaskedLanguageModelling, {"mask_probability": 0}, "greater than 0"),
        (Tokenizer, {"kind": "unigram"}, "'wordpiece', 'bpe' or 'byte_bpe'"),
        (Tokenizer, {"kind": "byte_bpe", "vocabulary": 200}, "256 bytes"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(kind, values, says):
    with pytest.raises(ValidationError, match=says):
        kind(**values)


def test_rows_longer_than_the_encoder_takes_are_refused():
    with pytest.raises(ValidationError, match="sequence_length 256 is more than"):
        spec(encoder=TextEncoder(maximum_tokens=128), train=Train(sequence_length=256))


def test_a_spec_survives_its_file(tmp_path):
    path = tmp_path / "SPEC.json"
    spec().write(path)
    assert TrainSpec.read(path) == spec()
    broken = json.loads(path.read_text())
    broken["train"]["stepz"] = 3
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="train.stepz"):
        TrainSpec.read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"folder": "elsewhere"},
        {"tokenizer_folder": "elsewhere"},
        {"corpus": dataclasses.replace(CORPUS, folder="elsewhere", version=2)},
        {"train": Train(checkpoint_every_steps=7, keep_checkpoints=1, log_every_steps=3)},
    ],
)
def test_the_digest_ignores_what_decides_no_weight(change):
    assert spec(**change).digest() == spec().digest()


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer_sha256": "2" * 64},
        {"corpus": dataclasses.replace(CORPUS, root="cd" * 32)},
        {"train": Train(seed=1)},
        {"encoder": TextEncoder(layers=5)},
        {"objective": MaskedLanguageModelling(mask_probability=0.3)},
    ],
)
def test_the_digest_knows_what_decides_the_weights(change):
    assert spec(**change).digest() != spec().digest()
