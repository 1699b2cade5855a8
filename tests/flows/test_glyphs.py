"""Characters and their names from curation to a model that MLflow serves."""

from pathlib import Path

import pytest

from flows.recipe import load_recipe
from tasks.governance.mlflow_store import Store
from tasks.governance.verification import verify
from tasks.home import Home

CHANGES = (
    'sources.0.fonts=["DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSerif-Bold"]',
    'sources.0.ranges=["0041-005A", "0061-007A"]',
    "split.validation=0.5",
    "train.steps=3",
    "train.batch=16",
    "encoder.patch=16",
    "encoder.width=16",
    "encoder.layers=1",
)


@pytest.mark.flow
def test_characters_and_their_names_become_a_served_model(prefect_server, tmp_path):
    import mlflow
    import pandas

    from flows.pipeline import pipeline

    outcome = pipeline(load_recipe("glyphs", CHANGES), str(tmp_path / "home"))
    assert verify(Path(outcome["curate"]["path"])) == []
    names = {metric["name"] for metric in outcome["evaluate"]["metrics"]}
    assert {"eval/zero_shot_top1", "eval/zero_shot_chance", "eval/zero_shot_minus_chance"} <= names
    assert "tokenizer" in [stage["name"] for stage in outcome["stages"]]
    tracked = outcome["mlflow"]
    with Store(Home.at(tmp_path / "home")).as_default():
        folder = mlflow.artifacts.download_artifacts(f"models:/{tracked['model']}/{tracked['version']}")
        model = mlflow.pyfunc.load_model(folder)
    from tasks.learning.samples import read_pairs

    pairs = read_pairs(Path(outcome["curate"]["path"]), "validation")[:2]
    first, second = model.predict(pandas.DataFrame({"image": [pair.image for pair in pairs]}))["embedding"].tolist()
    assert len(first) == 128
    assert first != second
