"""Audio from shards: decoded, cut, normalised, in keyed order, a batch after the other; its state is the position.

Legend: B clips, T samples.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssl_models.keys import fold, stream
from ssl_models.reader import Reader

CACHE_BYTES = 256 * 2**20  # decoded clips are kept up to here, 16 bits a sample: a small corpus is decoded once
_EPSILON = 1e-7  # of the variance, as wav2vec 2.0 normalises


@dataclass(frozen=True)
class AudioBatch:
    """samples float32 [B, T], each clip at mean 0 and variance 1, zeros behind its end; lengths int64 [B]; words uint64
    and epochs int64 [B] of the samples; texts: the transcripts where they were asked for; `read`: clips so far."""

    samples_BT: Tensor
    lengths_B: Tensor
    words_B: np.ndarray
    epochs_B: np.ndarray
    texts: list[str]
    read: int

    @property
    def tokens(self) -> int:
        return len(self.words_B)

    @property
    def cells(self) -> int:
        return int(self.lengths_B.sum())


def decode(payload: bytes, start: int = 0, length: int | None = None) -> np.ndarray:
    """int16 [T] of an encoded mono clip: `length` samples from `start` on. ValueError when it is none, or too short."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(payload)) as file:
            if start:
                file.seek(start)
            wanted = file.frames - start if length is None else length
            samples = file.read(wanted, dtype="int16")
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        raise ValueError("this is no audio that can be decoded") from error
    if samples.ndim != 1:
        raise ValueError(f"a clip has one channel, not {samples.shape[1]}")
    if len(samples) != wanted:
        raise ValueError(f"the clip has {len(samples)} of {wanted} samples")
    return np.asarray(samples)


def frames(payload: bytes) -> int:
    """Samples of an encoded clip, by its header. ValueError when it has none that can be read."""
    if payload[:4] == b"fLaC" and len(payload) >= 26:
        return (payload[21] & 15) << 32 | int.from_bytes(payload[22:26], "big")
    import soundfile

    try:
        return int(soundfile.info(io.BytesIO(payload)).frames)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise ValueError("this is no audio that can be decoded") from error


def crop_starts(words_B: np.ndarray, epochs_B: np.ndarray, frames_B: np.ndarray, length: int, seed: int) -> np.ndarray:
    """int64 [B]: where each clip's crop begins, uniform, keyed by (seed, epoch, sample); 0 for a clip that fits."""
    room = np.maximum(frames_B - length, 0).astype(np.uint64) + np.uint64(1)
    epochs, number = np.unique(epochs_B, return_inverse=True)
    keys = np.array([stream("audio crop", seed, int(epoch)) for epoch in epochs], np.uint64)[number]
    return np.asarray((fold(words_B, keys) >> np.uint64(32)) * room >> np.uint64(32), np.int64)


def normalise(clips: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """float32 [B, T] and int64 [B]: int16 clips at mean 0 and variance 1 each, zeros behind the end of the shorter."""
    lengths = np.array([len(clip) for clip in clips], np.int64)
    batch = np.zeros((len(clips), int(lengths.max())), np.float32)
    for row, clip in zip(batch, clips, strict=True):
        x = row[: len(clip)]
        np.multiply(clip, np.float32(1 / 32768), out=x)
        x -= x.mean(dtype=np.float64)
        x *= np.float32(1 / np.sqrt(np.dot(x, x) / len(x) + _EPSILON))
    return torch.from_numpy(batch), torch.from_numpy(lengths)


class AudioStream:
    """Endless batches of `rows` clips; of one longer than `length` samples a keyed random crop, drawn anew each epoch.

    `length` None: whole clips. `texts`: with their transcripts (the index holds ``txt``, too). Crops of long clips are
    decoded alone. `threads` decode at a time: libsndfile works without the interpreter's lock.
    ValueError for a clip that cannot be decoded, or is empty.
    """

    def __init__(
        self, reader: Reader, *, rows: int, length: int | None = None, texts: bool = False, threads: int | None = None
    ) -> None:
        self.reader, self.rows, self.length, self.texts = reader, rows, length, texts
        self.threads = threads or torch.get_num_threads()
        self._cache: dict[int, np.ndarray] = {}
        self._cached = 0

    def __iter__(self) -> Iterator[AudioBatch]:
        return self

    def __next__(self) -> AudioBatch:
        begin = self.reader.position
        samples, epochs = self.reader.places(begin, begin + self.rows)
        words = self.reader.index.words[samples]
        numbers = samples.tolist()
        payloads = [
            b"" if sample in self._cache else self.reader.payload(begin + at) for at, sample in enumerate(numbers)
        ]
        counts = [
            len(self._cache[s]) if s in self._cache else frames(p) for s, p in zip(numbers, payloads, strict=True)
        ]
        length = self.length or max(counts)
        starts = crop_starts(words, epochs, np.array(counts), length, self.reader.seed).tolist()
        jobs = numbers, payloads, counts, starts, [length] * self.rows
        if self.threads == 1 or not any(payloads):
            clips = list(map(self._clip, *jobs))
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                clips = list(pool.map(self._clip, *jobs))
        texts = self._texts(begin) if self.texts else []
        self.reader.position = begin + self.rows
        return AudioBatch(*normalise(clips), words, epochs, texts, self.reader.position)

    def _clip(self, sample: int, payload: bytes, count: int, start: int, length: int) -> np.ndarray:
        """int16, at most `length` samples; kept whole where that costs little."""
        if count == 0:
            raise ValueError(f"sample {self.reader.index.keys[sample]} is an empty clip")
        if sample in self._cache:
            return self._cache[sample][start : start + length]
        if count > 2 * length or self._cached + 2 * count > CACHE_BYTES:
            return decode(payload, start, min(length, count))
        whole = decode(payload, 0, count)
        if self._cache.setdefault(sample, whole) is whole:
            self._cached += whole.nbytes
        return whole[start : start + length]

    def _texts(self, begin: int) -> list[str]:
        payloads = [self.reader.payload(position, "txt") for position in range(begin, begin + self.rows)]
        try:
            return [payload.decode() for payload in payloads]
        except UnicodeDecodeError as error:
            raise ValueError("a transcript is no UTF-8") from error

    def state(self) -> dict[str, list[int]]:
        return {"position": [self.reader.position]}

    def restore(self, state: dict[str, list[int]]) -> None:
        self.reader.position = state["position"][0]
