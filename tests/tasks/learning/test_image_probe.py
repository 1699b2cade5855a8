"""The few-label probe: what is drawn, what it stands beside, and that a lucky encoder is seen as one."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from small_images import SMALL, VIT, image_spec

from ssl_models.image_config import MAE, SimCLR
from ssl_models.image_encoders import save_image_encoder
from tasks.errors import UserError
from tasks.learning.evaluate import evaluate
from tasks.learning.evaluate_config import ImageProbe
from tasks.learning.image_probe import draw, encode, image_probe, random_image_encoder
from tasks.learning.samples import read_images


def make_run(folder, objective, encoder):
    """A run that has not learnt: its first weights, saved as the trainer saves."""
    spec = image_spec(folder, objective, encoder)
    run = folder / "run"
    (run / "encoder").mkdir(parents=True)
    spec.write(run / "SPEC.json")
    from ssl_models.image_run import ImageRun

    opened = ImageRun(spec)
    save_image_encoder(opened.objective.trained_encoder(opened.build_model()), encoder, run / "encoder")
    (run / "metrics.jsonl").write_text(json.dumps({"step": 10, "loss": 5.0}) + "\n")
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("probe")


@pytest.fixture(scope="module")
def run(folder):
    return make_run(folder, SimCLR(hidden=32, projection=16), SMALL)


CONFIG = ImageProbe(draws=4, random_init_seeds=2, labels_per_class=3)


def test_figures_stand_beside_raw_pixels_and_what_learned_nothing(run, folder):
    result = image_probe(run, folder / "corpus", CONFIG)
    figures = {metric.name: metric for metric in result.metrics}
    images = read_images(folder / "corpus", "validation")
    assert figures["eval/linear_top1"].n == len(images) == 80
    assert result.labels_N == [label for _, _, label in images]
    raw = figures["eval/raw_pixels_top1"].value
    assert 0.5 < raw < 0.95  # 30 labelled digits
    assert 0.1 < figures["eval/random_init_top1"].value < raw
    difference = figures["eval/linear_minus_raw_pixels_top1"]
    assert difference.value == pytest.approx(figures["eval/linear_top1"].value - raw, abs=2e-4)
    assert difference.low < difference.value < difference.high
    again = image_probe(run, folder / "corpus", CONFIG)
    assert (again.metrics, again.details) == (result.metrics, result.details)


def test_draws_hold_equally_many_of_each_label_and_differ(folder, run):
    rows = read_images(folder / "corpus", "train")
    keys, labels = [row[0] for row in rows], [row[2] for row in rows]
    first, second = (draw(keys, labels, CONFIG, number) for number in (0, 1))
    assert set(Counter(labels[i] for i in first).values()) == {3}
    assert first != second
    assert first == draw(keys, labels, CONFIG, 0)
    with pytest.raises(UserError, match="300 images or more"):
        draw(keys, labels, ImageProbe(labels_per_class=300), 0)


def test_a_random_encoder_has_the_norms_of_its_images(folder, run):
    spec = image_spec(folder, SimCLR(hidden=32, projection=16), SMALL)
    images = torch.rand(300, 1, 16, 16)
    encoder = random_image_encoder(spec, 0, images)
    assert not encoder.training
    assert encoder.bn1.running_mean.abs().sum() > 0
    assert np.array_equal(encode(encoder, images), encode(random_image_encoder(spec, 0, images), images))
    assert not np.array_equal(encode(encoder, images), encode(random_image_encoder(spec, 1, images), images))


def test_fine_tuning_learns_from_the_labelled_images(tmp_path):
    run = make_run(tmp_path, MAE(decoder_width=16, decoder_heads=2), VIT)
    config = ImageProbe(draws=2, random_init_seeds=1, fine_tune_steps=40, fine_tune_rate=3e-3)
    figures = {metric.name: metric.value for metric in image_probe(run, tmp_path / "corpus", config).metrics}
    assert figures["eval/linear_top1"] > 0.35  # far above chance, from fresh weights
    assert figures["eval/random_init_top1"] > 0.35


def test_an_evaluation_draws_its_pictures(run, folder, tmp_path):
    found = evaluate(run, folder / "corpus", [CONFIG], tmp_path)
    assert set(found.pictures) == {"loss", "embeddings", "probe"}
    assert found.metric("eval/linear_minus_random_init_top1") is not None
