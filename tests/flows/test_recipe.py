"""Recipes: what ships is valid; a mistake names the key, the place and what is allowed."""

import pytest
import yaml

from flows.recipe import Recipe, load_recipe, set_dotted, shipped
from tasks.errors import UserError


def test_what_ships_is_valid():
    assert {"python-docs", "python-docs-full"} <= set(shipped())
    for name in shipped():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description


def test_a_recipe_survives_its_own_json():
    recipe = load_recipe("python-docs")
    assert Recipe.model_validate(recipe.plain()) == recipe


def test_learning_does_not_change_the_corpus_digest_nor_placement_any():
    recipe = load_recipe("python-docs")
    slower = load_recipe("python-docs", ("train.learning_rate=0.5",))
    elsewhere = load_recipe("python-docs", ("placement.ray_address=local",))
    other = load_recipe("python-docs", ("split.validation=0.2",))
    assert (
        slower.curation_sha256() == recipe.curation_sha256() == elsewhere.curation_sha256() != other.curation_sha256()
    )
    assert slower.learning_sha256() != recipe.learning_sha256() == elsewhere.learning_sha256()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sorces": []}, "unknown key 'sorces'"),
        ({"sources": [{"kind": "filez", "path": "x"}]}, "'files', 'huggingface'"),
        ({"sources": [{"kind": "files", "name": "x"}]}, "path"),
        ({"sources": [{"kind": "files", "name": "x", "path": "p", "colums": {}}]}, "colums"),
        ({"sources": []}, "sources"),
        ({"policy": None}, "policy"),
        ({"train": {"steps": 0}}, "train.steps"),
        ({"train": {"stepz": 5}}, "stepz"),
        ({"split": {"validation": 1.5}}, "split.validation"),
        ({"objective": {"method": "gpt"}}, "'mlm', 'clm'"),
        ({"name": "Has Spaces"}, "name"),
    ],
)
def test_a_mistake_is_named(tmp_path, change, message):
    value = {"name": "x", "sources": [{"kind": "python-docs"}], "policy": "open-definition", **change}
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(value))
    with pytest.raises(UserError) as caught:
        load_recipe(str(path))
    assert message in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 2


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UserError) as caught:
        load_recipe("python-doc")
    assert "python-docs" in caught.value.hint


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "\tname: x"])
def test_what_is_no_mapping(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UserError):
        load_recipe(str(path))


def test_dotted_overrides():
    value = {"a": {"b": 1}, "l": [{"x": 1}]}
    set_dotted(value, "a.b=[1, 2]")
    set_dotted(value, "new.deep=true")
    set_dotted(value, "l.0.x=text")
    assert value == {"a": {"b": [1, 2]}, "l": [{"x": "text"}], "new": {"deep": True}}
    for bad in ("nothing", "=1", "a.b.c=1", "l.7.x=1"):
        with pytest.raises(UserError):
            set_dotted({"a": {"b": 1}, "l": [{"x": 1}]}, bad)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("encoder.architecture=bert", "objective clm cannot train a bert"),
        ("evaluate=[{kind: masked-tokens}]", "masked-tokens does not go with objective clm"),
        ("objective.method=nonsense", "mlm"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(override, says):
    with pytest.raises(UserError, match=says):
        load_recipe("python-docs-gpt", (override,))
