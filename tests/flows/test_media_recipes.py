"""The shipped recipes that need only what is installed, in miniature; and what a recipe without a method says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.preflight import require_method
from flows.recipe import Recipe, load_recipe, validate
from tasks.errors import UserError
from tasks.governance.verification import verify


@pytest.mark.flow
def test_digits_become_a_measured_encoder(prefect_server, tmp_path):
    from flows.curate import curate
    from flows.evaluate import evaluate
    from flows.pretrain import pretrain

    changes = ("sources.0.first=300", "train.steps=10", "train.batch=64", "train.threads=1", "train.log_every_steps=1")
    probe = "evaluate=[{kind: image-probe, labels_per_class: 5, draws: 4, random_init_seeds: 1}]"
    recipe, home = load_recipe("digits", (*changes, probe)), str(tmp_path / "home")
    curated = curate(recipe, home)
    assert curated["counts"]["read"] == curated["counts"]["keep"] == 300
    assert verify(Path(curated["path"])) == []
    trained = pretrain(recipe, home=home)
    measured = {metric["name"]: metric["value"] for metric in evaluate(trained["run_id"], home)["metrics"]}
    assert measured["eval/raw_pixels_top1"] > 0.4
    assert measured["eval/linear_top1"] > 0.2  # of ten labels
    run = tmp_path / "home" / "runs" / trained["run_id"]
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 10
    assert losses[-1] < losses[0]


@pytest.mark.flow
def test_glyphs_of_three_fonts_are_curated(prefect_server, tmp_path):
    from flows.curate import curate

    fonts = "sources.0.fonts=[DejaVuSans, DejaVuSerif, DejaVuSansMono]"
    outcome = curate(load_recipe("glyphs", (fonts, "sources.0.ranges=['0041-005A']")), str(tmp_path / "home"))
    assert outcome["counts"]["read"] == outcome["counts"]["keep"] == 78
    assert outcome["gate"]["passed"]
    assert verify(Path(outcome["path"])) == []
    manifest = json.loads((Path(outcome["path"]) / "manifest.json").read_text())
    assert manifest["splits"] in ({"train": 52, "validation": 26}, {"train": 26, "validation": 52})  # whole fonts


PAIRS = {"kind": "pairs", "name": "p", "path": "x"}
CLIPS = {"kind": "audio", "name": "p", "path": "x"}
IMAGES = {"kind": "images", "name": "p", "path": "x"}
TARS = {"kind": "webdataset", "name": "p", "path": "x"}
TEXTS = {"kind": "files", "name": "p", "path": "x"}
METHODS = [
    (PAIRS, "none"), (PAIRS | {"media": "audio"}, "none"), (CLIPS, "none"), (TARS | {"captions": True}, "none"),
    (TARS | {"media": "audio"}, "none"), (TARS, "simclr"), (IMAGES, "simclr"), (TEXTS, "mlm"),
]  # fmt: skip


def recipe_of(source: dict, **more) -> Recipe:
    return validate({"name": "p", "policy": "open-definition", "sources": [source], **more}, "here")


@pytest.mark.parametrize(("source", "method"), METHODS)
def test_what_is_learned_by_when_nothing_is_said(source, method):
    recipe = recipe_of(source)
    assert recipe.objective.method == method
    assert Recipe.model_validate(recipe.plain()) == Recipe.model_validate(recipe) == recipe
    if method != "none":
        assert require_method(recipe) == recipe.objective
        return
    with pytest.raises(UserError, match="nothing to train"):
        require_method(recipe)


def test_a_method_that_is_named_is_taken():
    assert recipe_of(PAIRS, objective={"method": "simclr"}).objective.method == "simclr"
    assert require_method(load_recipe("glyphs")).method == "clip"
    assert recipe_of(PAIRS | {"media": "audio"}, objective={"method": "mlm"}).objective.method == "mlm"
    with pytest.raises(UserError, match="trains no model"):
        recipe_of(TEXTS, objective={"method": "none"}, evaluate=[{"kind": "masked-tokens"}])


def test_no_method_changes_no_corpus():
    assert recipe_of(TEXTS, objective={"method": "none"}).curation_sha256() == recipe_of(TEXTS).curation_sha256()


@pytest.mark.parametrize("verb", ["run", "pretrain"])
def test_utterances_are_not_trained_on_and_nothing_is_left_behind(tmp_path, verb):
    command = [sys.executable, "-m", "flows.cli", verb, "utterances", "--home", "there", "--json", "out.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    error = json.loads((tmp_path / "out.json").read_text())["error"]
    assert "no training method for audio" in error["message"]
    assert "gristmill curate utterances" in error["hint"]
    assert not (tmp_path / "there").exists()
