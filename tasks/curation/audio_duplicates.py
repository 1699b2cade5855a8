"""Near-duplicate clips: proposed by an inverted index of sub-fingerprints, verified on the aligned fingerprints.

A copy that was coded anew has a bit error rate of some 10 %: whole words of 32 bits seldom survive, 24 of their bits
often do. Each word is therefore entered under several masks of 24 bits. A pair of clips is proposed when keys that they
share agree about how far one is shifted against the other, and verified at that shift. Only frames that sound are
entered or compared.

On 568 prompts of one voice two of different words reach 0.37 at most, and one word said twice 0.41; copies (MP3, Ogg or
Opus at their strongest compression, a fifth cut off, gain, 11 kHz, or several of these) 0.52 and more: thresholds from
0.45 to 0.5 tell them apart. Steady tones have no fingerprint that survives: copies of them are found only where they
are equal once made regular. Figures: benchmarks/results/audio_duplicates.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ssl_models.keys import stream
from tasks.curation.audio import decode
from tasks.curation.audio_fingerprints import BITS, Fingerprint, fingerprint, similarity

VERSION = 1

TABLES = 6
KEY_BITS = 24
AGREEING = 4  # keys at one shift that propose a pair
_NEAR = 256  # entries of one key that are paired with each: a key that has more says little
_TRIED = 3  # shifts, those with the most keys, at which a pair is verified
_AROUND = 2  # frames: so far apart two shifts may lie and count as one


def find_audio_pairs(payloads: Iterable[tuple[str, bytes]], threshold: float) -> Iterator[tuple[str, str, float]]:
    """(record_id, record_id, similarity) of the clips whose `similarity` reaches `threshold`, each pair once.

    `payloads`: regular clips, all at one rate. Clips without a sounding frame resemble nothing. Kept in memory: four
    bytes for each 10 ms of sound, and while the index is searched some 100 bytes more.
    """
    names: list[str] = []
    prints: list[Fingerprint] = []
    for name, data in payloads:
        names.append(name)
        prints.append(fingerprint(*decode(data)))
    for a, b, shifts in proposed(prints):
        found = similarity(prints[a], prints[b], shifts)
        if found >= threshold:
            yield names[a], names[b], found


def proposed(prints: list[Fingerprint]) -> Iterator[tuple[int, int, np.ndarray]]:
    """(clip, clip, shifts to try) of the pairs that share keys at one shift; the lower number first, each pair once."""
    words, counts = np.unique(_hits(prints), return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])
    low, high = words - np.uint64(_AROUND), words + np.uint64(_AROUND)
    near = before[np.searchsorted(words, high, "right")] - before[np.searchsorted(words, low)]
    words, near = words[near >= AGREEING], near[near >= AGREEING]
    pair = words >> np.uint64(24)
    words = words[np.lexsort((words, -near, pair))]
    starts = np.flatnonzero(np.diff(words >> np.uint64(24), prepend=np.uint64(2**64 - 1)))
    for start, end in zip(starts, np.append(starts[1:], len(words))[: len(starts)], strict=True):
        best = words[start : min(end, start + _TRIED)]
        shifts = (best & np.uint64(0xFFFFFF)).astype(np.int64) - (1 << 23)
        word = int(best[0])
        yield word >> 44, word >> 24 & 0xFFFFF, np.unique(shifts[:, None] + np.arange(-_AROUND, _AROUND + 1))


def _hits(prints: list[Fingerprint]) -> np.ndarray:
    """uint64 of every agreement of a key: 20 bits of one clip, 20 of the other, 24 of the shift in frames."""
    if len(prints) >= 1 << 20:
        raise ValueError(f"{len(prints)} clips; more than {1 << 20} cannot be compared at once")
    frames = [np.flatnonzero(one.sounding) for one in prints]
    clips = np.repeat(np.arange(len(prints)), [len(at) for at in frames])
    if not len(clips):
        return np.empty(0, np.uint64)
    words = np.concatenate([one.words[at] for one, at in zip(prints, frames, strict=True)])
    places = np.concatenate(frames)
    found = [np.empty(0, np.uint64)]
    for mask in masks():
        keys = words & mask
        order = np.argsort(keys, kind="stable")
        found += _pairs(keys[order], clips[order], places[order])
    return np.concatenate(found)


def _pairs(keys: np.ndarray, clips: np.ndarray, places: np.ndarray) -> Iterator[np.ndarray]:
    """The agreements of sorted keys: each entry with the next ones of its key, and with the first."""
    start = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    heads = np.repeat(start, np.diff(np.append(start, len(keys))))
    far = np.flatnonzero(np.arange(len(keys)) - heads > _NEAR)
    yield _agreements(clips, places, heads[far], far)
    early = np.arange(len(keys))
    for distance in range(1, _NEAR + 1):
        early = early[early + distance < len(keys)]
        early = early[keys[early + distance] == keys[early]]  # who has no partner here has none farther on
        if not len(early):
            return
        yield _agreements(clips, places, early, early + distance)


def _agreements(clips: np.ndarray, places: np.ndarray, early: np.ndarray, late: np.ndarray) -> np.ndarray:
    """Entries are sorted by clip within a key: `early` has the lower clip."""
    other = clips[early] != clips[late]
    early, late = early[other], late[other]
    shifts = places[early] - places[late] + (1 << 23)
    packed = clips[early] << 44 | clips[late] << 24 | shifts
    return np.asarray(packed, np.uint64)


def masks() -> list[np.uint32]:
    """TABLES masks of KEY_BITS bits each, drawn once and for all."""
    rng = np.random.default_rng(stream("audio keys"))
    return [
        np.bitwise_or.reduce(np.uint32(1) << rng.permutation(BITS)[:KEY_BITS].astype(np.uint32)) for _ in range(TABLES)
    ]
