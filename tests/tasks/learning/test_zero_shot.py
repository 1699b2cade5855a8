"""Zero-shot: what is drawn, that a perfect and a blind model get what they should, and what a recipe may say."""

import numpy as np
import pytest

from flows.recipe import validate
from tasks.errors import UserError
from tasks.learning.evaluate_config import ZeroShot
from tasks.learning.samples import Pair, read_pairs
from tasks.learning.zero_shot import _ask, _Asked, _metrics


def pairs(count: int, each: int = 3) -> list[Pair]:
    return [Pair(f"{n:04d}", b"", f"caption {n % count}", "", "") for n in range(count * each)]


def test_a_perfect_model_is_right_and_a_blind_one_is_right_by_chance():
    asked = pairs(300)
    texts = {f"caption {n}": row for n, row in enumerate(np.eye(300, dtype=np.float32))}
    perfect = np.stack([texts[pair.caption] for pair in asked])
    blind = np.random.default_rng(0).normal(size=(900, 300)).astype(np.float32)
    config = ZeroShot(names=50, draws=20)
    for images, low, high in ((perfect, 1.0, 1.0), (blind, 0.012, 0.029)):
        right, candidates = _ask(images, asked, texts, config)
        assert candidates == 50
        assert low <= np.nanmean(right) <= high
    again, _ = _ask(blind, asked, texts, config)
    assert np.array_equal(right, again, equal_nan=True)
    found = {m.name: m for m in _metrics(_Asked("zero_shot", asked, np.ones(900), 50), 20)}
    assert found["eval/zero_shot_top1"].value == 1
    assert found["eval/zero_shot_chance"].value == 0.02
    assert found["eval/zero_shot_minus_chance"].value == pytest.approx(0.98)


def test_a_draw_asks_for_all_pictures_of_its_captions_and_for_no_other():
    asked = pairs(40, each=2)
    texts = {f"caption {n}": row for n, row in enumerate(np.eye(40, dtype=np.float32))}
    right, _ = _ask(np.zeros((80, 40), np.float32), asked, texts, ZeroShot(names=10, draws=1))
    told = {pair.caption for pair, one in zip(asked, right, strict=True) if not np.isnan(one)}
    assert len(told) == 10
    assert np.count_nonzero(~np.isnan(right)) == 20


SOURCE = {"kind": "pairs", "name": "p", "path": "x"}
RECIPE = {"name": "p", "policy": "open-definition", "sources": [SOURCE], "objective": {"method": "clip"}}


def test_a_recipe_of_pairs_names_its_method_and_the_rest_follows():
    for method in ("clip", "siglip"):
        recipe = validate({**RECIPE, "objective": {"method": method}}, "here")
        assert recipe.encoder.architecture == method
        assert [part.kind for part in recipe.evaluate] == ["zero-shot"]
        assert recipe.promote.metric == "eval/zero_shot_minus_chance"
        assert validate(recipe.plain(), "here") == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": [{"kind": "images", "name": "i", "path": "x"}]}, "images with captions"),
        ({"encoder": {"architecture": "siglip"}}, "cannot train a siglip"),
        ({"evaluate": [{"kind": "image-probe"}]}, "does not go with"),
        ({"objective": {"method": "simclr"}, "evaluate": [{"kind": "zero-shot"}]}, "does not go with"),
    ],
)
def test_what_does_not_fit_is_said(changes, message):
    with pytest.raises(UserError, match=message):
        validate({**RECIPE, **changes}, "here")


def test_a_corpus_without_captions_is_refused(tmp_path):
    from small_images import write_images

    with pytest.raises(UserError, match="txt"):
        read_pairs(write_images(tmp_path / "corpus", 20), "validation")
