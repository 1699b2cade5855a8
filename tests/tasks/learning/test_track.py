import contextlib
import json
import logging
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from interface_corpora import write_corpus, write_encoder, write_run

from tasks.errors import UserError, VerificationFailed
from tasks.governance import mlflow_store
from tasks.governance.mlflow_store import Store, without_credentials
from tasks.governance.registry import REQUIREMENTS
from tasks.home import Home
from tasks.learning import projection
from tasks.learning.projection import evaluation_metrics, flatten, metric_name, read_metrics, scrub
from tasks.learning.track import Tracking

RECIPE = {
    "name": "tiny",
    "sources": [
        {"kind": "files", "name": "docs", "path": "s3://key:hunter2@bucket/docs.jsonl", "columns": {"text": "body"}}
    ],
    "train": {"steps": 30, "seed": 1, "learning_rate": 1e-3, "warmup": None},
    "evaluate": ["masked", "probe"],
}
FIGURES = [
    {"name": "eval/linear_top1", "value": 0.5, "low": 0.4, "high": 0.6, "n": 100, "seeds": 1},
    {"name": "eval/unigram_cross_entropy", "value": 6.1, "low": None, "high": None, "n": 9, "seeds": 1},
    {"name": "health/rank_me_probe", "value": 7.5},
]
PREFECT = {"flow_run_id": "0b6c", "url": "http://127.0.0.1:4200/runs/flow-run/0b6c"}

LOOK_UP = """
import json, sys
from pathlib import Path
from tasks.home import Home
from tasks.learning.track import Tracking

home, run, corpus, recipe, figures = map(json.loads, sys.argv[1:])
tracking, run = Tracking(Home.at(home)), Path(run)
result = tracking.project_run(run, Path(corpus), recipe, {"metrics": figures}, {"flow_run_id": "another"})
answers = [tracking.current("tiny"), tracking.model_versions_of(run.name)]
assert not {"mlflow", "torch", "daft", "duckdb", "sqlalchemy"} & set(sys.modules)
print(json.dumps([result, *answers]))
"""


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory) -> Path:
    """An empty MLflow database, made once (its migrations take seconds)."""
    home = Home.at(tmp_path_factory.mktemp("store"))
    Store(home).client()
    return Store(home).database


@pytest.fixture(scope="module")
def place(tmp_path_factory, empty_store) -> Home:
    """One HOME for the module: MLflow checks a database's schema, slowly, once for each path."""
    home = Home.at(tmp_path_factory.mktemp("place") / "home")
    home.mlflow.mkdir(parents=True)
    shutil.copyfile(empty_store, Store(home).database)
    return home


@pytest.fixture
def home(place, empty_store) -> Home:
    """That HOME, emptied. MLflow keeps connections open, so the database is emptied in place."""
    for folder in (place.root / "corpora", place.runs, place.mlflow / "artifacts"):
        shutil.rmtree(folder, ignore_errors=True)
    restore(empty_store, Store(place).database)
    return place


