"""Every test has a HOME of its own and no hub; Prefect's test server starts once, if it is asked for."""

import os

os.environ.update({"HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "PREFECT_LOGGING_LEVEL": "CRITICAL"})

import pytest
from hypothesis import settings

import tasks  # noqa: F401 - telemetry off before anything else is imported
from tasks.home import Home

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("GRISTMILL_HOME", str(tmp_path / "home"))


@pytest.fixture
def home(tmp_path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture(scope="session")
def prefect_server():
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield
