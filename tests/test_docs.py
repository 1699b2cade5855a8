"""Every command in README and docs is run, in order, in a fresh folder: the quick ones here, the heavy ones as slow."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HEAVY = re.compile(r"^(make (demo|test|slow|bench)|gristmill (run|curate)|git clone|cd |pip install)")
BIN = Path(sys.executable).parent


def blocks(page):
    """The ```sh and ```python blocks of a page."""
    return re.findall(r"^```(sh|python)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def is_heavy(kind, text):
    return kind == "sh" and any(HEAVY.match(line) for line in text.splitlines())


def run(kind, text, folder):
    home = str(folder / "gristmill-home")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "GRISTMILL_HOME": home}
    command = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_quick_commands(page, tmp_path):
    (tmp_path / "prefect.yaml").write_bytes((ROOT / "prefect.yaml").read_bytes())
    for kind, text in blocks(page):
        if kind == "sh" and not is_heavy(kind, text):  # the ```python block uses a model: tests/flows/test_pipeline.py
            run(kind, text, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_commands(page, tmp_path):
    """In one fresh folder, block after block. The `make` blocks are what runs this; see .ci/run and benchmarks."""
    (tmp_path / "prefect.yaml").write_bytes((ROOT / "prefect.yaml").read_bytes())
    for kind, text in blocks(page):
        if kind == "sh" and re.match(r"^(git clone|make )", text):
            continue  # `make demo` and `make test` are what runs this; see .ci/run and benchmarks/demo.py
        run(kind, text, tmp_path)


def test_every_verb_is_documented():
    text = "".join(page.read_text() for page in PAGES)
    for verb in [
        "run",
        "curate",
        "pretrain",
        "evaluate",
        "promote",
        "compare",
        "recipes",
        "policies",
        "audit",
        "deploy",
        "ls",
        "gc",
    ]:
        assert f"gristmill {verb}" in text, verb


def test_links_between_the_pages_hold():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
