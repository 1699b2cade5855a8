"""Clips from shards: the right samples, cut where the keys say, normalised, in any threads, from any position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_audio import flac, write_clips

import ssl_models.audio
from ssl_models.audio import AudioBatch, AudioStream, crop_starts, decode, frames, normalise
from ssl_models.reader import Index, Reader

LENGTHS = [400, 1000, 2500, 160, 9000, 3000, 1, 700, 5000, 1200, 1201, 2400, 7000]


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(-8000, 9000, length).astype(np.int16) for length in LENGTHS]


@pytest.fixture(scope="module")
def index(clips: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = write_clips(
        tmp_path_factory.mktemp("audio") / "corpus", clips, [f"clip number {n}" for n in range(len(clips))]
    )
    return Index(folder, "train", "flac", "txt")


def naive(clip: np.ndarray) -> np.ndarray:
    """A crop at mean 0 and variance 1, as the feature extractor of wav2vec 2.0 writes it."""
    x = clip.astype(np.float64) / 32768
    return (x - x.mean()) / np.sqrt(x.var() + 1e-7)


def number(batch: AudioBatch, row: int, index: Index) -> int:
    return int(index.keys[int(np.flatnonzero(index.words == batch.words_B[row])[0])], 16)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("length", [None, 1200])
def test_every_batch_holds_what_its_keys_say(index, clips, length, threads) -> None:
    stream = AudioStream(Reader(index, 5), rows=6, length=length, texts=True, threads=threads)
    seen = []
    for _ in range(5):
        batch = next(stream)
        assert batch.samples_BT.shape == (6, int(batch.lengths_B.max()))
        counts = np.array([LENGTHS[number(batch, row, index)] for row in range(6)])
        starts = crop_starts(batch.words_B, batch.epochs_B, counts, length or 10**6, 5)
        for row in range(6):
            at = number(batch, row, index)
            seen.append(at)
            assert batch.texts[row] == f"clip number {at}"
            expected = naive(clips[at][starts[row] : starts[row] + (length or 10**6)])
            size = int(batch.lengths_B[row])
            assert size == len(expected)
            assert np.allclose(batch.samples_BT[row, :size].numpy(), expected, atol=2e-4)
            assert not batch.samples_BT[row, size:].any()
    assert sorted(seen[: len(clips)]) == list(range(len(clips)))
    assert batch.cells == int(batch.lengths_B.sum())


def test_it_goes_on_where_it_stood(index) -> None:
    whole = AudioStream(Reader(index, 1), rows=4, length=800, threads=1)
    expected = [next(whole) for _ in range(8)]
    first = AudioStream(Reader(index, 1), rows=4, length=800, threads=1)
    for _ in range(3):
        next(first)
    again = AudioStream(Reader(index, 1), rows=4, length=800, threads=2)
    again.restore(first.state())
    for batch in expected[3:]:
        other = next(again)
        assert torch.equal(batch.samples_BT, other.samples_BT)
        assert batch.read == other.read


def test_crops_are_drawn_anew_each_epoch_and_the_cache_changes_nothing(index, monkeypatch) -> None:
    def crops() -> list[torch.Tensor]:
        stream = AudioStream(Reader(index, 2), rows=len(LENGTHS), length=1000, threads=1)
        return [next(stream).samples_BT for _ in range(3)]

    cached = crops()
    monkeypatch.setattr(ssl_models.audio, "CACHE_BYTES", 0)
    bare = crops()
    assert all(torch.equal(a, b) for a, b in zip(cached, bare, strict=True))
    words = index.words
    counts = np.array(LENGTHS)
    one, two = (crop_starts(words, np.full(len(words), epoch), counts, 1000, 2) for epoch in (0, 1))
    assert (one != two).sum() >= 5


def test_crop_starts_are_uniform_and_within_the_clip() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**63, 20_000).astype(np.uint64)
    counts = np.full(20_000, 1003)
    starts = crop_starts(words, np.zeros(20_000, np.int64), counts, 1000, 0)
    assert set(starts.tolist()) == {0, 1, 2, 3}
    assert np.bincount(starts).min() > 4700
    assert not crop_starts(words, np.zeros(20_000, np.int64), counts, 1003, 0).any()
    assert not crop_starts(words, np.zeros(20_000, np.int64), counts, 5000, 0).any()


def test_parts_are_decoded_exactly() -> None:
    samples = np.random.default_rng(1).integers(-30000, 30000, 50_000).astype(np.int16)
    payload = flac(samples)
    assert frames(payload) == 50_000
    for start, length in ((0, None), (0, 10), (4095, 4098), (49_990, 10), (12_345, 20_000)):
        assert np.array_equal(
            decode(payload, start, length), samples[start : None if length is None else start + length]
        )
    with pytest.raises(ValueError, match="can be decoded|has 10 of 20"):
        decode(payload, 49_990, 20)
    for broken in (b"", b"no audio", payload[:2000]):
        with pytest.raises(ValueError, match="can be decoded"):
            decode(broken)
    with pytest.raises(ValueError, match="one channel"):
        decode(flac(np.zeros((100, 2), np.int16)))
    with pytest.raises(ValueError, match="can be decoded"):
        frames(b"no audio")


def test_an_empty_clip_is_no_silence(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "corpus", [np.zeros(0, np.int16)], ["nothing"])
    with pytest.raises(ValueError, match="empty clip|can be decoded"):
        next(AudioStream(Reader(Index(folder, "train", "flac"), 0), rows=1))


def test_silence_stays_silence() -> None:
    batch, lengths = normalise([np.zeros(5, np.int16), np.full(3, 700, np.int16)])
    assert not batch.any()
    assert lengths.tolist() == [5, 3]
