"""Keyed randomness: 64-bit hashes of (seed, epoch, sample, position), the same on every machine, in any order of calls.

The mixer is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words with full avalanche.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD = (1 << 64) - 1


def mix(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser, elementwise over uint64 (wraps; never raises on overflow)."""
    x = words + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def fold(first: np.ndarray, *rest: np.ndarray | int) -> np.ndarray:
    """Hash several uint64 words (arrays broadcast; integers taken modulo 2^64) into one."""
    hashed = mix(np.atleast_1d(np.asarray(first, np.uint64)))
    for word in rest:
        other = np.atleast_1d(np.asarray(word & _WORD if isinstance(word, int) else word, np.uint64))
        hashed = mix(hashed ^ mix(other))
    return hashed


def stream(name: str, *numbers: int) -> int:
    """A 63-bit seed for the random stream `name`, as torch generators and NumPy take it."""
    text = "\0".join([name, *map(str, numbers)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def sample_words(keys: Sequence[str]) -> np.ndarray:
    """One uint64 per sample key (BLAKE2b of its UTF-8): what masks and orders are keyed by."""
    digests = b"".join([hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys])
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