def restore(source: Path, database: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as empty, contextlib.closing(sqlite3.connect(database)) as target:
        empty.backup(target)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "encoder"
    write_encoder(folder)
    return folder


@pytest.fixture
def prepare(encoder, texts):
    """A corpus and a finished run on it, as many runs as are asked for."""

    def build(home: Home, run_id: str = "tiny-0123456789ab", steps: int = 30):
        corpus = home.corpus("tiny") / "v1"
        made = write_corpus(home, texts[:10]) if not corpus.exists() else None
        run = write_run(home, made or prepared[home], run_id, steps, encoder=False)
        prepared.setdefault(home, made)
        shutil.copytree(encoder, run / "encoder")
        return run, corpus

    prepared: dict = {}
    return build


def project(home, run, corpus, figures=FIGURES, recipe=RECIPE, **more):
    return Tracking(home).project_run(run, corpus, recipe, {"metrics": figures, **more}, PREFECT)


def again(home, run, corpus, **more):
    (run / "mlflow.json").unlink(missing_ok=True)
    return project(home, run, corpus, **more)


def the_run(home, result):
    return Store(home).client().get_run(result["run_id"])


def contents(home: Home, when: bool = False) -> dict:
    """What the store holds, without its random ids and (unless `when`) its times."""
    with contextlib.closing(sqlite3.connect(Store(home).database)) as connection:
        ask = lambda sql: sorted(map(repr, connection.execute(sql).fetchall()))  # noqa: E731
        clock = ", timestamp" if when else ""
        return {
            "runs": ask("SELECT name, status, lifecycle_stage FROM runs"),
            "tags": ask("SELECT key, value FROM tags"),
            "params": ask("SELECT key, value FROM params"),
            "metrics": ask(f"SELECT key, step, value, is_nan{clock} FROM metrics"),
            "latest": ask("SELECT key, step, value FROM latest_metrics"),
            "datasets": ask("SELECT name, digest, dataset_source_type, dataset_profile FROM datasets"),
            "inputs": ask("SELECT source_type, destination_type, step FROM inputs"),
            "input_tags": ask("SELECT name, value FROM input_tags"),
            "models": ask("SELECT name, status, lifecycle_stage FROM logged_models"),
            "model_tags": ask("SELECT tag_key, tag_value FROM logged_model_tags"),
            "versions": ask("SELECT name, version, description, status FROM model_versions"),
            "version_tags": ask("SELECT name, version, key, value FROM model_version_tags"),
            "files": sorted(
                {path.name for path in (home.mlflow / "artifacts").rglob("*") if path.is_file()}
            ),
        }  # fmt: skip


def test_a_run_is_projected_whole(home, prepare, tmp_path):
    run_folder, corpus = prepare(home, steps=150)  # 8 figures a line: more than one batch of 1,000
    picture = tmp_path / "loss.png"
    picture.write_bytes(b"\x89PNG")
    result = project(home, run_folder, corpus, pictures={"loss": str(picture)})
    client = Store(home).client()
    run = client.get_run(result["run_id"])
    manifest = json.loads((corpus / "manifest.json").read_text())
    assert client.get_experiment(result["experiment_id"]).name == result["experiment"] == "tiny"
    assert (run.info.status, run.info.run_name, result["reused"]) == ("FINISHED", "tiny-0123456789ab", False)
    assert run.info.end_time - run.info.start_time == 15_000
    expected = {
        "gristmill.corpus": "tiny@v1",
        "gristmill.root": manifest["root"],
        "gristmill.policy_sha256": manifest["policy"]["sha256"],
        "gristmill.run_id": "tiny-0123456789ab",
        "prefect.flow_run_id": "0b6c",
        "prefect.url": PREFECT["url"],
    }
    assert expected.items() <= run.data.tags.items()
    assert run.data.params == {
        "name": "tiny",
        "sources.0.kind": "files",
        "sources.0.name": "docs",
        "sources.0.path": "s3://***@bucket/docs.jsonl",
        "sources.0.columns.text": "body",
        "train.steps": "30",
        "train.seed": "1",
        "train.learning_rate": "0.001",
        "train.warmup": "null",
        "evaluate": '["masked", "probe"]',
    }
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    names = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "train/learning_rate"}
    names |= {"tokens_per_second": "throughput/tokens_per_second", "starved_percent": "data/starved_percent"}
    names |= {"tokens": "data/tokens", "health/rank_me": "health/rank_me"}
    for field, name in names.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [(metric.step, metric.value) for metric in history] == [(line["step"], line[field]) for line in lines]
        assert [metric.timestamp - run.info.start_time for metric in history] == [
            int(1000 * line["seconds"]) for line in lines
        ]
    figures = {"eval/linear_top1": 0.5, "eval/linear_top1_low": 0.4, "eval/linear_top1_high": 0.6}
    figures |= {"eval/unigram_cross_entropy": 6.1, "health/rank_me_probe": 7.5}
    assert {name: run.data.metrics[name] for name in set(run.data.metrics) - set(names.values())} == figures
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {"corpus", "evaluation.json", "exposure.json", "pictures", "recipe.yaml"}
    stored = Path(client.download_artifacts(run.info.run_id, ""))
    assert "hunter2" not in (stored / "recipe.yaml").read_text()
    assert yaml.safe_load((stored / "recipe.yaml").read_text())["train"] == RECIPE["train"]
    assert json.loads((stored / "corpus" / "manifest.json").read_text()) == manifest
    exposure = json.loads((stored / "exposure.json").read_text())
    assert exposure["documents"] == manifest["splits"]["train"] == exposure["by_licence"]["MIT"]
    assert exposure["by_source"] == {"docs": manifest["splits"]["train"]}


def test_the_corpus_is_a_dataset_input_with_its_merkle_root(home, prepare):
    run_folder, corpus = prepare(home)
    run = the_run(home, project(home, run_folder, corpus))
    root = json.loads((corpus / "manifest.json").read_text())["root"]
    (given_input,) = run.inputs.dataset_inputs
    assert (given_input.dataset.name, given_input.dataset.digest) == ("tiny@v1", root[:32])
    assert {tag.key: tag.value for tag in given_input.tags} == {
        "mlflow.data.context": "pretraining",
        "gristmill.root": root,
    }
    import mlflow.data

    assert mlflow.data.get_source(given_input.dataset).load() == str(corpus)


def test_the_model_is_registered_with_the_way_back(home, prepare):
    run_folder, corpus = prepare(home)
    result = project(home, run_folder, corpus)
    client = Store(home).client()
    version = client.get_model_version(result["model"], result["version"])
    assert (version.name, str(version.version), version.run_id, version.status) == (
        "tiny",
        "1",
        result["run_id"],
        "READY",
    )
    run = the_run(home, result)
    tags = {key: value for key, value in run.data.tags.items() if key.startswith("gristmill.")}
    assert version.tags == tags
    assert "| eval/linear_top1 | 0.5000 | 0.4000 to 0.6000 | 100 |" in version.description
    (output,) = run.outputs.model_outputs
    assert (version.source, output.step) == (f"models:/{output.model_id}", 30)
    assert json.loads(client.get_logged_model(output.model_id).tags["mlflow.modelVersions"]) == [
        {"name": "tiny", "version": "1"}
    ]


def test_projecting_again_adds_nothing(home, prepare):
    run_folder, corpus = prepare(home)
    first = project(home, run_folder, corpus)
    before = contents(home, when=True)
    assert again(home, run_folder, corpus) == first
    assert again(home, run_folder, corpus) == first
    assert contents(home, when=True) == before


def test_a_projection_that_is_done_is_only_looked_up(home, prepare):
    run_folder, corpus = prepare(home)
    first = project(home, run_folder, corpus)
    values = [json.dumps(value) for value in (str(home.root), str(run_folder), str(corpus), RECIPE, FIGURES)]
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOOK_UP, *values], capture_output=True, text=True, check=True
    )
    assert json.loads(out.stdout) == [
        first | {"reused": True},
        None,
        [{"model": "tiny", "version": "1", "aliases": []}],
    ]
    assert out.stderr == ""


def test_what_was_done_is_done_again_when_it_is_gone(home, prepare, empty_store):
    run_folder, corpus = prepare(home)
    first = project(home, run_folder, corpus)
    assert project(home, run_folder, corpus)["reused"]
    client = Store(home).client()
    client.delete_run(first["run_id"])
    second = project(home, run_folder, corpus)
    assert (second["reused"], second["run_id"] != first["run_id"]) == (False, True)
    client.delete_model_version("tiny", second["version"])
    assert project(home, run_folder, corpus)["version"] == "3"
    client.delete_experiment(second["experiment_id"])
    assert client.get_experiment(project(home, run_folder, corpus)["experiment_id"]).lifecycle_stage == "active"


class Killed(BaseException):
    """What a kill is to the code that it hits: nothing catches it."""


class Fragile:
    """The client, until its `fuse`-th call that writes has been done."""

    def __init__(self, client, fuse=None):
        self.client, self.fuse, self.writes = client, fuse, []

    def __getattr__(self, name):
        method = getattr(self.client, name)
        if name.startswith(("get_", "search_", "list_")):
            return method

        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            self.writes.append(name)
            if len(self.writes) == self.fuse:
                raise Killed(name)
            return result

        return call


def test_a_kill_after_any_write_is_made_good_by_the_next_run(home, prepare, empty_store, monkeypatch):
    run_folder, corpus = prepare(home, steps=20)
    client = Store(home).client()

    def attempt(fuse=None):
        fragile = Fragile(client, fuse)
        monkeypatch.setattr(Store, "client", lambda store: fragile)
        project(home, run_folder, corpus)
        return fragile.writes

    writes = attempt()
    expected = contents(home)
    assert len(writes) >= 12
    assert {"create_run", "log_batch", "log_inputs", "log_model_artifacts", "create_model_version"} < set(writes)
    for fuse, name in enumerate(writes, start=1):
        restore(empty_store, Store(home).database)
        shutil.rmtree(home.mlflow / "artifacts")
        (run_folder / "mlflow.json").unlink()
        with pytest.raises(Killed):
            attempt(fuse)
        assert not (run_folder / "mlflow.json").exists()
        attempt()
        assert contents(home) == expected, f"after a kill in {name}"


