"""The toys behind the methods do what they say, quickly."""

import math

import pytest

from tasks.learning import seeds


def test_the_next_word_from_its_left_neighbour():
    following = seeds.bigram("a b a c a b .")
    assert following["a"] == [("b", pytest.approx(2 / 3)), ("c", pytest.approx(1 / 3))]
    assert following["c"] == [("a", 1.0)]
    measures = seeds.bigram_measures("a b a c a b .")
    assert measures["unigram"] > measures["bigram"]
    after_a = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert measures["bigram"] == pytest.approx((3 * after_a + 2 * math.log(2)) / 6)
    assert measures["kl_after_a"] > 0


def test_views_of_a_point_find_each_other():
    figures = seeds.views()
    assert figures["last_loss"] < figures["first_loss"] < 3 * figures["chance_loss"]
    assert figures["before"] < 0.2 < 0.5 < figures["after"]


def test_triplets_pull_clusters_apart(tmp_path):
    figures = seeds.triplet(tmp_path)
    assert figures["last_loss"] < 0.1 < figures["first_loss"]
    assert figures["after"] > 0.95 > figures["before"]
    picture = (tmp_path / "triplet.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    seeds.triplet(tmp_path)
    assert (tmp_path / "triplet.png").read_bytes() == picture


def test_the_command_says_its_figures(capsys):
    seeds.main(["bigram"])
    assert "miller ->" in capsys.readouterr().out
