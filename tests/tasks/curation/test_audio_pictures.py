"""A clip's picture shows what is heard when and how high."""

import numpy as np
import pytest

from tasks.curation.audio import encode
from tasks.curation.audio_pictures import thumbnail

RATE = 16_000


def picture(samples: np.ndarray) -> np.ndarray:
    return np.asarray(thumbnail(encode(samples.astype(np.float32), RATE)).convert("L"), np.int16)


def test_a_rising_tone_rises() -> None:
    t = np.arange(2 * RATE) / RATE
    seen = picture(0.5 * np.sin(2 * np.pi * (300 * t + 800 * t**2)))
    assert seen.shape == (96, 160)
    rows = seen[:, 10:150].argmax(axis=0)
    assert rows[0] - rows[-1] > 30
    assert (np.diff(rows) <= 1).all()


def test_silence_is_black_and_a_pause_is_dark() -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    seen = picture(np.concatenate([noise, np.zeros(RATE), noise]))
    assert seen[:, 65:95].mean() < 10 < 100 < seen[:, 10:40].mean()
    assert not picture(np.zeros(RATE)).any()
    assert picture(np.ones(3)).shape == (96, 160)


def test_what_is_no_clip() -> None:
    with pytest.raises(ValueError, match="no audio"):
        thumbnail(b"nothing")
