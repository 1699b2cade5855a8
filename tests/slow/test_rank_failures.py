"""The trainer starts its other ranks itself: none outlives it, a lost one stops it, and it goes on to the same end."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_images import SMALL, image_spec

from ssl_models.image_config import BYOL
from ssl_models.trainer import FINISHED, NON_FINITE, STOPPED

pytestmark = pytest.mark.slow


def made(folder, name, **train):
    settings = {"steps": 30, "batch": 32, "checkpoint_every_steps": 2, "precision": "float64"}
    spec = image_spec(folder, BYOL(hidden=32, projection=16), SMALL, **{**settings, **train})
    return dataclasses.replace(spec, folder=str(folder / name))


def command(spec):
    path = Path(spec.folder).with_suffix(".json")
    spec.write(path)
    return [sys.executable, "-m", "ssl_models.trainer", str(path)]


def finish(spec):
    done = subprocess.run(command(spec), capture_output=True, text=True, timeout=300)
    assert done.returncode == FINISHED, done.stderr[-3000:]
    return load_file(f"{spec.folder}/encoder/model.safetensors")


def stopped(spec, what):
    """Start a run, do `what` to it after its first checkpoint; (exit code, standard error); no process is left."""
    with subprocess.Popen(command(spec), stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        until(lambda: process.poll() is not None or list(Path(spec.folder).glob("checkpoints/step-00000002")))
        assert process.poll() is None, process.stderr.read()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == spec.train.ranks - 1
        what(process.pid, int(children[0]))
        said = process.communicate(timeout=120)[1]
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    return process.returncode, said


def until(true, seconds=100):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_runs_of_ranks_end_whole_and_go_on(tmp_path):
    """However it ended, it goes on with more ranks or fewer, and ends as one process does that was never stopped."""
    alone = finish(made(tmp_path, "alone"))
    code, said = stopped(made(tmp_path, "lost", ranks=2), lambda first, other: os.kill(other, signal.SIGKILL))
    assert code == STOPPED
    assert "rank 1 ended with -9; run again" in json.loads(said.strip().splitlines()[-1])["error"]
    code, _ = stopped(made(tmp_path, "killed", ranks=2), lambda first, other: os.kill(first, signal.SIGKILL))
    assert code == -signal.SIGKILL
    code, said = stopped(made(tmp_path, "told", ranks=2), lambda first, other: os.kill(first, signal.SIGTERM))
    assert code == STOPPED, said
    assert json.loads((tmp_path / "told" / "run.json").read_text())["status"] == "stopped"
    for name, ranks in (("lost", 4), ("killed", 2), ("told", 1)):
        weights = finish(made(tmp_path, name, ranks=ranks))
        assert not (tmp_path / name / ".ranks").exists()
        for key, value in alone.items():
            assert np.linalg.norm(weights[key] - value) <= 1e-5 * max(1e-2, np.linalg.norm(value)), (name, key)


def test_all_ranks_stop_at_a_value_that_is_no_number(tmp_path):
    spec = made(tmp_path, "run", ranks=2, learning_rate=1e38, precision="float32", gradient_clip=None)
    done = subprocess.run(command(spec), capture_output=True, text=True, timeout=200)
    assert done.returncode == NON_FINITE, done.stderr
    assert "step" in json.loads(done.stderr.strip().splitlines()[-1])["error"]