def test_training_that_went_on_adds_its_steps_only(home, prepare):
    run_folder, corpus = prepare(home, steps=10)
    state = json.loads((run_folder / "run.json").read_text())
    (run_folder / "run.json").write_text(json.dumps(state | {"status": "running"}))
    first = project(home, run_folder, corpus, figures=[])
    assert the_run(home, first).info.status == "RUNNING"
    log = run_folder / "metrics.jsonl"
    log.write_text(log.read_text() + '{"step": 11, "loss": 1.5, "seconds": 1.1}\n{"step": 12, "lo')
    (run_folder / "run.json").write_text(json.dumps(state))
    second = project(home, run_folder, corpus, figures=[])
    assert second["run_id"] == first["run_id"]
    history = Store(home).client().get_metric_history(first["run_id"], "train/loss")
    assert [metric.step for metric in history] == list(range(1, 12))
    assert the_run(home, second).info.status == "FINISHED"


def test_a_run_without_an_encoder_has_no_model(home, prepare):
    run_folder, corpus = prepare(home)
    shutil.rmtree(run_folder / "encoder")
    result = project(home, run_folder, corpus)
    assert (result["model"], result["version"]) == (None, None)
    assert project(home, run_folder, corpus)["reused"]
    assert Tracking(home).model_versions_of(run_folder.name) == []


def test_a_new_evaluation_brings_new_figures_and_no_new_version(home, prepare):
    run_folder, corpus = prepare(home)
    first = project(home, run_folder, corpus)
    better = [FIGURES[0] | {"value": 0.75}]
    changed = {**RECIPE, "evaluate": ["probe"]}
    second = project(home, run_folder, corpus, figures=better, recipe=changed)
    assert {**second, "reused": False} == first
    run = the_run(home, second)
    assert run.data.metrics["eval/linear_top1"] == 0.75
    assert run.data.params["evaluate"] == '["masked", "probe"]'  # MLflow writes a param once
    assert run.data.tags["gristmill.params_changed"] == "evaluate"
    assert "0.7500" in Store(home).client().get_model_version("tiny", "1").description


def test_another_encoder_is_another_version(home, prepare):
    run_folder, corpus = prepare(home)
    project(home, run_folder, corpus)
    config = run_folder / "encoder" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert project(home, run_folder, corpus)["version"] == "2"
    assert [item["version"] for item in Tracking(home).model_versions_of(run_folder.name)] == ["1", "2"]


def test_recipes_beyond_the_limits_of_a_batch(home, prepare):
    run_folder, corpus = prepare(home)
    recipe = {"name": "tiny", **{f"group{n}": {"key": n} for n in range(230)}, "long": "x" * 7000}
    params = the_run(home, project(home, run_folder, corpus, recipe=recipe)).data.params
    assert len(params) == 232
    assert params["long"] == "x" * 6000
    assert params["group229.key"] == "229"


def test_the_registered_model_embeds_texts_without_a_pickle(home, prepare, monkeypatch):
    import mlflow.pyfunc
    import pandas
    import torch
    from transformers import AutoModel, AutoTokenizer

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    run_folder, corpus = prepare(home)
    result = project(home, run_folder, corpus)
    with Store(home).as_default():
        model = mlflow.pyfunc.load_model(f"models:/tiny/{result['version']}")
    names = {path.name for path in (home.mlflow / "artifacts").rglob("*") if path.is_file()}
    assert names >= {"MLmodel", "model.safetensors", "served_model.py", "requirements.txt", "input_example.json"}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".bin", ".pt", ".pth"))]
    texts = ["a longer text that is cut " * 9, "grind", "", "two words"] * 12
    tokenizer = AutoTokenizer.from_pretrained(run_folder / "encoder")
    encoder = AutoModel.from_pretrained(run_folder / "encoder").eval()
    expected = []
    for text in texts:  # one text at a time: no padding, no mask
        with torch.inference_mode():
            tokens = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")["input_ids"]
            states = encoder(tokens, output_hidden_states=True)
            expected.append(torch.cat([states.hidden_states[0][0].mean(0), states.last_hidden_state[0].mean(0)]))
    column = pandas.DataFrame({"text": texts})
    for given_texts in (texts, column, column["text"]):
        table = model.predict(given_texts)
        assert list(table.columns) == ["embedding"]
        torch.testing.assert_close(
            torch.tensor(table["embedding"].tolist()), torch.stack(expected), atol=1e-5, rtol=1e-4
        )
    assert model.metadata.signature is not None
    assert len(model.predict(model.input_example)) == 1
    requirements = next((home.mlflow / "artifacts").rglob("requirements.txt")).read_text().splitlines()
    assert {line.split("==")[0] for line in requirements} == set(REQUIREMENTS)
    assert not [line for line in requirements if "+" in line]


@pytest.fixture
def two_versions(home, prepare):
    for number in (1, 2):
        run_folder, corpus = prepare(home, run_id=f"tiny-{number:012x}", steps=10 * number)
        project(home, run_folder, corpus, recipe=RECIPE | {"train": {"steps": 10 * number, "seed": 1}})
    return Tracking(home)


def test_promotion_moves_the_alias_and_says_why(home, two_versions):
    tracking = two_versions
    assert tracking.current("tiny") is None
    one = {"model": "tiny", "version": "1", "alias": "champion", "previous": None, "changed": True}
    assert tracking.promote("tiny", 1, reason="the first") == one
    assert tracking.promote("tiny", "1", reason="said twice") == one | {"previous": "1", "changed": False}
    assert tracking.promote("tiny", "2", reason="better by 0.1") == one | {"version": "2", "previous": "1"}
    assert (tracking.current("tiny"), tracking.current("tiny", "audited"), tracking.current("none")) == (
        "2",
        None,
        None,
    )
    tags = Store(home).client().get_model_version("tiny", "2").tags
    assert (tags["gristmill.promoted.champion"], tags["gristmill.previous.champion"]) == ("better by 0.1", "1")
    with pytest.raises(UserError, match="no version 7"):
        tracking.promote("tiny", 7)
    assert tracking.current("tiny") == "2"


def test_looking_and_asking_mlflow_give_the_same_answers(home, two_versions, monkeypatch):
    tracking = two_versions
    for version, alias in ((1, "audited"), (1, "champion"), (2, "candidate")):
        tracking.promote("tiny", version, alias, "a test")

    def answers():
        runs = [tracking.model_versions_of(f"tiny-{number:012x}") for number in (1, 2, 3)]
        return [*runs, *(tracking.current("tiny", alias) for alias in ("audited", "champion", "candidate", "none"))]

    looked = answers()
    assert looked[0] == [{"model": "tiny", "version": "1", "aliases": ["audited", "champion"]}]
    with monkeypatch.context() as patch:
        patch.setattr(Store, "look", lambda store, sql, *values: None)
        assert answers() == looked
    Store(home).client().delete_model_version("tiny", "1")
    looked = answers()
    assert looked[:1] == [[]]
    monkeypatch.setattr(Store, "look", lambda store, sql, *values: None)
    assert answers() == looked


def test_runs_are_compared_side_by_side(home, two_versions):
    names = [f"tiny-{number:012x}" for number in (1, 2)]
    rows = {(row["kind"], row["name"]): row["values"] for row in two_versions.compare(names)}
    assert {name for kind, name in rows if kind == "param"} == {"train.steps"}
    assert rows["param", "train.steps"] == dict(zip(names, ("10", "20"), strict=True))
    assert rows["metric", "train/loss"] == dict(zip(names, (4.9, 4.8), strict=True))
    assert ("metric", "eval/linear_top1_low") in rows
    assert not [name for kind, name in rows if kind == "corpus"]
    with pytest.raises(UserError, match="knows no run 'tiny-none'"):
        two_versions.compare([names[0], "tiny-none"])


