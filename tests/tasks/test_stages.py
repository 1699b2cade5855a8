"""Stages: an address that changes with every input, folders that are whole or not there, a real kill -9 in between."""

import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.stages import Transient, canonical_json, publish, read_stage, run_stage, stage_digest

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3), max_leaves=5
)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_the_address_does_not_depend_on_key_order(inputs):
    shuffled = dict(reversed(list(inputs.items())))
    assert stage_digest("x", 1, inputs) == stage_digest("x", 1, shuffled)
    assert stage_digest("x", 1, inputs) != stage_digest("x", 2, inputs)
    assert stage_digest("x", 1, inputs) != stage_digest("y", 1, inputs)
    assert stage_digest("x", 1, inputs) != stage_digest("x", 1, {**inputs, "one more": 1})


def test_nan_has_no_canonical_spelling():
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_present_means_done(tmp_path):
    built = []

    def build(folder):
        built.append(folder)
        (folder / "out").write_text("x")

    first = run_stage(tmp_path, "s", 1, {"a": 1}, build)
    again = run_stage(tmp_path, "s", 1, {"a": 1}, build)
    other = run_stage(tmp_path, "s", 1, {"a": 2}, build)
    assert (first.reused, again.reused, other.reused) == (False, True, False)
    assert len(built) == 2
    assert first.path == again.path != other.path
    assert read_stage(tmp_path / f"s-{first.digest[:16]}").digest == first.digest


def test_what_is_transient_is_no_cache(tmp_path):
    outcomes = [Transient("a row timed out"), Transient("a row timed out"), None, Transient("never asked")]

    def build(folder):
        (folder / "out").write_text("x")
        return outcomes.pop(0)

    stages = [run_stage(tmp_path, "s", 1, {"a": 1}, build) for _ in range(4)]
    assert [stage.reused for stage in stages] == [False, False, False, True]
    assert stages[0].digest == stages[1].digest != stages[2].digest == stages[3].digest
    assert all((tmp_path / f"s-{stage.digest[:16]}" / "out").is_file() for stage in stages)
    assert read_stage(tmp_path / f"s-{stages[0].digest[:16]}").digest == stages[0].digest


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def build(folder):
        (folder / "half").write_text("x")
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        run_stage(tmp_path, "s", 1, {}, build)
    assert list(tmp_path.iterdir()) == []


def test_the_slower_of_two_processes_gives_way(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
        publish(tmp_path / name, tmp_path / "done")
    assert (tmp_path / "done" / "who").read_text() == "a"
    assert not (tmp_path / "b").exists()


CHILD = """
import sys, time
from pathlib import Path
from tasks.stages import run_stage
def build(folder):
    (folder / "part").write_text("x" * 1000)
    Path(sys.argv[1], "started").touch()
    time.sleep(float(sys.argv[2]))
    (folder / "rest").write_text("y")
print(run_stage(Path(sys.argv[1], "stages"), "s", 1, {}, build).reused)
"""


def test_kill_9_leaves_no_stage_and_the_next_run_builds_it(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), "60"])
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not list((tmp_path / "stages").glob("s-*"))
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), "0"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    (folder,) = (tmp_path / "stages").glob("s-*")
    assert (folder / "rest").read_text() == "y"
    assert not list((tmp_path / "stages").glob(".*.tmp"))  # what was killed is swept away
