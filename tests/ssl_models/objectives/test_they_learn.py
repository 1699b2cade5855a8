"""The claim itself: features learned without labels tell digits apart better than pixels do, from five labels a digit.

The quickest runs here on the development split; `python -m benchmarks.quality_ssl` measures all on the test split.
"""

import pytest

from benchmarks.quality_ssl import BARS, SETTINGS, measure, write_digits

QUICK = {"simclr": 60}  # optimizer steps: about six seconds


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("digits") / "corpus", "development")


def check(name, corpus, folder, steps=None):
    found = measure(name, 0, corpus, folder, steps)
    above_raw, above_random = BARS[name]
    assert found["linear"] >= found["random_init"] + above_random, found
    assert above_raw is None or found["linear"] >= found["raw_pixels"] + above_raw, found


@pytest.mark.parametrize("name", QUICK)
def test_quickly(name, corpus, tmp_path):
    check(name, corpus, tmp_path / name, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"mae"}))  # MAE misses its bar: docs/objectives.md
def test_with_the_settings_of_the_benchmark(name, corpus, tmp_path):
    check(name, corpus, tmp_path / name)
