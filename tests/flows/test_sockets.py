"""After installation a run opens no outbound socket: watched in every Python process of a real run."""

import json
import os
import subprocess
import sys

import pytest

from tests_support import corpus_lines, write_recipe

pytestmark = pytest.mark.flow

WATCH = """
import os, sys
def _watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        host = address[0] if isinstance(address, tuple) else address
        if isinstance(host, (bytes, bytearray)):
            host = bytes(host).decode(errors="replace")
        if isinstance(address, tuple) or event.startswith("socket.get"):
            if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0"):
                with open(os.environ["SOCKET_LOG"], "a") as log:
                    log.write(f"{event} {host} {sys.argv[:2]}\\n")
sys.addaudithook(_watch)
"""


def test_a_run_talks_to_nobody(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCH)
    log = tmp_path / "sockets.log"
    recipe = write_recipe(tmp_path, corpus_lines(60))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "SOCKET_LOG": str(log)}
    environment.pop("HF_HUB_OFFLINE")  # quiet must be enough
    for name in [name for name in environment if name.startswith("PREFECT_")]:
        del environment[name]
    command = [sys.executable, "-m", "flows.cli", "curate", str(recipe), "--home", str(tmp_path / "h")]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "o.json")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "o.json").read_text())["ok"]
    assert not log.exists(), log.read_text()


def test_the_watch_sees_what_it_should(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SOCKET_LOG": str(tmp_path / "log")}
    code = "import socket\ntry: socket.create_connection(('192.0.2.1', 9), timeout=0.01)\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert "192.0.2.1" in (tmp_path / "log").read_text()