def test_a_store_that_the_user_names_is_used_and_stays_named(home, prepare, empty_store, tmp_path, monkeypatch):
    run_folder, corpus = prepare(home)
    elsewhere = tmp_path / "elsewhere.db"
    shutil.copyfile(empty_store, elsewhere)
    before = contents(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    monkeypatch.chdir(tmp_path)  # where such a server keeps its artifacts
    result = project(home, run_folder, corpus)
    assert (Store(home).local, result["version"]) == (False, "1")
    assert mlflow_store.os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{elsewhere}"
    assert Tracking(home).model_versions_of(run_folder.name)[0]["version"] == "1"
    assert project(home, run_folder, corpus)["reused"]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert contents(home) == before


def test_a_store_is_made_whole_and_read_while_it_is_written(empty_store):
    with contextlib.closing(sqlite3.connect(empty_store)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        (default,) = connection.execute("SELECT artifact_location FROM experiments").fetchone()
    assert default.startswith((empty_store.parent / "artifacts").as_uri())
    assert {path.name for path in empty_store.parent.iterdir()} <= {"mlflow.db", "mlflow.db-shm", "mlflow.db-wal"}


def test_of_two_that_make_a_store_at_once_the_first_stays_and_both_are_quiet(empty_store, tmp_path, capfd, caplog):
    home = Home.at(tmp_path / "new")
    home.mlflow.mkdir(parents=True)
    shutil.copyfile(empty_store, Store(home).database)
    before = Store(home).database.stat()
    with caplog.at_level(logging.INFO):
        Store(home)._create()
    after = Store(home).database.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [path.name for path in home.mlflow.iterdir()] == ["mlflow.db"]
    assert [record.name for record in caplog.records if record.name.startswith(("mlflow", "alembic"))] == []
    assert capfd.readouterr() == ("", "")


def test_a_store_that_cannot_be_used_is_the_users_error(empty_store, monkeypatch, tmp_path):
    home = Home.at(tmp_path / "old")
    home.mlflow.mkdir(parents=True)
    shutil.copyfile(empty_store, Store(home).database)
    with contextlib.closing(sqlite3.connect(Store(home).database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'e0d125c68d9a'")
    with pytest.raises(UserError) as error:
        Store(home).client()
    assert error.value.hint.endswith(f"mlflow db upgrade 'sqlite:///{Store(home).database}'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    with pytest.raises(UserError, match="MLflow cannot use this store"):
        Store(home).client()


def test_a_look_at_no_store_or_another_schema(tmp_path):
    home = Home.at(tmp_path / "none")
    assert Store(home).look("SELECT 1") == []
    home.mlflow.mkdir(parents=True)
    sqlite3.connect(Store(home).database).close()
    assert Store(home).look("SELECT version FROM registered_model_aliases") is None


# projection


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@db.host/mlflow", "postgresql://***@db.host/mlflow"),
        ("see https://token@host/x and s3://a:b@c", "see https://***@host/x and s3://***@c"),
        ("https://host/path@v1", "https://host/path@v1"),
        ("mail me@host.org", "mail me@host.org"),
    ],
)
def test_credentials_are_not_shown(uri, shown):
    assert without_credentials(uri) == shown
    assert scrub({"a": [uri, {"b": uri}], "n": 1}) == {"a": [shown, {"b": shown}], "n": 1}


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
KEYS = st.text("abc_XYZ09", min_size=1, max_size=5)


@given(
    st.dictionaries(
        KEYS,
        st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)),
        max_size=4,
    )
)
def test_every_leaf_of_a_recipe_is_one_flat_param(value):
    def leaves(item):
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else None
        nested = isinstance(item, dict) or (isinstance(item, list) and any(isinstance(x, dict | list) for x in item))
        return sum(map(leaves, children)) if nested else 1

    flat = flatten(value)
    assert len(flat) == leaves(value)
    assert all(isinstance(text, str) for text in flat.values())
    for key, item in value.items():
        if not isinstance(item, dict | list):
            assert flat[key] == (item if isinstance(item, str) else json.dumps(item))


def test_keys_that_mlflow_refuses_are_spelled_otherwise():
    assert flatten({"a": {"b(c)": 1, "d" * 300: 2}}) == {"a.b_c_": "1", ("a." + "d" * 300)[:250]: "2"}


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("loss", "train/loss"),
        ("grad_norm", "train/grad_norm"),
        ("learning_rate", "train/learning_rate"),
        ("tokens_per_second", "throughput/tokens_per_second"),
        ("starved_percent", "data/starved_percent"),
        ("health/rank_me", "health/rank_me"),
    ],
)
def test_names_are_those_of_the_interfaces(field, name):
    assert metric_name(field) == name


def test_figures_without_a_number_are_left_out():
    metrics = [
        {"name": "linear_top1", "value": 1, "low": None, "high": True},
        {"name": "x/y", "value": None, "high": 2.5},
    ]
    assert evaluation_metrics(metrics) == {"eval/linear_top1": 1.0, "x/y_high": 2.5}
    assert projection.step_metrics(
        {"step": 3, "seconds": 1.0, "loss": 2, "device": "cpu", "ok": True, "none": None}
    ) == {"train/loss": 2.0}


def test_a_log_that_a_kill_cut_is_read_up_to_its_last_whole_line(tmp_path):
    log = tmp_path / "metrics.jsonl"
    assert list(read_metrics(log)) == []
    log.write_text('{"step": 1}\n{"note": "no step"}\n{"step": 2}')
    assert list(read_metrics(log)) == [{"step": 1}]


def test_a_folder_that_is_no_run_or_holds_no_json(tmp_path):
    with pytest.raises(UserError, match="no run"):
        projection.read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(VerificationFailed, match="no JSON object"):
        projection.read_json(tmp_path / "run.json")
