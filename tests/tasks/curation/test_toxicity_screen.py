"""The screen: one score whatever the company, pinned files, and calibration on what a model said."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation.toxicity import LABELS
from tasks.curation.toxicity_calibrate import calibrate, choose, toxic_margin
from tasks.curation.toxicity_screen import COLUMN, FILES, Features, open_screen, scores, write_screen
from tasks.errors import UserError
from tests_support import text

SMALL = Features(bits=12, window_characters=200, overlap_characters=20)
THRESHOLDS = {"toxicity": 0.8, "insult": 0.5}


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    weights = np.random.default_rng(0).normal(size=2 * 2**12) * 3
    about = {"model": "0123456789abcdef", "thresholds": THRESHOLDS}
    return write_screen(tmp_path_factory.mktemp("screen"), SMALL, weights, -1.0, about)


def test_a_score_by_hand(screen):
    """One window: the sigmoid of its dot product with the weights; several: the maximum."""
    weights = np.random.default_rng(0).normal(size=2 * 2**12).astype(np.float32) * np.float32(3)
    row = SMALL.matrix(["the quick brown fox"]).toarray()[0]
    assert np.linalg.norm(row[: 2**12]) == pytest.approx(1)
    assert np.linalg.norm(row[2**12 :]) == pytest.approx(1)
    expected = 1 / (1 + np.exp(-(row @ weights.astype(float) - 1)))
    assert screen.score_texts(["the quick brown fox"])[0] == pytest.approx(expected, abs=6e-5)
    long = text(1, 20)
    windows, owners = SMALL.windows([long])
    assert len(windows) > 3
    assert set(owners) == {0}
    assert screen.score_texts([long])[0] == screen.score_texts(windows).max()


@settings(max_examples=40)
@given(st.lists(st.text(max_size=300), max_size=8), st.integers(0, 8))
def test_any_text_scores_alike_alone_and_in_company(screen, texts, cut):
    whole = screen.score_texts(texts)
    assert whole.shape == (len(texts),)
    assert ((whole >= 0) & (whole <= 1)).all()
    parts = np.concatenate([screen.score_texts(texts[:cut]), screen.score_texts(texts[cut:])])
    np.testing.assert_array_equal(parts, whole)
    for one, score in zip(texts, whole, strict=True):
        assert screen.score_texts([one])[0] == score


def test_as_a_scorer(screen):
    table = screen.score(pa.table({"text": pa.array(["alpha", None], pa.large_string())}))
    assert table.schema == screen.schema
    assert table[COLUMN].is_valid().to_pylist() == [True, False]


def test_a_changed_file_is_refused(screen, tmp_path):
    import shutil

    for name in FILES:
        copy = shutil.copytree(screen.folder, tmp_path / name)
        opened = open_screen(copy, screen.sha256)
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(UserError, match="SHA-256"):
            open_screen(copy, screen.sha256)
        with pytest.raises(UserError, match="changed"):  # between opening and the first score
            opened.score_texts(["a"])
        (copy / name).unlink()
        with pytest.raises(UserError, match="has no"):
            open_screen(copy, screen.sha256)


def test_margin_is_the_policys_own_verdict():
    generator = np.random.default_rng(1)
    scores_NL = np.round(generator.random((500, 6)), 4)
    scores_NL[:4] = [[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0.8, 0, 0, 0, 0, 0], [0.7999, 0, 0, 0, 0.4999, 0]]
    toxic = np.any([scores_NL[:, LABELS.index(label)] >= value for label, value in THRESHOLDS.items()], axis=0)
    np.testing.assert_array_equal(toxic_margin(scores_NL, THRESHOLDS) >= 0, toxic)


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.01, 0.2]))
def test_the_threshold_misses_no_more_than_allowed(seed, missed):
    generator = np.random.default_rng(seed)
    toxic_N = generator.random(400) < 0.3
    screen_N = np.round(np.clip(generator.normal(0.3 + 0.4 * toxic_N, 0.2), 0, 1), 2)  # with ties
    found = choose(screen_N, toxic_N, missed)
    assert found.missed == (toxic_N & (screen_N < found.threshold)).sum() <= missed * toxic_N.sum()
    assert found.cleared_share == pytest.approx((screen_N[~toxic_N] < found.threshold).mean(), abs=1e-4)
    higher = screen_N[screen_N > found.threshold]
    if len(higher):  # the next higher one would miss more, or clear more than is worth it
        more = screen_N <= found.threshold
        assert (toxic_N & more).sum() > missed * toxic_N.sum() or (more & ~toxic_N).sum() >= 0.95 * (~toxic_N).sum()


def corpus(count=1200, seed=0):
    """Prose, every tenth with a hostile sentence in it; a teacher that sees the sentence, not the word alone."""
    draw = random.Random(seed)
    texts, scores_NL = [], np.full((count, 6), 0.01)
    for row in range(count):
        words = f"Page {row}: {text(seed * 10_000 + row, draw.randint(1, 9))}"  # no two alike
        if row % 10 == 0:
            words += f" You are a {draw.choice(['stupid', 'vile', 'worthless'])} {draw.choice(['fool', 'worm'])}."
            scores_NL[row] = 0.97
        texts.append(words)
    return texts, np.round(scores_NL + np.random.default_rng(seed).random((count, 6)) * 0.02, 4)


def test_calibration_learns_pins_and_does_not_depend_on_the_order(tmp_path):
    texts, scores_NL = corpus()
    screen, found = calibrate(texts, scores_NL, THRESHOLDS, "m" * 16, 0.01, tmp_path / "a", SMALL)
    assert (found.texts, found.toxic) == (1200, 120)
    assert found.cleared_share > 0.9
    assert found.missed_low <= found.missed_share <= 0.01 <= found.missed_high
    fresh, fresh_scores = corpus(600, seed=7)
    screened = screen.score_texts(fresh)
    toxic = fresh_scores[:, 0] >= 0.8
    assert (screened[toxic] >= found.threshold).mean() > 0.95
    assert (screened[~toxic] < found.threshold).mean() > 0.9
    order = np.random.default_rng(2).permutation(len(texts))
    again, same = calibrate(
        [texts[row] for row in order], scores_NL[order], THRESHOLDS, "m" * 16, 0.01, tmp_path / "b", SMALL
    )
    assert (again.sha256, same) == (screen.sha256, found)
    assert open_screen(tmp_path / "a", screen.sha256) == screen
    np.testing.assert_array_equal(scores(SMALL, *_tensors(tmp_path / "a"), fresh), screened)


def test_what_only_teaches_is_learned_from_and_not_counted(tmp_path):
    """Hostile texts of another kind teach their words; threshold and figures are of the judged ones alone."""
    texts, scores_NL = corpus()
    foreign = [f"You {word} number {n}, good for nothing." for word in ("zounderkite", "muppet") for n in range(60)]
    both = np.concatenate([scores_NL, np.full((len(foreign), 6), 0.97)])
    alone, found = calibrate(texts, scores_NL, THRESHOLDS, "m" * 16, 0.01, tmp_path / "a", SMALL)
    taught, figures = calibrate(
        [*texts, *foreign], both, THRESHOLDS, "m" * 16, 0.01, tmp_path / "b", SMALL, teach=foreign
    )
    assert (figures.texts, figures.toxic) == (found.texts, found.toxic)
    fresh = [f"They call him a {word}, good for nothing." for word in ("zounderkite", "muppet")]
    assert (taught.score_texts(fresh) > alone.score_texts(fresh) + 0.1).all()
    with pytest.raises(UserError, match="120 distinct texts, 0 of them toxic"):
        calibrate(foreign + texts[:120], both[:240] * 0, THRESHOLDS, "m" * 16, 0.01, tmp_path, SMALL, teach=foreign)


def _tensors(folder):
    from safetensors.numpy import load_file

    tensors = load_file(folder / "screen.safetensors")
    return tensors["weights"].astype(float), float(tensors["bias"][0])


def test_too_little_is_refused(tmp_path):
    texts, scores_NL = corpus(300)
    with pytest.raises(UserError, match="300 distinct texts, 30 of them toxic"):
        calibrate(texts, scores_NL, THRESHOLDS, "m" * 16, 0.01, tmp_path, SMALL)
    scores_NL[:, LABELS.index("insult")] = np.nan
    with pytest.raises(UserError, match="no score for a label"):
        calibrate(texts, scores_NL, THRESHOLDS, "m" * 16, 0.01, tmp_path, SMALL)
    assert not list(tmp_path.iterdir())
