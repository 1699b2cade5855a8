"""Word 5-grams: the sets that near-duplicates are compared by, and the shingles that are boilerplate.

Similarity is the Jaccard index of the sets of word 5-grams of the text in NFC, lower-cased, split at runs of non-word
characters. Where many texts are compared at once, 64-bit hashes stand for the shingles: that two different shingles of
two texts of a thousand words share one has a chance below 1 in 10^12.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

SHINGLE_WORDS = 5
#: A shingle of more than this share of a source's texts is boilerplate...
BOILERPLATE_SHARE = 0.05
#: ...but for a family of fewer texts than this: a small source is no evidence.
BOILERPLATE_TEXTS = 20
#: Texts of a source that are looked at: the first in the order of record_id, which is a hash, so a random sample. A
#: share of 5 % of so many is known to half a percentage point (one sd); a smaller source is counted whole.
BOILERPLATE_SAMPLE = 2048

_WORD = re.compile(r"\w+")
_ASCII_WORDS = bytes(code if re.match(r"\w", chr(code), re.ASCII) else 32 for code in range(256))
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


def words(text: str) -> list[str]:
    """The words of `text` in NFC, lower-cased, split at runs of non-word characters."""
    if text.isascii():  # the same words as below, in a third of the time
        return text.lower().encode().translate(_ASCII_WORDS).decode().split()
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def shingles(text: str) -> frozenset[str]:
    """The set of word 5-grams; a text of 1 to 4 words has one shingle, all its words; one without words has none."""
    tokens = words(text)
    if len(tokens) < SHINGLE_WORDS:
        return frozenset([" ".join(tokens)] if tokens else [])
    return frozenset(map(" ".join, zip(*(tokens[start:] for start in range(SHINGLE_WORDS)), strict=False)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """The Jaccard index; 0 when both are empty."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if shared else 0.0


def hash_words(tokens: Sequence[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, starts): a uint64 for each word of all the texts, and where each text's begin (one more at the end)."""
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    flat = pa.array(chain.from_iterable(tokens), pa.large_string(), size=int(starts[-1])).dictionary_encode()
    distinct = b"".join(hashlib.blake2b(word.encode(), digest_size=8).digest() for word in flat.dictionary.to_pylist())
    return np.frombuffer(distinct, "<u8")[flat.indices.to_numpy()], starts


def roll(hashes: np.ndarray, width: int) -> np.ndarray:
    """The hash of each run of `width` words, at the place where the run begins; as many less as fit."""
    count = max(len(hashes) - width + 1, 0)
    mixed = np.zeros(count, np.uint64)
    for at in range(width):
        mixed = (mixed ^ hashes[at : at + count]) * _MULTIPLIER
        mixed ^= mixed >> _SHIFT
    return mixed


def hash_shingles(tokens: Sequence[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, starts): a uint64 for each 5-gram in its place, repeats too, and where each text's begin.

    A text of fewer than 5 words has none.
    """
    hashes, starts = hash_words(tokens)
    mixed = roll(hashes, SHINGLE_WORDS)
    counts = np.maximum(np.diff(starts) - SHINGLE_WORDS + 1, 0)
    first = np.concatenate([[0], np.cumsum(counts)])
    places = np.repeat(starts[:-1] - first[:-1], counts) + np.arange(first[-1])
    return mixed[places], first


def frequent(sets: Sequence[np.ndarray]) -> np.ndarray:
    """The hashes, sorted, of the shingles that are boilerplate in a source with these sets of shingles, one a text."""
    least = max(BOILERPLATE_TEXTS, int(BOILERPLATE_SHARE * len(sets)) + 1)
    found = np.sort(np.concatenate([np.empty(0, np.uint64), *sets]))
    if len(sets) < least or len(found) == 0:
        return found[:0]
    ends = np.flatnonzero(np.diff(found, append=~found[-1:]))  # the last of each run of equal hashes
    return found[ends[np.diff(ends, prepend=-1) >= least]]


def contains(sorted_values: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each of `values`: is it among `sorted_values`?"""
    if len(sorted_values) == 0:
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return sorted_values[places] == values


def runs_without(tokens: list[str], boilerplate: np.ndarray) -> list[str]:
    """The stretches of a text whose shingles are exactly its shingles that are no boilerplate, as words joined."""
    starts = np.flatnonzero(np.diff(boilerplate.astype(np.int8), prepend=1) == -1)
    ends = np.flatnonzero(np.diff(boilerplate.astype(np.int8), append=1) == 1)
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return [" ".join(tokens[start : end + SHINGLE_WORDS]) for start, end in pairs]
