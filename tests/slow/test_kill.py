"""kill -9 anywhere in the main job, run again: the same shards, ledger and weights as without it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests_support import corpus_lines, write_recipe

pytestmark = pytest.mark.slow


def command(recipe, home):
    return [sys.executable, "-m", "flows.cli", "run", str(recipe), "--home", str(home), "--json", f"{home}.json"]


def finish(recipe, home):
    """Run to the end; what went wrong is shown."""
    ended = subprocess.run(command(recipe, home), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-4000:]


def outcome(home):
    return json.loads(Path(f"{home}.json").read_text())["result"]


def kill_tree(process):
    """SIGKILL to the whole process group: the trainer and Prefect's server too."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.name != "created.json"
    }


def test_the_same_bytes_after_kills_at_many_moments(tmp_path):
    recipe = write_recipe(tmp_path, corpus_lines(), train={
        "steps": 40, "batch": 4, "sequence_length": 64, "warmup_steps": 1, "threads": 1, "checkpoint_every_steps": 5,
    })  # fmt: skip
    key = tmp_path / "key"
    key.write_text("k" * 64)
    os.environ["GRISTMILL_KEY_FILE"] = str(key)
    try:
        whole = tmp_path / "whole"
        started = time.monotonic()
        finish(recipe, whole)
        seconds = time.monotonic() - started
        killed = tmp_path / "killed"
        for moment in range(1, 7):
            process = subprocess.Popen(
                command(recipe, killed), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(seconds * moment / 7)
            except subprocess.TimeoutExpired:
                kill_tree(process)
        finish(recipe, killed)
    finally:
        del os.environ["GRISTMILL_KEY_FILE"]
    a, b = outcome(whole), outcome(killed)
    assert a["curate"]["root"] == b["curate"]["root"]
    assert files(a["curate"]["path"]) == files(b["curate"]["path"])
    assert a["pretrain"]["checkpoint_sha256"] == b["pretrain"]["checkpoint_sha256"]
    assert a["evaluate"]["metrics"] == b["evaluate"]["metrics"]
    assert not list(killed.rglob(".*.tmp"))
