"""The whole main job in miniature: what every stage left behind is what the interfaces promise."""

import gc
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.governance.ledger import LEDGER_SCHEMA, count_verdicts, read_ledger
from tasks.governance.lineage import trace
from tasks.governance.manifest import leaf, merkle_root, read_manifest
from tasks.governance.models import models_of
from tasks.governance.verification import verify
from tasks.home import Home
from tests_support import PLANTED, corpus_lines, pieces

pytestmark = pytest.mark.flow


def test_the_api_is_the_sessions_own(prefect_server):
    """First, so that the server's start is not counted to the miniature run: no one's Prefect is touched."""
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_API_URL

    assert "127.0.0.1" in PREFECT_API_URL.value()
    assert str(Path.home() / ".prefect") not in str(PREFECT_API_DATABASE_CONNECTION_URL.value())


def test_the_ledger_is_closed_and_every_row_went_where_its_rule_says(mini):
    _, outcome = mini
    folder = Path(outcome["curate"]["path"])
    ledger = read_ledger(folder / "ledger")
    assert ledger.schema.equals(LEDGER_SCHEMA)
    assert len(ledger) == len(corpus_lines()) == outcome["curate"]["counts"]["read"]
    assert sum(count_verdicts(ledger).values()) == len(ledger)
    fate = {row["uri"].rpartition("#")[2]: (row["verdict"], row["rule"]) for row in ledger.to_pylist()}
    assert fate["no-licence"] == ("quarantine", "licence.missing")
    assert fate["not-allowed"] == ("drop", "licence.not_allowed")
    assert fate["mail"] == ("redact", "pii.email")
    assert fate["short"] == ("drop", "quality.basic.words")
    assert fate["empty"] == ("quarantine", "ingest.empty")
    assert {fate["copy"], fate["doc-0"]} == {("drop", "duplicate.exact"), ("keep", None)}


def test_the_manifest_says_what_is_there(mini):
    _, outcome = mini
    folder = Path(outcome["curate"]["path"])
    manifest = read_manifest(folder)
    assert manifest.counts.closed
    assert verify(folder) == []
    ledger = read_ledger(folder / "ledger")
    kept = ledger.filter(pc.is_valid(ledger["shard"])).sort_by("record_id").to_pylist()
    assert manifest.root == merkle_root(leaf(row["record_id"], row["sample_sha256"], row["licence"]) for row in kept)
    assert sum(shard.samples for shard in manifest.shards) == len(kept) == outcome["curate"]["samples"]


