"""The evaluation as a stage: its files are a function of run, corpus and config, and can be read back."""

import json
import subprocess
import sys

import numpy as np
import pytest
from evaluation_run import make_corpus, make_run
from pydantic import TypeAdapter, ValidationError

from tasks.learning.evaluate import evaluate, read_evaluation
from tasks.learning.evaluate_config import Evaluate, LinearProbe, MaskedTokens
from tasks.learning.samples import read_samples

PARTS = [MaskedTokens(documents=12, positions=60), LinearProbe(labels=3, train_documents=60, test_documents=24)]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluation")
    corpus = make_corpus(root / "corpus")
    run = make_run(root / "run", corpus, read_samples(corpus, "train")["record_id"].to_pylist())
    told = []
    first = evaluate(run, corpus, PARTS, root / "first", lambda *news: told.append(news))
    second = evaluate(run, corpus, PARTS, root / "second")
    return root, first, second, told


def test_the_same_files_twice(evaluated):
    root, *_ = evaluated
    files = sorted(path.relative_to(root / "first") for path in (root / "first").rglob("*") if path.is_file())
    assert [str(path) for path in files] == [
        "embeddings.npy",
        "labels.json",
        "metrics.json",
        "pictures/embeddings.png",
        "pictures/loss.png",
        "pictures/probe.png",
    ]
    for path in files:
        assert (root / "first" / path).read_bytes() == (root / "second" / path).read_bytes(), path


def test_metrics_have_the_names_and_fields_of_the_interface(evaluated):
    root, first, *_ = evaluated
    metrics = json.loads((root / "first" / "metrics.json").read_text())["metrics"]
    names = {metric["name"] for metric in metrics}
    level = {f"eval/{name}cross_entropy" for name in ("", "unigram_", "bigram_")}
    probes = {f"eval/{name}_top1" for name in ("linear", "random_init", "tfidf", "majority")}
    assert names >= level | probes | {"health/rank_me"}
    assert all(set(metric) == {"name", "value", "low", "high", "n", "seeds"} for metric in metrics)
    assert metrics == first.public()["metrics"]
    assert first.metric("eval/linear_top1").seeds == 1
    assert first.metric("eval/nothing") is None


def test_what_was_written_can_be_read(evaluated):
    root, first, *_ = evaluated
    assert read_evaluation(root / "first") == first
    embeddings = np.load(root / "first" / "embeddings.npy", allow_pickle=False)
    labels = json.loads((root / "first" / "labels.json").read_text())
    assert embeddings.shape == (len(labels), 2 * 32)
    assert first.metric("eval/linear_top1").n == len(labels)


def test_no_text_of_a_document_is_written(evaluated):
    root, *_ = evaluated
    written = (root / "first" / "metrics.json").read_text() + (root / "first" / "labels.json").read_text()
    for word in ("carrot", "harbour", "cyclic", "nothing"):
        assert word not in written


def test_progress_is_told_to_the_end(evaluated):
    *_, told = evaluated
    last = {what: (done, total) for what, done, total in told}
    assert list(last)[:2] == ["masked tokens", "embedding"]
    assert len(last) == 5  # three random-init encoders too
    assert all(done == total for done, total in last.values())


def test_configs_say_what_is_wrong():
    kinds = TypeAdapter(list[Evaluate])
    assert kinds.validate_python([{"kind": "linear-probe", "labels": 5}]) == [LinearProbe(labels=5)]
    assert kinds.validate_python([{"kind": "masked-tokens"}]) == [MaskedTokens()]
    for wrong in ({"kind": "knn"}, {"kind": "linear-probe", "lables": 5}, {"kind": "linear-probe", "labels": 1}):
        with pytest.raises(ValidationError):
            kinds.validate_python([wrong])


def test_a_recipe_is_validated_without_heavy_libraries():
    heavy = "{'torch', 'sklearn', 'transformers', 'matplotlib', 'pyarrow'}"
    code = f"import sys, tasks.learning.evaluate_config; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
