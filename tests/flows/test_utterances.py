"""The shipped recipe of synthetic speech, in miniature, through the flow."""

from pathlib import Path

import pytest

from flows.recipe import load_recipe
from tasks.governance.verification import verify


@pytest.mark.flow
def test_the_recipe_curates(prefect_server, tmp_path):
    from flows.curate import curate

    recipe = load_recipe("utterances", ("sources.0.each=1",))
    outcome = curate(recipe, str(tmp_path / "home"))
    assert outcome["counts"]["read"] == outcome["counts"]["keep"] == 12
    assert outcome["gate"]["passed"]
    assert verify(Path(outcome["path"])) == []


def test_a_recipe_of_clips_is_read_with_its_settings():
    recipe = load_recipe("asterisk", ("media.audio.maximum_seconds=30",))
    assert recipe.modality == "audio"
    assert recipe.captions
    assert recipe.media.audio.maximum_seconds == 30
