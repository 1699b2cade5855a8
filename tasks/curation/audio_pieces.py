"""A long clip in pieces, without loss: what a source does that is told to split."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from tasks.curation.audio import decoded_blocks, read_header


def split_audio(payload: bytes, seconds: float) -> Iterator[tuple[str, bytes]]:
    """("seconds=0-60", a lossless file) for each piece of a clip longer than `seconds`; nothing for one that is not.

    A piece is `seconds` long, the last one what remains; rate and channels stay. Refused as for a whole clip.
    """
    import soundfile

    header = read_header(payload)
    step = max(1, int(seconds * header.sample_rate))
    if 0 < header.frames <= step:
        return
    exact: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16"}
    if header.subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        exact = {"format": "WAV", "subtype": "FLOAT"}
    start, waiting = 0, None
    for piece in chain(_steps(decoded_blocks(payload, header), step), [None]):
        if waiting is not None and (start or piece is not None):
            stop = start + len(waiting)
            stream = io.BytesIO()
            soundfile.write(stream, waiting, header.sample_rate, **exact)
            yield f"seconds={start / header.sample_rate:g}-{stop / header.sample_rate:g}", stream.getvalue()
            start = stop
        waiting = piece


def _steps(blocks: Iterator[np.ndarray], step: int) -> Iterator[np.ndarray]:
    """The same frames, `step` at a time: cut as they are decoded, for a seek in an MPEG stream is not exact."""
    held: list[np.ndarray] = []
    size = 0
    for block in blocks:
        while len(block):
            held.append(block[: step - size])
            size, block = size + len(held[-1]), block[len(held[-1]) :]
            if size == step:
                yield np.concatenate(held)
                held, size = [], 0
    if size:
        yield np.concatenate(held)
