import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_runs import small_spec

from ssl_models import trainer
from ssl_models.checkpoint import newest_checkpoint
from ssl_models.device import Device, choose_device, locked
from ssl_models.reader import Index, Reader
from ssl_models.run import Run


@pytest.fixture(autouse=True)
def _as_before():
    """The trainer owns its process; here it is a guest."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def lines(spec):
    return [json.loads(line) for line in (Path(spec.folder) / "metrics.jsonl").read_text().splitlines()]


def without_clock(spec):
    clock = {"seconds", "tokens_per_second", "starved_percent"}
    return [{key: value for key, value in line.items() if key not in clock} for line in lines(spec)]


def weights(spec):
    return hashlib.sha256((Path(spec.folder) / "encoder" / "model.safetensors").read_bytes()).hexdigest()


@contextmanager
def started(spec):
    path = Path(spec.folder) / "SPEC.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    spec.write(path)
    command = [sys.executable, "-m", "ssl_models.trainer", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_step(spec, step, process, seconds=100):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        path = Path(spec.folder) / "metrics.jsonl"
        if path.exists() and path.read_bytes().count(b"\n") >= step // spec.train.log_every_steps:
            return
        time.sleep(0.002)
    raise AssertionError(f"step {step} never came: {process.stderr.read().decode()}")


@pytest.mark.timeout(300)
def test_killed_and_run_again_gives_the_same_weights_metrics_and_exposure(tmp_path, monkeypatch):
    """SIGKILL at some step, run again, SIGTERM at a later one, run again: as if nothing had happened."""
    settings = {"steps": 120, "checkpoint_every_steps": 16, "optimizer": "muon", "precision": "bfloat16"}
    spec = small_spec(tmp_path, **settings)
    with started(spec) as process:
        wait_for_step(spec, 40, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "run" / "encoder").exists()
    reached = newest_checkpoint(tmp_path / "run" / "checkpoints")[1]["step"]
    assert 16 <= reached < 120

    append = Run.append_metrics

    def append_and_ask_to_stop(self, line):
        append(self, line)
        if line["step"] >= reached + 20:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "append_metrics", append_and_ask_to_stop)
        assert trainer.run_spec(spec) == trainer.STOPPED
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped"
    saved = newest_checkpoint(tmp_path / "run" / "checkpoints")[1]["step"]
    assert reached < saved < 120
    assert trainer.run_spec(spec) == trainer.FINISHED

    whole = dataclasses.replace(spec, folder=str(tmp_path / "whole"))
    assert trainer.run_spec(whole) == trainer.FINISHED
    assert weights(spec) == weights(whole)
    assert without_clock(spec) == without_clock(whole)
    assert (tmp_path / "run" / "exposure.parquet").read_bytes() == (
        tmp_path / "whole" / "exposure.parquet"
    ).read_bytes()
    assert trainer.run_spec(spec) == trainer.FINISHED  # finished: nothing is done again


def test_a_run_leaves_what_the_interfaces_promise(tmp_path):
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

    spec = small_spec(tmp_path)
    assert trainer.run_spec(spec) == trainer.FINISHED
    run = tmp_path / "run"
    assert [line["step"] for line in lines(spec)] == [4, 8, 12, 16, 20]
    assert all(line["density"] > 0.9 for line in lines(spec)[1:])
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["corpus"] == {"name": "small", "version": 1, "root": "ab" * 32}
    assert record["result"]["checkpoint_sha256"] == weights(spec)
    assert record["result"]["loss"] == record["result"]["last_loss"] == lines(spec)[-1]["loss"]

    exposure = pq.read_table(run / "exposure.parquet")
    index = Index(tmp_path / "corpus", "train")
    documents = record["result"]["documents"]
    read_first = [index.keys[i] for i in index.order(spec.train.seed, 0)[:documents]]
    assert exposure["record_id"].to_pylist() == sorted(read_first)
    steps = dict(zip(exposure["record_id"].to_pylist(), exposure["first_step"].to_pylist(), strict=True))
    in_order = [steps[key] for key in read_first]
    assert in_order == sorted(in_order)
    assert in_order[0] == 1
    assert in_order[-1] <= 20

    model = AutoModelForMaskedLM.from_pretrained(run / "encoder")
    tokenizer = AutoTokenizer.from_pretrained(run / "encoder")
    encoder = AutoModel.from_pretrained(run / "encoder")
    ids = tokenizer("bal", return_tensors="pt")["input_ids"]
    assert torch.equal(encoder(ids).last_hidden_state, model.base_model(ids).last_hidden_state)


def test_a_run_in_the_blocked_order_exposes_what_it_read(tmp_path):
    spec = small_spec(tmp_path, steps=8, order="blocked", group_shards=1)
    assert trainer.run_spec(spec) == trainer.FINISHED
    documents = json.loads((tmp_path / "run" / "run.json").read_text())["result"]["documents"]
    index = Index(tmp_path / "corpus", "train")
    with Reader(index, spec.train.seed, order="blocked", group_shards=1) as reader:
        read = reader.take(0, documents).keys
    exposed = pq.read_table(tmp_path / "run" / "exposure.parquet")
    assert exposed["record_id"].to_pylist() == sorted(read)
    assert spec.digest() != dataclasses.replace(spec, train=dataclasses.replace(spec.train, order="global")).digest()


def test_it_learns_what_the_neighbours_say(tmp_path):
    """After some steps the loss is clearly below the unigram entropy, which no model blind to context passes."""
    spec = small_spec(tmp_path, documents=300, steps=160, batch=8, optimizer="adamw", learning_rate=5e-3)
    assert trainer.run_spec(spec) == trainer.FINISHED
    from small_corpora import keyed_texts

    counts = np.array(list(Counter(" ".join(keyed_texts(300).values()).split()).values()), float)
    unigram = float(-(counts / counts.sum() * np.log(counts / counts.sum())).sum())
    assert np.mean([line["loss"] for line in lines(spec)[-5:]]) < unigram - 0.7


class Broken:
    """An objective whose loss, or whose gradient, is no number at one step."""

    def __init__(self, objective, at, where):
        self.objective, self.at, self.where, self.calls = objective, at, where, 0

    def view(self, batch):
        return self.objective.view(batch)

    def loss(self, model, view):
        self.calls += 1
        loss = self.objective.loss(model, view)
        if self.calls != self.at:
            return loss
        if self.where == "loss":
            return loss * float("nan")
        poison = torch.zeros((), requires_grad=True)
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss + poison


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_value_that_is_no_number_stops_the_run_before_the_weights_change(tmp_path, monkeypatch, capsys, where):
    spec = small_spec(tmp_path)
    path = tmp_path / "SPEC.json"
    spec.write(path)
    original = Run.__init__

    def broken(self, spec, *ranks):
        original(self, spec, *ranks)
        self.objective = Broken(self.objective, at=11, where=where)

    monkeypatch.setattr(Run, "__init__", broken)
    assert trainer.main([str(path)]) == trainer.NON_FINITE
    said = json.loads(capsys.readouterr().err.strip().splitlines()[-1])
    assert "step 11" in said["error"]
    assert where in said["error"]
    checkpoint, state = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert state["step"] == 8
    monkeypatch.undo()
    assert trainer.main([str(path)]) == trainer.FINISHED
    assert checkpoint.name == "step-00000008"


def test_what_the_user_must_mend_is_said_in_one_line(tmp_path, capsys):
    def says(arguments):
        assert trainer.main(arguments) == trainer.USER_ERROR
        return json.loads(capsys.readouterr().err)["error"]

    assert "usage" in says([])
    spec = small_spec(tmp_path)
    path = tmp_path / "SPEC.json"
    dataclasses.replace(spec, corpus=dataclasses.replace(spec.corpus, folder=str(tmp_path / "no"))).write(path)
    assert "there are no train-*.tar" in says([str(path)])
    path.write_text("{")
    assert "SPEC.json" in says([str(path)])
    spec.write(path)
    assert trainer.main([str(path)]) == trainer.FINISHED
    dataclasses.replace(spec, train=dataclasses.replace(spec.train, seed=1)).write(path)
    assert "holds another run" in says([str(path)])


def test_one_trainer_a_run(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(ValueError, match="another trainer"), locked(tmp_path / "lock", 0.1):
        pass
    with locked(tmp_path / "lock", 0.1):
        pass


def test_a_resumed_run_keeps_its_threads_and_precision(tmp_path):
    spec = small_spec(tmp_path, precision="auto", threads=None)
    (tmp_path / "run.json").write_text(json.dumps({"threads": 3, "precision": "bfloat16"}))
    assert choose_device(spec.train, tmp_path) == Device(torch.device("cpu"), True, 3)
    (tmp_path / "run.json").write_text(json.dumps({"threads": 2, "precision": "float32"}))
    assert choose_device(spec.train, tmp_path) == Device(torch.device("cpu"), False, 2)


def test_images_are_learned_in_float32_on_a_cpu_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_models.device._cpu_multiplies_bfloat16", lambda: True)
    spec = small_spec(tmp_path, precision="auto")
    assert choose_device(spec.train, tmp_path).precision == "bfloat16"
    assert choose_device(spec.train, tmp_path, texts=False).precision == "float32"
    told = dataclasses.replace(spec.train, precision="bfloat16")
    assert choose_device(told, tmp_path, texts=False).precision == "bfloat16"


def test_batches_made_ahead_are_the_same_and_so_is_the_state(tmp_path):
    """The thread beside a GPU: the same batches, and the state of the last one taken, not of the last one made."""
    spec = small_spec(tmp_path)
    plain, ahead = Run(spec), Run(spec)
    meta = Device(torch.device("meta"), False, 1)
    with plain.batches(Device(torch.device("cpu"), False, 1)) as one, ahead.batches(meta) as two:
        for _ in range(6):
            (batch, _), (other, view) = next(one), next(two)
            assert np.array_equal(batch.ids_BT, other.ids_BT)
            assert view.ids_BT.device.type == "meta"
            assert plain.packer_state() == ahead.packer_state()


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path):
    run = Run(small_spec(tmp_path))
    run.folder.mkdir()
    for step in (4, 8, 12):
        run.append_metrics({"step": step})
    with open(run.metrics, "a") as file:
        file.write('{"step": 16, "lo')
    run.cut_metrics(8)
    assert run.metrics.read_text() == '{"step": 4}\n{"step": 8}\n'
    run.cut_metrics(0)
    assert run.metrics.read_text() == ""


def test_a_rate_that_was_left_open_is_the_optimizers_own(tmp_path):
    spec = small_spec(tmp_path, learning_rate=None, steps=4, warmup_steps=8)
    assert trainer.run_spec(spec) == trainer.FINISHED
    assert lines(spec)[-1]["learning_rate"] == spec.train.peak_learning_rate
