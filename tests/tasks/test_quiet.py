"""Telemetry is off in a fresh process that imports anything of ours, unless the user set it."""

import json
import os
import subprocess
import sys

import pytest

from tasks.quiet import DEFAULTS

SHOW = "import json, os, sys; import {module}; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("module", ["tasks", "flows", "tasks.engine", "flows.cli"])
def test_defaults_hold_in_a_fresh_process(module):
    bare = {name: value for name, value in os.environ.items() if name not in DEFAULTS}
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(module=module)], env=bare, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert {name: seen.get(name) for name in DEFAULTS} == DEFAULTS


def test_what_the_user_set_stays():
    own = {**os.environ, "WDS_SECURE": "0", "GX_ANALYTICS_ENABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(module="tasks")], env=own, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert (seen["WDS_SECURE"], seen["GX_ANALYTICS_ENABLED"]) == ("0", "true")


def test_the_libraries_agree():
    """Each library, asked in its own words, says that it is off."""
    code = """
import tasks, mlflow.telemetry.utils as m, webdataset.utils as w
from prefect.settings import get_current_settings
assert m.is_telemetry_disabled()
assert get_current_settings().server.analytics_enabled is False
assert w.enforce_security is True
from huggingface_hub import constants
assert constants.HF_HUB_DISABLE_TELEMETRY
print("off")
"""
    bare = {name: value for name, value in os.environ.items() if name not in DEFAULTS}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "off", done.stderr[-2000:]
