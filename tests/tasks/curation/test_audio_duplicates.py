"""Copies of a clip are found whatever was done to them, and no two different clips are taken for one."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import soxr

from tasks.curation.audio import encode
from tasks.curation.audio_duplicates import KEY_BITS, TABLES, find_audio_pairs, masks
from tasks.curation.audio_fingerprints import BITS, fingerprint, similarity
from tasks.curation.speech.synthesiser import synthesise
from tasks.curation.speech.voices import VOICES

RATE = 16_000
SENTENCES = ("seven red boats", "nine red boats", "two small dogs wait here", "five black birds", "ten warm houses")


def again(samples: np.ndarray, kind: str, subtype: str | None, **how: object) -> np.ndarray:
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=kind, subtype=subtype, **how)
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0]


def cut(samples: np.ndarray) -> np.ndarray:
    return samples[len(samples) // 10 + 37 : -len(samples) // 12]


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nothing": lambda x: x,
    "Ogg": lambda x: again(x, "OGG", "VORBIS", compression_level=0.9),
    "MP3": lambda x: again(x, "MP3", None, compression_level=0.9),
    "Opus": lambda x: again(x, "OGG", "OPUS"),
    "8 kHz": lambda x: soxr.resample(soxr.resample(x, RATE, 8000), 8000, RATE),
    "gain": lambda x: (x * 0.2).astype(np.float32),
    "cut": cut,
    "cut, gain, Ogg": lambda x: again(cut(x) * np.float32(0.4), "OGG", "VORBIS", compression_level=0.9),
}


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [synthesise(VOICES[0], text, 1) for text in SENTENCES]


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(name: str, clips: list[np.ndarray]) -> None:
    payloads = [(f"clip {n}", encode(clip, RATE)) for n, clip in enumerate(clips)]
    payloads += [(f"copy {n}", encode(CHANGES[name](clip), RATE)) for n, clip in enumerate(clips)]
    found = list(find_audio_pairs(payloads, 0.5))
    assert sorted((a, b) for a, b, _ in found) == [(f"clip {n}", f"copy {n}") for n in range(len(clips))]
    if name == "nothing":
        assert all(part == 1 for _, _, part in found)


def test_the_pairs_do_not_depend_on_the_order(clips: list[np.ndarray]) -> None:
    payloads = [(f"{n} {name}", encode(CHANGES[name](clip), RATE)) for n, clip in enumerate(clips) for name in CHANGES]
    forward = {frozenset((a, b)): part for a, b, part in find_audio_pairs(payloads, 0.5)}
    backward = {frozenset((a, b)): part for a, b, part in find_audio_pairs(payloads[::-1], 0.5)}
    assert forward == backward
    for pair in forward:
        assert len({name.split()[0] for name in pair}) == 1
    wanted = {
        frozenset((f"{n} nothing", f"{n} {name}")) for n in range(len(clips)) for name in CHANGES if name != "nothing"
    }
    assert wanted <= forward.keys()


def test_silence_resembles_nothing() -> None:
    rng = np.random.default_rng(0)
    quiet = [np.zeros(RATE, np.float32), np.zeros(RATE, np.float32), rng.uniform(-6e-5, 6e-5, RATE), np.zeros(10)]
    assert list(find_audio_pairs([(str(n), encode(clip, RATE)) for n, clip in enumerate(quiet)], 0.1)) == []
    assert list(find_audio_pairs([], 0.1)) == []


def test_similarity_is_the_bits_in_common_beyond_chance(clips: list[np.ndarray]) -> None:
    """Against a count of single bits in a loop."""
    one, other = fingerprint(clips[0], RATE), fingerprint(clips[1], RATE)
    for shift in (-20, 0, 35):
        same = both = 0
        for at, word in enumerate(one.words.tolist()):
            there = at - shift
            if 0 <= there < len(other.words) and one.sounding[at] and other.sounding[there]:
                both += BITS
                same += sum((word ^ int(other.words[there])) >> bit & 1 == 0 for bit in range(BITS))
        expected = (2 * same - both) / BITS / max(one.sounding.sum(), other.sounding.sum())
        assert similarity(one, other, np.array([shift])) == pytest.approx(max(0, expected))
        assert similarity(other, one, np.array([-shift])) == pytest.approx(max(0, expected))


def test_a_bit_is_the_sign_of_a_difference_of_differences() -> None:
    """Against the definition of Haitsma and Kalker, band by band, on levels computed with a plain Fourier transform."""
    from tasks.curation.spectra import mel_filters

    samples = np.random.default_rng(3).standard_normal(4000) * np.linspace(0.05, 0.3, 4000)
    samples = samples.astype(np.float32)
    found = fingerprint(samples, RATE)
    padded = np.concatenate([np.zeros(1024), samples, np.zeros(1024)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    starts = range(0, len(padded) - 2047, 160)
    powers = np.array([np.abs(np.fft.rfft(padded[at : at + 2048] * window)) ** 2 for at in starts])
    bands = powers @ mel_filters(RATE, 2048, BITS + 1, 200.0, 3600.0)
    levels = np.log(bands + bands.sum(axis=1).max() * 1e-6)
    wrong = 0
    for frame in range(1, len(levels)):
        for band in range(BITS):
            grown = (levels[frame, band] - levels[frame, band + 1]) - (
                levels[frame - 1, band] - levels[frame - 1, band + 1]
            )
            wrong += (grown > 0) != bool(int(found.words[frame - 1]) >> band & 1)
    assert len(found.words) == len(levels) - 1
    assert wrong <= 2  # a difference of almost nothing


def test_every_mask_has_its_bits() -> None:
    assert [int(mask).bit_count() for mask in masks()] == [KEY_BITS] * TABLES
    assert len({int(mask) for mask in masks()}) == TABLES
