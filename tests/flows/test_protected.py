"""Evaluation sets that a recipe protects, a canonical rule set, and the figures of both, through the command line."""

import json
from pathlib import Path

import pytest
import yaml
from test_bad_rows import curate

from flows.recipe import load_recipe
from tasks.errors import UserError
from tasks.governance.ledger import read_ledger
from tests_support import corpus_lines, write_recipe

pytestmark = pytest.mark.flow


def protect(folder, lines, questions):
    """A recipe whose corpus holds two of the protected questions."""
    path = folder / "quiz.jsonl"
    path.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in questions.items()))
    recipe = write_recipe(folder, lines)
    value = yaml.safe_load(recipe.read_text())
    value["protected"] = {"sets": [{"kind": "files", "name": "quiz", "path": str(path)}]}
    recipe.write_text(yaml.safe_dump(value))
    return recipe


def test_leaks_are_dropped_and_the_item_is_named(tmp_path):
    lines = corpus_lines(30)[:30]
    questions = {
        "q1": "Which of the two mill stones is it that turns while the other one lies still below?",
        "q2": "How much flour does a baker need for four loaves of bread and two trays of rolls?",
    }
    lines[3]["text"] += "\n\nAnd then: " + questions["q1"].upper()
    lines[8]["text"] = questions["q2"].replace(" ", "\n") + "\n\n" + lines[8]["text"]
    recipe = protect(tmp_path, lines, questions)
    code, outcome, error = curate(recipe, tmp_path)
    assert code == 0, error
    ledger = read_ledger(Path(outcome["result"]["path"]) / "ledger").to_pylist()
    hits = {row["uri"].rpartition("#")[2]: row for row in ledger if row["rule"] == "contamination.quiz"}
    assert set(hits) == {lines[3]["id"], lines[8]["id"]}
    assert sorted(row["detail"].rpartition("#")[2] for row in hits.values()) == ["q1", "q2"]
    assert {row["verdict"] for row in hits.values()} == {"drop"}
    assert "mill stones" not in json.dumps(ledger)
    assert all(row["value"] >= row["threshold"] == 1 for row in hits.values())
    assert "contamination" in {stage["name"] for stage in outcome["stages"]}
    gate = json.loads((Path(outcome["result"]["path"]) / "gate.json").read_text())
    asked = {entry["expectation"]: entry["passed"] for entry in gate["results"]}
    assert asked["admitted.contamination.quiz.ngrams.threshold"]
    assert isinstance(outcome["result"]["disparities"], list)


def test_a_set_must_be_able_to_name_a_rule(tmp_path):
    recipe = protect(tmp_path, corpus_lines(20)[:20], {"q1": "x"})
    value = yaml.safe_load(recipe.read_text())
    value["protected"]["sets"][0]["name"] = "my quiz"
    recipe.write_text(yaml.safe_dump(value))
    with pytest.raises(UserError, match="my quiz|name"):
        load_recipe(str(recipe))
