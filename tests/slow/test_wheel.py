"""The wheel holds the four packages with their YAML and models, not the tests; it runs from an empty folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests_support import corpus_lines, write_recipe

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True)
    (path,) = folder.glob("gristmill-*.whl")
    return path


def test_what_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"flows", "tasks", "ssl_models", "data_policies"}
    for needed in (
        "flows/recipes/python-docs.yaml",
        "flows/recipes/python-docs-full.yaml",
        "data_policies/open-definition.yaml",
        "data_policies/strict.yaml",
        "tasks/governance/report.html",
        "tasks/curation/stand_in/model.safetensors",
        "tasks/curation/stand_in/config.json",
    ):
        assert needed in names
    assert not [name for name in names if "test" in Path(name).name.lower() and name.endswith(".py")]


def test_it_runs_in_an_empty_folder(wheel, tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True)
    work = tmp_path / "work"
    recipe = write_recipe(work, corpus_lines(120))
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def gristmill(*arguments):
        code = (
            "import flows, sys; assert flows.__file__.startswith(sys.argv.pop(1)); from flows.cli import main; main()"
        )
        return subprocess.run(
            [sys.executable, "-c", code, str(site), *arguments],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
        )

    assert "python-docs" in gristmill("recipes").stdout
    done = gristmill("run", str(recipe), "--json", "o.json")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((work / "o.json").read_text())["ok"]
