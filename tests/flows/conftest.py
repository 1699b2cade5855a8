"""A miniature of the main job: a few hundred generated texts, through every real step, once per session."""

import pytest

from tests_support import corpus_lines, write_recipe


@pytest.fixture(scope="session")
def mini(tmp_path_factory, prefect_server):
    """(HOME, the pipeline's outcome) of one whole miniature run."""
    from flows.pipeline import pipeline
    from flows.recipe import load_recipe

    folder = tmp_path_factory.mktemp("mini")
    recipe = load_recipe(str(write_recipe(folder, corpus_lines())))
    return folder / "home", pipeline(recipe, str(folder / "home"))
