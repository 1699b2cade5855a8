"""Repeated spans: texts of which a good part stands, word for word, in another.

Fingerprints by winnowing (Schleimer, Wilkerson, Aiken 2003, Winnowing: Local Algorithms for Document Fingerprinting):
of every window of `words` words, the least hash of its runs of half as many. Two texts that share a span of so many
words share a fingerprint, so every such pair is proposed; the spans themselves are then compared.
"""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pyarrow as pa

from tasks.curation.blocks import Blocks
from tasks.curation.minhash import bucket_pairs, distinct
from tasks.curation.shingles import hash_words, normalise, roll

STORED_FROM = 0.25  # of a text's words: pairs from here on are stored, for a policy that asks for more
SPAN_SCHEMA = pa.schema([("class_id", pa.string()), ("other", pa.string()), ("share", pa.float64())])


def fingerprints(hashes: np.ndarray, words: int) -> np.ndarray:
    """The distinct fingerprints of a text, given the hashes of its words; none if it has fewer than `words`."""
    width = max(words // 2, 1)
    if len(hashes) < words:
        return np.empty(0, np.uint64)
    runs = roll(hashes, width)
    windows = np.lib.stride_tricks.sliding_window_view(runs, words - width + 1)
    return np.unique(windows.min(axis=1))


def covered(hashes: np.ndarray, other: np.ndarray, words: int) -> float:
    """The share of the words of a text that stand in spans of at least `words` words which the other has, too.

    `hashes`, `other`: of each run of `words` words of either, in place.
    """
    found = np.isin(hashes, other)
    if not found.any():
        return 0.0
    edges = np.zeros(len(hashes) + words, np.int64)
    edges[: len(hashes)] += found
    edges[words:] -= found
    return float(np.count_nonzero(np.cumsum(edges)[:-1] > 0) / (len(hashes) + words - 1))


def find_spans(texts: Blocks, members: np.ndarray, words: int, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """(pairs, shares): rows (P, 2) and the share of the first one's words that stand in spans of `words` of the second.

    `members`: the rows to look at, those first that an election is likely to keep. Both directions of a pair are there
    where they reach min(floor, STORED_FROM); sorted. The texts are read twice; fingerprints stay in memory, about 8
    bytes for `words` / 4 words.
    """
    floor = min(floor, STORED_FROM)
    place = np.full(len(texts), -1, np.int64)
    place[members] = np.arange(len(members))
    values, owners, row = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], 0
    for block in texts.blocks(["text"]):
        hashes, firsts, _, _ = hash_words(normalise(block["text"].combine_chunks()))
        for at in np.flatnonzero(place[row : row + len(block)] >= 0).tolist():
            prints = fingerprints(hashes[firsts[at] : firsts[at + 1]], words)
            values.append(prints)
            owners.append(np.full(len(prints), place[row + at]))
        row += len(block)
    keys, owner = np.concatenate(values), np.concatenate(owners)
    order = np.argsort(owner, kind="stable")  # members in the order of the election within each bucket
    keys, owner = keys[order], owner[order]
    codes = [np.empty(0, np.int64)]
    for pairs in bucket_pairs(keys, len(keys)):
        a, b = owner[pairs // len(keys)], owner[pairs % len(keys)]
        codes.append(distinct(np.minimum(a, b) * len(members) + np.maximum(a, b)))
    code = distinct(np.concatenate(codes))
    code = code[code // max(len(members), 1) != code % max(len(members), 1)]
    proposed = np.stack([members[code // max(len(members), 1)], members[code % max(len(members), 1)]], axis=1)
    return _compare(texts, proposed, words, floor)


def _compare(texts: Blocks, proposed: np.ndarray, words: int, floor: float) -> tuple[np.ndarray, np.ndarray]:
    wanted = np.zeros(len(texts), bool)
    wanted[proposed.ravel()] = True
    where: dict[int, tuple[int, int]] = {}
    found: list[tuple[int, int, float]] = []
    with tempfile.TemporaryFile(prefix="gristmill-spans-") as file:
        row = size = 0
        for block in texts.blocks(["text"]):
            hashes, firsts, _, _ = hash_words(normalise(block["text"].combine_chunks()))
            for at in np.flatnonzero(wanted[row : row + len(block)]).tolist():
                runs = roll(hashes[firsts[at] : firsts[at + 1]], words)
                where[row + at] = (size, len(runs))
                size += file.write(runs.tobytes())
            row += len(block)
        file.flush()

        def read(row: int) -> np.ndarray:
            start, count = where[row]
            return np.frombuffer(os.pread(file.fileno(), 8 * count, start), np.uint64)

        for a, b in proposed.tolist():
            one, other = read(a), read(b)
            for first, second, share in ((a, b, covered(one, other, words)), (b, a, covered(other, one, words))):
                if share >= floor:
                    found.append((first, second, share))
    found.sort()
    pairs = np.array([item[:2] for item in found], np.int64).reshape(-1, 2)
    return pairs, np.array([item[2] for item in found])
