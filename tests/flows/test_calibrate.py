"""`gristmill policies calibrate`: texts in, a pinned screen and the lines for the policy out."""

import json
import os
import random
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from data_policies.load import load_policy, shipped
from flows.cli import app
from tasks import progress
from tasks.curation.toxicity_screen import open_screen

THINGS = ["mill", "river", "stone", "engine", "farmer", "wheel", "grain", "flour", "sack", "bread", "barrel", "harbour"]
VERBS = ["turns", "carries", "measures", "grinds", "weighs", "cleans", "moves", "opens", "stores", "counts"]
INSULTS = ["idiot", "moron", "fool", "loser", "coward", "liar"]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    """A verb settles Prefect's environment and where progress goes; here it runs in the tests' own process."""
    monkeypatch.setattr(progress, "_reporter", progress._reporter)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def lines(count, seed=0):
    draw = random.Random(seed)
    for row in range(count):
        yield f"The {draw.choice(THINGS)} {draw.choice(VERBS)} the {draw.choice(THINGS)} number {row}."
        if row % 8 == 0:
            yield f"You are a stupid {draw.choice(INSULTS)} and a {draw.choice(INSULTS)}, you worthless {row}."


def run(*arguments):
    return CliRunner().invoke(app, ["policies", "calibrate", *map(str, arguments)])


def test_a_screen_is_made_and_the_policy_with_its_lines_is_valid(tmp_path):
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines(1000)))
    asked = ["open-definition", "--texts", tmp_path / "texts.jsonl", "--home", tmp_path / "home"]
    done = run(*asked, "--out", tmp_path / "screen", "--json", tmp_path / "out.json")
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out.json").read_text())["result"]
    assert result["texts"] == 1125
    assert result["toxic"] >= 100
    assert result["cleared_share"] > 0.9
    assert result["missed_share"] <= 0.01
    screen = result["screen"]
    assert open_screen(Path(screen["model"]), screen["sha256"]).sha256 == screen["sha256"]
    printed = yaml.safe_load(done.output[done.output.index("toxicity:\n") :])
    assert printed["toxicity"]["screen"] == screen
    policy = yaml.safe_load(shipped()["open-definition"].read_text())
    policy["toxicity"]["screen"] = screen
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(policy))
    assert load_policy(tmp_path / "mine.yaml").toxicity.screen.sha256 == screen["sha256"]
    policy["toxicity"]["screen"] = {**screen, "sha256": "0" * 64}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(policy))
    recipe = {"name": "r", "policy": str(tmp_path / "mine.yaml")}
    recipe["sources"] = [{"kind": "files", "name": "texts", "path": str(tmp_path / "texts.jsonl")}]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    refused = CliRunner().invoke(app, ["curate", str(tmp_path / "r.yaml"), "--home", str(tmp_path / "other")])
    assert refused.exit_code == 2
    assert "the screen's SHA-256 is" in refused.output
    assert not (tmp_path / "other").exists()  # found out before anything was written
    again = run(*asked, "--out", tmp_path / "again", "--json", tmp_path / "again.json")  # from stored scores
    assert again.exit_code == 0
    assert json.loads((tmp_path / "again.json").read_text())["result"]["screen"]["sha256"] == screen["sha256"]
    taught = [*list(lines(1000))[:5], *(f"The goblin {row} is a vile moron." for row in range(20))]
    (tmp_path / "teach.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in taught))
    more = ["--teach", tmp_path / "teach.jsonl", "--out", tmp_path / "more", "--json", tmp_path / "more.json"]
    assert run(*asked, *more).exit_code == 0
    other = json.loads((tmp_path / "more.json").read_text())["result"]
    assert (other["texts"], other["toxic"]) == (result["texts"], result["toxic"])  # counted are the others
    assert other["screen"]["sha256"] != screen["sha256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["open-definition"], "nothing to learn from"),
        (["open-definition", "--corpus", "nowhere"], "there is no corpus 'nowhere'"),
        (["open-definition", "--texts", "nowhere.jsonl"], "nowhere.jsonl"),
        (["open-definition", "--texts", "few.jsonl"], "too few to calibrate"),
        (["open-definition", "--texts", "few.jsonl", "--missed", "1.5"], "--missed"),
        (["open-definition", "--texts", "few.jsonl", "--clear", "0"], "--clear"),
        (["no-such-policy", "--texts", "few.jsonl"], "no-such-policy"),
        (["model.yaml", "--texts", "few.jsonl"], "does not let the stand-in decide"),
    ],
)
def test_what_the_user_gets_wrong_exits_2_with_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("few.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines(20)))
    policy = yaml.safe_load(shipped()["open-definition"].read_text())
    policy["toxicity"]["stand_in"] = False
    Path("model.yaml").write_text(yaml.safe_dump(policy))
    done = run(*arguments, "--out", tmp_path / "screen", "--home", tmp_path / "home")
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "screen").exists()