def test_no_personal_data_outside_the_source(mini):
    """Not in the ledger, shards, gate, MLflow store, runs, tokenizer or logs: a scan of every byte under HOME, of what
    tables and databases hold, and of the Prefect server's database.

    The ingest stage holds the text as read, by design; it is the one place.
    """
    from prefect.settings import get_current_settings

    home, _ = mini
    database = Path(str(get_current_settings().server.database.connection_url.get_secret_value()).partition("///")[2])
    files = [path for path in home.rglob("*") if path.is_file()]
    assert database.is_file()
    assert home / "mlflow" / "mlflow.db" in files
    where = {value: set() for value in PLANTED}
    for path in [*files, database]:
        for piece in pieces(path):
            for value in PLANTED:
                if value.encode() in piece:
                    where[value].add(path)
    for value, paths in where.items():
        assert paths, f"the scan must see {value} in the ingest stage"
        assert all(path.relative_to(home).parts[1].startswith("ingest-") for path in paths), paths


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # `datasets` leaves the tar open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_shards_open_for_everyone(mini, tmp_path):
    import datasets
    import webdataset

    _, outcome = mini
    folder = Path(outcome["curate"]["path"])
    tars = sorted(str(path) for path in (folder / "shards").glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    assert len(samples) == outcome["curate"]["samples"]
    fields = json.loads(samples[0]["json"])
    assert set(fields) == set(
        ["id", "source", "uri", "licence", "licence_declared", "obligations", "language", "label", "group"]
    )
    assert all(isinstance(value, str) for value in fields.values())
    loaded = datasets.load_dataset("webdataset", data_files={"train": tars}, split="train", cache_dir=str(tmp_path))
    assert {row["__key__"] for row in loaded} == {sample["__key__"] for sample in samples}
    gc.collect()  # here, where its warning is expected, and not in a later test


def test_the_encoder_opens_with_transformers(mini):
    from transformers import AutoModel, AutoTokenizer

    _, outcome = mini
    model = AutoModel.from_pretrained(outcome["pretrain"]["encoder"])
    tokenizer = AutoTokenizer.from_pretrained(outcome["pretrain"]["encoder"])
    hidden = model(**tokenizer(["The miller turns the grain."], return_tensors="pt")).last_hidden_state
    assert hidden.shape[0] == 1
    assert hidden.shape[2] == model.config.hidden_size


def test_the_readme_shows_how_to_use_the_model(mini, tmp_path):
    _, outcome = mini
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert len(code.strip().splitlines()) <= 9
    (tmp_path / "outcome.json").write_text(json.dumps({"result": outcome}))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "torch.Size([2, 64])", done.stderr[-2000:]


def test_the_figures_stand_beside_their_baselines(mini):
    _, outcome = mini
    names = {metric["name"] for metric in outcome["evaluate"]["metrics"]}
    assert {
        "eval/cross_entropy", "eval/unigram_cross_entropy", "eval/bigram_cross_entropy", "eval/linear_top1",
        "eval/random_init_top1", "eval/tfidf_top1", "eval/majority_top1",
    } <= names  # fmt: skip
    tfidf = next(metric for metric in outcome["evaluate"]["metrics"] if metric["name"] == "eval/tfidf_top1")
    assert tfidf["value"] > 0.9  # the two labels differ in words, so a bag of words must tell them apart
    assert 0 <= tfidf["low"] <= tfidf["value"] <= tfidf["high"] <= 1


def test_from_a_record_to_the_runs_and_models_that_saw_it(mini):
    home, outcome = mini
    place = Home.at(home)
    exposure = pq.read_table(place.run(outcome["pretrain"]["run_id"]) / "exposure.parquet")
    record = exposure["record_id"][0].as_py()
    found = trace(place, record, models_of(place))
    assert found["corpora"][0]["name"] == "mini"
    assert found["runs"][0]["run_id"] == outcome["pretrain"]["run_id"]
    assert found["runs"][0]["model"] == "mini"


def test_mlflow_holds_the_run_with_the_corpus_and_the_model(mini):
    import mlflow

    home, outcome = mini
    client = mlflow.MlflowClient(f"sqlite:///{home}/mlflow/mlflow.db")
    run = client.get_run(outcome["mlflow"]["run_id"])
    root = outcome["curate"]["root"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["gristmill.root"] == root
    assert run.data.tags["gristmill.run_id"] == outcome["pretrain"]["run_id"]
    assert run.inputs.dataset_inputs[0].dataset.digest == root[:32]
    assert "eval/linear_top1" in run.data.metrics
    assert "train/loss" in run.data.metrics


def test_a_second_run_reuses_every_stage_and_adds_nothing(mini):
    from flows.pipeline import pipeline
    from flows.recipe import load_recipe

    home, outcome = mini
    files = {path: path.read_bytes() for path in (home / "corpora").rglob("*") if path.is_file()}
    again = pipeline(load_recipe(str(home.parent / "mini.yaml")), str(home))
    assert all(stage["reused"] for stage in again["stages"]), again["stages"]
    assert {path: path.read_bytes() for path in (home / "corpora").rglob("*") if path.is_file()} == files
    assert again["curate"]["root"] == outcome["curate"]["root"]
    assert again["mlflow"]["run_id"] == outcome["mlflow"]["run_id"]


def test_the_audit_page_shows_it_all(mini):
    _, outcome = mini
    page = Path(outcome["audit"]["report"]).read_text()
    for word in (outcome["curate"]["root"], "licence.missing", "pii.email", outcome["pretrain"]["run_id"], "MIT"):
        assert word in page
    assert "http" not in page.replace("http-equiv", "")  # it asks no outside address for anything
    assert "<script" not in page


def test_prefect_shows_the_artifacts(mini):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        keys = {artifact.key for artifact in client.read_artifacts()}
    assert {"mini-gate", "mini-ledger", "mini-lineage", "mini-evaluation"} <= keys
