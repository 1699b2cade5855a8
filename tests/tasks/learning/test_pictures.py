"""Pictures are the same bytes for the same figures, and show the figures that they were given."""

import json
import struct

import matplotlib
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from tasks.learning.intervals import Metric
from tasks.learning.pictures import MARKERS, SCATTER, baseline_bars, embedding_pca, loss_curve, principal_components

METRICS = [
    Metric("eval/cross_entropy", 4.4, 4.3, 4.5, 900),
    Metric("eval/unigram_cross_entropy", 6.1, 6.0, 6.2, 900),
    Metric("eval/bigram_cross_entropy", 4.45, 4.4, 4.5, 900),
    Metric("eval/linear_top1", 0.61, 0.57, 0.65, 800),
    Metric("eval/random_init_top1", 0.48, 0.44, 0.52, 800, 3),
    Metric("eval/tfidf_top1", 0.7, 0.67, 0.73, 800),
    Metric("eval/majority_top1", 0.05, None, None, 800),
]


def chunks(png):
    """The chunk names of a PNG, and its width and height."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    names, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        names.append(png[at + 4 : at + 8].decode())
        at += 12 + length
    return names, struct.unpack(">II", png[16:24])


@pytest.fixture
def losses(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"step": step, "loss": 4 + 4 / (1 + step / 20)} for step in range(1, 60)] + [{"step": 60}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def features(documents=200, width=16, labels=20):
    random = np.random.default_rng(0)
    return random.normal(size=(documents, width)).astype(np.float32), [f"label {i % labels}" for i in range(documents)]


def drawn(kind, folder, losses):
    path = folder / f"{kind}.png"
    if kind == "loss":
        return loss_curve(losses, METRICS, path)
    return embedding_pca(*features(), path) if kind == "embeddings" else baseline_bars(METRICS, path)


@pytest.mark.parametrize("kind", ["loss", "embeddings", "probe"])
def test_the_same_bytes_twice_without_a_date(kind, tmp_path, losses):
    first = drawn(kind, tmp_path / "a", losses).read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):  # a person's own style changes nothing
        second = drawn(kind, tmp_path / "b", losses).read_bytes()
    assert first == second
    names, (width, height) = chunks(first)
    assert set(names) == {"IHDR", "pHYs", "IDAT", "IEND"}
    assert width > 700
    assert height > 300


def test_other_figures_make_another_picture(tmp_path, losses):
    worse = [Metric("eval/linear_top1", 0.2, 0.1, 0.3, 800), *METRICS[4:]]
    first, second = baseline_bars(METRICS, tmp_path / "a.png"), baseline_bars(worse, tmp_path / "b.png")
    assert first.read_bytes() != second.read_bytes()
    first, second = loss_curve(losses, METRICS, tmp_path / "c.png"), loss_curve(losses, [], tmp_path / "d.png")
    assert first.read_bytes() != second.read_bytes()


def test_components_are_those_of_scikit_learn():
    values, _ = features()
    scores, share = principal_components(values * np.arange(1, 17) + 5)
    oracle = PCA(2, svd_solver="full")
    wanted = oracle.fit_transform(StandardScaler().fit_transform(values.astype(np.float64)))
    np.testing.assert_allclose(np.abs(scores), np.abs(wanted), atol=1e-3)
    np.testing.assert_allclose(share, oracle.explained_variance_ratio_, atol=1e-5)


def test_nothing_much_to_draw_is_drawn_too(tmp_path):
    empty = tmp_path / "metrics.jsonl"
    empty.write_text("")
    for path in (
        loss_curve(empty, [], tmp_path / "a.png"),
        loss_curve(empty, METRICS, tmp_path / "b.png"),
        embedding_pca(np.ones((1, 4), np.float32), ["one"], tmp_path / "c.png"),
        embedding_pca(np.ones((3, 1), np.float32), ["a", "b", "b"], tmp_path / "d.png"),
        embedding_pca(*features(labels=len(SCATTER) * len(MARKERS) + 5), tmp_path / "e.png"),
        baseline_bars(METRICS[:4], tmp_path / "f.png"),
        baseline_bars([], tmp_path / "g.png"),
    ):
        assert chunks(path.read_bytes())[0][-1] == "IEND"


def test_every_label_of_the_probe_has_a_mark_of_its_own():
    marks = {(SCATTER[i % len(SCATTER)], MARKERS[i // len(SCATTER) % len(MARKERS)]) for i in range(20)}
    assert len(marks) == 20
