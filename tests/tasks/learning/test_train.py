import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from small_runs import small_spec

from tasks.errors import GristmillError, Refused, Stopped, UserError
from tasks.learning.train import _failure, pretrain, run_id


def test_run_ids_name_the_recipe_and_depend_on_recipe_corpus_and_seed():
    first = run_id("docs", "a" * 64, "b" * 64, 0)
    assert first == run_id("docs", "a" * 64, "b" * 64, 0)
    assert first.startswith("docs-")
    assert len(first) == len("docs-") + 12
    others = [("docs", "c" * 64, "b" * 64, 0), ("docs", "a" * 64, "c" * 64, 0), ("docs", "a" * 64, "b" * 64, 1)]
    assert len({first, *(run_id(*other) for other in others)}) == 4


@pytest.mark.timeout(300)
def test_training_reports_ends_and_is_not_repeated(tmp_path):
    """In a thread, as Prefect runs tasks: there no signal handler can be set."""
    spec = small_spec(tmp_path)
    seen, results = [], []
    thread = threading.Thread(target=lambda: results.append(pretrain(spec, seen.append)))
    thread.start()
    thread.join()
    (result,) = results
    assert [line["step"] for line in seen] == [4, 8, 12, 16, 20]
    assert result["run_id"] == spec.run_id
    assert result["steps"] == 20
    assert result["reused"] is False
    assert result["loss"] == seen[-1]["loss"]
    assert len(result["checkpoint_sha256"]) == 64
    assert (tmp_path / "run" / "encoder" / "model.safetensors").is_file()
    stamp = (tmp_path / "run" / "run.json").stat().st_mtime_ns
    again = pretrain(spec, lambda line: pytest.fail("nothing is trained twice"))
    assert again == {**result, "reused": True}
    assert (tmp_path / "run" / "run.json").stat().st_mtime_ns == stamp

    with pytest.raises(UserError, match="holds another run"):
        pretrain(dataclasses.replace(spec, train=dataclasses.replace(spec.train, seed=9)))
    (tmp_path / "run" / "encoder" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="its encoder is gone"):
        pretrain(spec)


@pytest.mark.timeout(300)
def test_an_interrupt_reaches_the_trainer_and_the_same_call_goes_on(tmp_path):
    spec = small_spec(tmp_path, steps=3000, checkpoint_every_steps=100, log_every_steps=10)
    before = signal.getsignal(signal.SIGINT)

    def interrupt(line):
        if line["step"] == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="its state is saved") as stopped:
        pretrain(spec, interrupt)
    assert stopped.value.exit_code == 75
    assert signal.getsignal(signal.SIGINT) is before
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "stopped"
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


@pytest.mark.timeout(300)
def test_the_trainer_does_not_outlive_its_parent(tmp_path):
    spec = small_spec(tmp_path, steps=100_000, log_every_steps=10, checkpoint_every_steps=100_000)
    spec.write(tmp_path / "SPEC.json")
    code = (
        "import sys; from pathlib import Path; from ssl_models.config import TrainSpec; "
        "from tasks.learning.train import pretrain; pretrain(TrainSpec.read(Path(sys.argv[1])))"
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "SPEC.json"], stderr=subprocess.DEVNULL) as parent:
        try:
            while not (metrics.exists() and metrics.stat().st_size):
                assert parent.poll() is None
                time.sleep(0.05)
        finally:
            parent.kill()
    record = tmp_path / "run" / "run.json"
    deadline = time.monotonic() + 60
    while json.loads(record.read_text())["status"] != "stopped":
        assert time.monotonic() < deadline, "the trainer goes on without its parent"
        time.sleep(0.05)


def test_how_a_trainer_ended_is_told_to_the_right_person(tmp_path):
    spec = small_spec(tmp_path)

    def says(message):
        return "noise\n" + json.dumps({"error": message}) + "\n"

    diverged = _failure(65, says("step 11: loss is nan"), spec)
    assert isinstance(diverged, Refused)
    assert "step 11" in diverged.message
    assert "learning_rate" in diverged.hint
    assert "gradient_clip" in _failure(65, says("step 3: gradient norm is inf"), spec).hint
    missing = _failure(2, says("/corpus/shards: there are no train-*.tar"), spec)
    assert isinstance(missing, UserError)
    assert (missing.where, missing.message) == ("/corpus/shards", "there are no train-*.tar")
    killed = _failure(-9, "", spec)
    assert isinstance(killed, Stopped)
    assert "SIGKILL" in killed.message
    bug = _failure(1, "Traceback\nKeyError: 'x'\n", spec)
    assert type(bug) is GristmillError
    assert (bug.exit_code, bug.hint) == (1, "KeyError: 'x'")
