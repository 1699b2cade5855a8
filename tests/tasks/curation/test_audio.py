"""Audio is made regular by stated rules or quarantined by name, whatever the bytes; measures mean what they say."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import hostile_audio
import numpy as np
import pytest
import soundfile
from hostile_audio import CASES, RATE, coded, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation.audio import decode, regularise_audio
from tasks.curation.audio_pieces import split_audio
from tasks.curation.media import AudioSettings

SETTINGS = AudioSettings()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of every hostile payload, in one process of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile_audio.write(folder)
    command = [sys.executable, "-P", hostile_audio.__file__, str(folder)]  # or tests/tasks would be the package tasks
    ran = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return dict(json.loads(ran.stdout))


@pytest.mark.parametrize("name", CASES)
def test_hostile_payloads(name: str, hostile: dict[str, dict[str, Any]]) -> None:
    found = hostile[name]
    assert found["rule"] == CASES[name][1], found["detail"]
    assert found["whole"]
    assert found["seconds"] <= 10
    assert found["mebibytes"] <= 512


def test_a_lie_about_the_length_changes_nothing(hostile: dict[str, dict[str, Any]]) -> None:
    for name in ("Ogg of 2^62 samples by its last page", "FLAC of unknown length"):
        assert hostile[name]["measures"]["seconds"] == pytest.approx(1, abs=0.05)


def regular(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> Any:
    found = regularise_audio(coded(samples, rate, kind, subtype), SETTINGS)
    assert found.rule == "", found.detail
    return found


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=3000),
    st.sampled_from(["WAV", "FLAC", "AIFF", "CAF", "AU"]),
)
def test_16_bit_mono_of_the_right_rate_is_kept_sample_for_sample(values: list[int], kind: str) -> None:
    samples = np.array(values, np.int16)
    samples = (samples - np.int64(samples.mean())).clip(-32768, 32767).astype(np.int16)
    if abs(samples.astype(float).mean() / 32768) > 1e-3:
        return
    data = regular(samples, kind=kind, subtype="PCM_16").data
    again, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == RATE
    assert np.array_equal(again, samples)
    assert regularise_audio(data, SETTINGS).data == data


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (11_025, 2), (44_100, 2), (48_000, 6), (192_000, 8), (16_000, 2)]
)
def test_rate_and_channels_are_brought_to_one(rate: int, channels: int) -> None:
    found = regular(tone(1, rate, channels, frequency=1000), rate)
    samples, written = decode(found.data)
    assert written == RATE
    assert abs(len(samples) - RATE) <= 1
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() == pytest.approx(1000, abs=2)
    assert found.measures["sample_rate"] == rate
    assert found.measures["channels"] == channels
    assert found.measures["seconds"] == pytest.approx(1)


def test_channels_are_mixed_by_their_mean() -> None:
    rng = np.random.default_rng(0)
    both = rng.integers(-3000, 3000, (500, 2)) * 2
    both -= both.mean(axis=0).astype(int)
    samples, _ = decode(regular(both.astype(np.int16), subtype="PCM_16").data)
    assert np.allclose(samples, both.mean(axis=1) / 32768, atol=1 / 32768)


def test_an_offset_goes_and_too_much_is_scaled() -> None:
    wave = tone(1)[:, 0]
    samples, _ = decode(regular(wave + 0.2).data)
    assert abs(samples.mean()) < 1e-4
    assert regular(wave + 0.2).measures["offset"] == pytest.approx(0.2, abs=1e-3)
    found = regular(wave * 10, subtype="FLOAT")
    samples, _ = decode(found.data)
    assert np.abs(samples).max() == pytest.approx(1, abs=1e-4)
    assert np.corrcoef(samples, wave)[0, 1] > 0.9999
    assert found.measures["peak"] == pytest.approx(np.abs(wave).max() * 10, rel=1e-3)


def test_tags_are_left_behind() -> None:
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", RATE, 1, format="FLAC", subtype="PCM_16") as file:
        file.title, file.artist, file.comment = "a title", "a person", "recorded at 52.52 N 13.40 E"
        file.write(tone(0.2))
    assert b"a person" in stream.getvalue()
    assert b"a person" not in regularise_audio(stream.getvalue(), SETTINGS).data
    assert b"52.52" not in regularise_audio(stream.getvalue(), SETTINGS).data


def test_level_and_clipping() -> None:
    wave = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE) * 0.5
    found = regular(wave).measures
    assert found["peak"] == pytest.approx(0.5, abs=1e-3)
    assert found["rms"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert found["clipped_share"] == 0
    flat = np.clip(wave, -0.4, 0.4)
    expected = (np.abs(wave) >= 0.4).mean()
    assert regular(flat).measures["clipped_share"] == pytest.approx(expected, abs=0.01)
    assert regular(np.stack([wave, flat], axis=1)).measures["clipped_share"] == pytest.approx(expected / 2, abs=0.01)
    assert (
        regular(np.zeros(RATE)).measures | {"peak": 0.0, "rms": -120.0, "silence_share": 1.0}
        == regular(np.zeros(RATE)).measures
    )


def test_silence_and_bandwidth() -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.3, 0.3, 2 * RATE)
    noise[RATE:] = 0
    found = regular(noise).measures
    assert found["silence_share"] == pytest.approx(0.5, abs=0.02)
    assert found["bandwidth"] == 8000
    telephone = regular(rng.uniform(-0.3, 0.3, 8000), 8000).measures
    assert 3800 <= telephone["bandwidth"] <= 4200


def test_long_audio_is_split_without_loss() -> None:
    samples = (np.random.default_rng(0).integers(-9000, 9000, (25_000, 2))).astype(np.int16)
    payload = coded(samples, 8000, subtype="PCM_16")
    pieces = dict(split_audio(payload, 1.25))
    assert list(pieces) == ["seconds=0-1.25", "seconds=1.25-2.5", "seconds=2.5-3.125"]
    together = np.concatenate([soundfile.read(io.BytesIO(piece), dtype="int16")[0] for piece in pieces.values()])
    assert np.array_equal(together, samples)
    assert dict(split_audio(payload, 4)) == {}
    floats = tone(2, 8000) * 3
    pieces = dict(split_audio(coded(floats, 8000, subtype="FLOAT"), 1))
    together = np.concatenate([soundfile.read(io.BytesIO(p), dtype="float32")[0] for p in pieces.values()])
    assert np.array_equal(together, floats[:, 0])


@pytest.mark.parametrize(("kind", "subtype"), [("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_24")])
def test_pieces_of_any_codec_join_without_a_gap(kind: str, subtype: str | None) -> None:
    payload = coded(tone(4, 48_000, 2, 300), 48_000, kind, subtype)
    whole = soundfile.read(io.BytesIO(payload), dtype="float32")[0]
    pieces = dict(split_audio(payload, 1.1))
    together = np.concatenate([soundfile.read(io.BytesIO(piece), dtype="float32")[0] for piece in pieces.values()])
    assert len(pieces) == 4
    assert np.allclose(together, whole, atol=1 / 32768)


def test_the_limit_is_exact() -> None:
    limit = AudioSettings(maximum_seconds=1)
    assert regularise_audio(coded(tone(1)), limit).rule == ""
    longer = regularise_audio(coded(np.concatenate([tone(1), tone(1)[:1]])), limit)
    assert longer.rule == "media.too_long"
    assert longer.data is None
    assert longer.measures["seconds"] > 1
