"""The command line as a person meets it: real processes, exit codes, one-line errors, nothing written in vain."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests_support import corpus_lines, write_recipe

VERBS = [
    ["run"], ["curate"], ["pretrain"], ["evaluate"], ["promote"], ["compare"], ["recipes"], ["policies", "list"],
    ["policies", "show"], ["policies", "check"], ["policies", "calibrate"], ["audit", "report"], ["audit", "trace"],
    ["audit", "verify"], ["audit", "diff"], ["audit", "erase"], ["deploy"], ["ls"], ["gc"],
]  # fmt: skip


def gristmill(*arguments, cwd, check=None):
    """Run the command in a fresh process; assert its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example_and_the_common_options(verb):
    from typer.testing import CliRunner

    from flows.cli import app

    result = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    text = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)
    assert result.exit_code == 0
    assert f"gristmill {' '.join(verb)}" in text
    for option in ("--home", "--json", "--set"):
        assert option in text


def test_help_imports_nothing_heavy():
    heavy = "('torch', 'prefect', 'daft', 'mlflow', 'pyarrow', 'transformers')"
    code = f"import sys, flows.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_validating_a_recipe_imports_no_torch():
    code = (
        "import sys; from flows.recipe import load_recipe; load_recipe('python-docs');"
        "print([m for m in ('torch','prefect','daft','mlflow','transformers','sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sorces": []}, "sorces"),
        ({"policy": "no-such-policy"}, "no-such-policy"),
        ({"sources": [{"kind": "files", "name": "x", "path": "nowhere/*.jsonl"}]}, "nowhere"),
    ],
    ids=["unknown key", "unknown policy", "missing file"],
)
def test_bad_input_is_one_line_exit_2_and_nothing_written(tmp_path, change, message):
    recipe = write_recipe(tmp_path, corpus_lines(5), **change)
    done = gristmill("curate", recipe, "--home", tmp_path / "h", "--json", tmp_path / "o.json", cwd=tmp_path, check=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "h").exists()
    outcome = json.loads((tmp_path / "o.json").read_text())
    assert (outcome["verb"], outcome["ok"], outcome["exit_code"]) == ("curate", False, 2)
    assert message in outcome["error"]["message"] + outcome["error"]["where"]


def test_an_empty_source_is_the_users_input(tmp_path):
    recipe = write_recipe(tmp_path, [])
    done = gristmill("curate", recipe, "--home", tmp_path / "h", cwd=tmp_path, check=2)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "h").exists()


def test_a_policy_with_an_unknown_licence(tmp_path):
    shown = gristmill("policies", "show", "strict", cwd=tmp_path, check=0).stdout
    policy = yaml.safe_load(shown)
    policy["licences"]["allow"].append("MTI")
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(policy))
    done = gristmill("policies", "check", "p.yaml", cwd=tmp_path, check=2)
    assert "MTI" in done.stderr
    recipe = write_recipe(tmp_path, corpus_lines(5), policy=str(tmp_path / "p.yaml"))
    gristmill("curate", recipe, "--home", tmp_path / "h", cwd=tmp_path, check=2)
    assert not (tmp_path / "h").exists()


def test_what_is_not_there_is_named(tmp_path):
    for arguments in (
        ["audit", "report", "nothing"],
        ["audit", "verify", "nothing@v1"],
        ["audit", "trace", "0" * 32],
        ["evaluate", "no-run"],
        ["promote", "no-run"],
        ["compare", "no-run"],
        ["pretrain", "python-docs"],
        ["deploy", "--check", "--file", "none.yaml"],
        ["recipes", "none"],
        ["policies", "show", "none"],
    ):
        done = gristmill(*arguments, *(["--home", tmp_path / "h"]), cwd=tmp_path, check=2)
        assert done.stderr.startswith("gristmill: ")
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "h").exists()


def test_recipes_policies_ls_and_gc(tmp_path):
    assert "python-docs-full" in gristmill("recipes", cwd=tmp_path, check=0).stdout
    whole = yaml.safe_load(gristmill("recipes", "python-docs", "--set", "train.seed=7", cwd=tmp_path, check=0).stdout)
    assert whole["train"]["seed"] == 7
    assert {"open-definition", "strict"} <= set(gristmill("policies", "list", cwd=tmp_path, check=0).stdout.split())
    assert "gristmill run" in gristmill("ls", "--home", tmp_path / "h", cwd=tmp_path, check=0).stdout
    assert gristmill("gc", "--home", tmp_path / "h", cwd=tmp_path, check=0).stdout.startswith("0 folders")


def test_a_closed_pipe_or_a_missing_json_folder_is_no_traceback(tmp_path):
    done = gristmill("recipes", "--json", tmp_path / "none" / "o.json", cwd=tmp_path, check=2)
    assert "--json" in done.stderr
    assert not Path(tmp_path / "none").exists()
    assert os.listdir(tmp_path) == []
