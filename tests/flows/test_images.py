"""A folder of images from curation to a model that MLflow serves."""

import base64
import io
import json
from pathlib import Path

import pytest
import yaml
from media_chain import clip, write_files

from flows.recipe import load_recipe, validate
from tasks.errors import UserError
from tasks.governance.lineage import trace
from tasks.governance.mlflow_store import Store
from tasks.governance.verification import verify
from tasks.home import Home

SMALL = {
    "encoder": {
        "architecture": "timm",
        "model": "resnet18",
        "options": {"layers": [1, 1, 1, 1], "channels": [4, 8, 8, 8], "zero_init_last": False},
        "image_size": 8,
        "channels": 1,
    },
    "objective": {"method": "simclr", "hidden": 16, "projection": 8},
    "train": {
        "steps": 4, "batch": 16, "warmup_steps": 1, "checkpoint_every_steps": 2, "threads": 1, "optimizer": "adamw",
        "precision": "float32",
    },
    "evaluate": [{"kind": "image-probe", "labels_per_class": 2, "draws": 2, "random_init_seeds": 1}],
}  # fmt: skip


def digits(count: int) -> dict[str, bytes]:
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    found, data = {}, load_digits()
    for n in range(count):
        file = io.BytesIO()
        Image.fromarray((data.images[n] * 15.9375).astype(np.uint8)).save(file, "PNG")
        found[f"{data.target[n]}/{n}.png"] = file.getvalue()
    return found


def write_recipe(folder: Path, **changes) -> Path:
    recipe = {"name": "pictures", "policy": "open-definition", **SMALL, **changes}
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "r.yaml"


@pytest.mark.flow
def test_a_folder_of_images_becomes_a_served_model(prefect_server, tmp_path):
    import mlflow

    from flows.pipeline import pipeline

    files = digits(120) | {"0/broken.png": b"no image"}
    source = {"kind": "images", "name": "digits", "path": str(write_files(tmp_path / "in", files)), "licence": "MIT"}
    recipe = load_recipe(str(write_recipe(tmp_path, sources=[source], split={"validation": 0.3})))
    home = tmp_path / "home"
    outcome = pipeline(recipe, str(home))
    assert outcome["curate"]["counts"]["quarantine"] == 1
    assert verify(Path(outcome["curate"]["path"])) == []
    names = {metric["name"] for metric in outcome["evaluate"]["metrics"]}
    assert {"eval/linear_top1", "eval/random_init_top1", "eval/raw_pixels_top1"} <= names
    assert "tokenizer" not in [stage["name"] for stage in outcome["stages"]]
    seen = trace(Home.at(home), "0/0.png")
    assert [run["run_id"] for run in seen["runs"]] == [outcome["pretrain"]["run_id"]] or seen["corpora"][0][
        "split"
    ] == "validation"
    tracked = outcome["mlflow"]
    with Store(Home.at(home)).as_default():
        folder = mlflow.artifacts.download_artifacts(f"models:/{tracked['model']}/{tracked['version']}")
        model = mlflow.pyfunc.load_model(folder)
    import pandas

    two = pandas.DataFrame({"image": [files["0/0.png"], files["1/1.png"]]})
    first = model.predict(two)["embedding"].tolist()
    assert len(first[0]) == 8
    assert first[0] != first[1]
    example = json.loads((Path(folder) / "input_example.json").read_text())
    assert base64.b64decode(example["data"][0][0]).startswith(b"\x89PNG")


def test_an_image_recipe_without_words_on_learning_has_a_method_and_a_probe():
    source = {"kind": "images", "name": "p", "path": "x"}
    recipe = validate({"name": "p", "policy": "open-definition", "sources": [source]}, "here")
    assert (recipe.objective.method, recipe.encoder.architecture) == ("simclr", "timm")
    assert [part.kind for part in recipe.evaluate] == ["image-probe"]
    assert validate(recipe.plain(), "here") == recipe


TEXTS = {"kind": "files", "name": "t", "path": "x"}
IMAGES = {"kind": "images", "name": "p", "path": "x"}
WRONG = {
    "two forms": ({"sources": [TEXTS, IMAGES]}, "image and text in one corpus"),
    "no images": ({"sources": [TEXTS], "objective": {"method": "byol"}}, "the sources hold none"),
    "a text encoder": ({"sources": [IMAGES], "encoder": {"architecture": "bert"}}, "cannot train a bert"),
    "a text's evaluation": ({"sources": [IMAGES], "evaluate": [{"kind": "linear-probe"}]}, "does not go with"),
    "an image's evaluation": ({"sources": [TEXTS], "evaluate": [{"kind": "image-probe"}]}, "does not go with"),
    "protected images": ({"sources": [TEXTS], "protected": {"sets": [IMAGES]}}, "from texts only"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_said(case):
    changes, message = WRONG[case]
    with pytest.raises(UserError, match=message):
        validate({"name": "p", "policy": "open-definition", **changes}, "here")


def test_what_is_said_of_media_counts_for_the_corpus_of_media_only():
    jpeg = {"media": {"image": {"format": "jpeg"}}}
    base = {"name": "p", "policy": "open-definition"}
    texts = [validate({**base, "sources": [TEXTS], **more}, "here").curation_sha256() for more in ({}, jpeg)]
    images = [validate({**base, "sources": [IMAGES], **more}, "here").curation_sha256() for more in ({}, jpeg)]
    assert texts[0] == texts[1]
    assert images[0] != images[1]


@pytest.mark.flow
def test_clips_without_texts_have_no_text_to_learn_from(prefect_server, tmp_path):
    from flows.curate import curate
    from flows.pretrain import pretrain

    files = {f"a/{n}.wav": clip(n, seconds=0.2) for n in range(4)}
    source = {"kind": "audio", "name": "clips", "path": str(write_files(tmp_path / "in", files)), "licence": "MIT"}
    value = {"name": "clips", "policy": "open-definition", "sources": [source], "objective": {"method": "mlm"}}
    recipe = validate(value, "here")
    curate(recipe, str(tmp_path / "home"))
    with pytest.raises(UserError, match="learns from texts"):
        pretrain(recipe, home=str(tmp_path / "home"))
