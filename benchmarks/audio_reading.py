"""Seconds of audio read, decoded, cut and normalised in a CPU-second on one thread, beside a plain loop.

    python -m benchmarks.audio_reading

The plain loop is what recipes on top of soundfile and torchaudio write: read a clip as float32, cut a random second or
two out of it, normalise it by layer_norm, pad the batch. Both sides get the bytes from the same indexed reader, in the
same order, in turn; the ratio is the median over rounds. Writes benchmarks/results/audio_reading.json.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.machine import write
from ssl_models.audio import AudioStream
from ssl_models.reader import Index, Reader
from tasks.curation.audio import decode
from tasks.curation.sources import open_source
from tasks.curation.sources.speech import Utterances

RATE, ROWS, ROUNDS = 16_000, 16, 3
BARS = {"short clips, five epochs": ">= 2", "clips of 30 s, crops of 2 s": ">= 2"}


def plain(reader: Reader, batches: int, length: int) -> float:
    """Seconds of audio that the plain loop brought."""
    total = 0
    for _ in range(batches):
        clips = []
        for position in range(reader.position, reader.position + ROWS):
            samples = torch.from_numpy(soundfile.read(io.BytesIO(reader.payload(position)), dtype="float32")[0])
            room = max(0, len(samples) - length)
            start = int(torch.randint(0, room + 1, ()))
            crop = samples[start : start + length]
            clips.append(torch.nn.functional.layer_norm(crop, crop.shape))
        reader.position += ROWS
        lengths = torch.tensor([len(clip) for clip in clips])
        pad_sequence(clips, batch_first=True)
        total += int(lengths.sum())
    return total / RATE


def streamed(stream: AudioStream, batches: int) -> float:
    """Seconds of audio that the stream brought."""
    return sum(next(stream).cells for _ in range(batches)) / RATE


def rate(job: Callable[[], float]) -> float:
    started = time.process_time()
    seconds = job()
    return seconds / (time.process_time() - started)


def compared(index: Index, length: int, epochs: int) -> dict[str, Any]:
    """Audio-seconds a CPU-second of both sides from a fresh start, `epochs` long, and the ratio."""
    batches = max(1, epochs * len(index) // ROWS)
    ours, theirs = [], []
    for seed in range(ROUNDS):
        stream = AudioStream(Reader(index, seed), rows=ROWS, length=length, threads=1)
        ours.append(rate(lambda stream=stream: streamed(stream, batches)))
        theirs.append(rate(lambda seed=seed: plain(Reader(index, seed), batches, length)))
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "audio-seconds a CPU-second": round(statistics.median(ours)),
        "plain loop": round(statistics.median(theirs)),
        "ratio": round(ratio, 2),
    }


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from small_audio import write_clips

    torch.set_num_threads(1)
    spoken = [decode(raw.payload)[0] for raw in open_source(Utterances(each=12))]
    short = [np.rint(clip * 32768).astype(np.int16) for clip in spoken]
    joined = np.concatenate(short)
    long = [joined[at : at + 30 * RATE] for at in range(0, len(joined) - 30 * RATE, 10 * RATE)]
    with tempfile.TemporaryDirectory() as folder:
        corpora = {name: write_clips(Path(folder) / name, clips, [""] * len(clips), each=64)
                   for name, clips in (("short", short), ("long", long))}  # fmt: skip
        brief = Index(corpora["short"], "train", "flac")
        figures = {
            "short clips, one epoch": compared(brief, RATE, 1),
            "short clips, five epochs": compared(brief, RATE, 5),
            "clips of 30 s, crops of 2 s": compared(Index(corpora["long"], "train", "flac"), 2 * RATE, 8),
        }
    body = {"bars": BARS, "clips": len(short), "rows": figures}
    print(json.dumps(body, indent=1))
    print(write("audio_reading", body))


if __name__ == "__main__":
    main()
