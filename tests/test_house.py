"""The house: its floors, its names, and no traces of where it was built."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "ssl_models", "data_policies")


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_the_floors_hold():
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_it_is(package):
    for path in (ROOT / package).rglob("*.py"):
        assert path.read_text().startswith('"""'), path


def test_no_file_is_long():
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}


def test_no_two_test_files_have_one_name():
    names = [path.name for path in tracked() if re.fullmatch(r"test_.+\.py", path.name)]
    assert sorted(set(names)) == sorted(names)  # pytest imports by name: the second would not be collected


def test_every_dependency_is_locked_and_justified():
    text = (ROOT / "pyproject.toml").read_text()
    part = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    lines = re.findall(r'"([A-Za-z0-9_.\[\]-]+?)(?:[><=][^"]*)?",?\]?[ \t]*(#.*)?$', part, re.MULTILINE)
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {line.partition("==")[0].lower().replace("_", "-") for line in lock}
    assert len(lines) > 30
    for name, why in lines:
        assert why, f"{name} is not justified"
        assert re.sub(r"\[.*", "", name).lower().replace("_", "-") in locked, name
