"""The schedule, for real: a server on loopback, `prefect deploy --all`, a process worker, a schedule that fires."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest
import yaml

from tests_support import corpus_lines, write_recipe

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition, seconds):
    """Poll until `condition()` gives a value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except OSError:
            pass
        time.sleep(1)
    raise AssertionError(f"no {what} after {seconds} s")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder, environment, post): a server with the mini recipe's deployments and a worker on a pool."""
    folder = tmp_path_factory.mktemp("world")
    port = free_port()
    recipe = write_recipe(folder, corpus_lines())
    value = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for entry in value["deployments"]:
        if "recipe" in entry["parameters"]:
            entry["parameters"]["recipe"] = str(recipe)
        else:
            entry["parameters"]["corpus"] = "mini"
        entry["schedules"][0]["active"] = False
    interval = {**value["deployments"][0], "name": "every-few-seconds", "concurrency_limit": None}
    interval["schedules"] = [{"interval": 20, "slug": "often"}]
    value["deployments"].append(interval)
    (folder / "prefect.yaml").write_text(yaml.safe_dump(value))
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "GRISTMILL_HOME": str(folder / "home"),
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    environment.pop("PREFECT_TEST_MODE", None)

    def prefect(*arguments, wait=True):
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        path = folder / f"{arguments[0]}-{arguments[1]}.log"
        with open(path, "w") as log:  # the child has its own descriptor
            child = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        if wait:
            assert child.wait(180) == 0, path.read_text()
        return child

    def post(path, body):
        request = urllib.request.Request(
            f"{environment['PREFECT_API_URL']}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        for attempt in range(10):  # SQLite is one writer at a time: 503 means "again", as Prefect's own client takes it
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code != 503 or attempt == 9:
                    raise
                time.sleep(1 + attempt)

    def healthy():
        with urllib.request.urlopen(f"{environment['PREFECT_API_URL']}/health", timeout=5) as answer:
            return answer.read() == b"true"

    children = [prefect("server", "start", "--host", "127.0.0.1", "--port", str(port), wait=False)]
    try:
        wait_for("server", healthy, 120)
        prefect("work-pool", "create", "gristmill", "--type", "process")
        prefect("deploy", "--all", "--prefect-file", str(folder / "prefect.yaml"))
        children.append(prefect("worker", "start", "--pool", "gristmill", "--limit", "4", wait=False))
        yield folder, environment, post
    finally:
        for child in reversed(children):
            child.terminate()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def deployments(post):
    return {entry["name"]: entry for entry in post("/deployments/filter", {})}


def run(post, name):
    body = {"state": {"type": "SCHEDULED"}, "idempotency_key": str(uuid.uuid4())}  # a repeated post makes one run
    return post(f"/deployments/{deployments(post)[name]['id']}/create_flow_run", body)["id"]


def state(post, run_id):
    (found,) = post("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
    return found["state"]["type"], found["state"].get("message")


def finished(post, run_id, seconds):
    def done():
        kind, message = state(post, run_id)
        return (kind, message) if kind in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    return wait_for("end of the flow run", done, seconds)


def test_curation_pipeline_and_audit_complete_with_artifacts(world):
    folder, _, post = world
    for name in ("nightly-curation", "weekly-pipeline", "monthly-audit"):
        kind, message = finished(post, run(post, name), 600)
        assert kind == "COMPLETED", f"{name}: {message}\n{(folder / 'worker-start.log').read_text()[-4000:]}"
    keys = {entry["key"] for entry in post("/artifacts/filter", {})}
    assert {"mini-gate", "mini-ledger", "mini-lineage", "mini-audit"} <= keys
    assert (folder / "home" / "corpora" / "mini" / "v1" / "manifest.json").is_file()


def test_an_interval_schedule_fires_by_itself(world):
    _, _, post = world
    own = deployments(post)["every-few-seconds"]["id"]

    def fired():
        found = post("/flow_runs/filter", {"deployments": {"id": {"any_": [own]}}})
        return [entry for entry in found if entry["auto_scheduled"] and entry["state"]["type"] == "COMPLETED"]

    assert wait_for("scheduled run", fired, 240)


def test_an_overlapping_run_is_refused(world):
    _, _, post = world
    first, second = run(post, "weekly-pipeline"), run(post, "weekly-pipeline")
    ends = sorted(finished(post, run_id, 300)[0] for run_id in (first, second))
    assert ends == ["CANCELLED", "COMPLETED"]
