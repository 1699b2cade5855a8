"""A small corpus for every test of the tasks."""

import pytest
from interface_corpora import Corpus, write_corpus


@pytest.fixture
def texts() -> list[str]:
    """Forty short texts, some of them not ASCII, one of exactly a tar block, one empty of words."""
    plain = [f"text number {number} grinds slowly but exceedingly fine " * (1 + number % 3) for number in range(38)]
    return [*plain, "ü" * 256, "\N{GRINNING FACE} \u05d0\u05d1"]


@pytest.fixture
def corpus(home, texts) -> Corpus:
    return write_corpus(home, texts)
