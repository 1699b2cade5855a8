"""Repeated n-grams of a batch of texts, in NumPy. A repeated n-gram begins with a repeated (n-1)-gram and ends with
one, so each length looks only at the places that the length before has left, and most texts leave few.

Rae et al. 2021, Scaling Language Models (Gopher), table A1; counted as datatrove 0.10 counts them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tasks.curation.tokenised import Tokenised

TOP, DUPLICATE = (2, 3, 4), (5, 6, 7, 8, 9, 10)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def repeated_characters(batch: Tokenised) -> dict[int, np.ndarray]:
    """For n = 2, 3, 4: the characters of all copies of each text's most frequent n-gram, blanks between its words
    counted; of equally frequent ones the first. For n = 5 to 10: the characters, without blanks, of the n-grams that
    repeat an earlier one, when each that does is taken out whole and the search goes on behind it (D, int64)."""
    count, texts = len(batch.key_T), len(batch.texts)
    text_T = np.repeat(np.arange(texts), batch.words_D)
    characters_T = np.concatenate([[0], np.cumsum(batch.length_T)])
    found: dict[int, np.ndarray] = {}
    for n, places, groups in _repeated(batch, text_T):
        if n in TOP:
            start, size = np.minimum(batch.starts_D, max(count - 1, 0)), (batch.words_D >= n).astype(np.int64)
            if len(places):
                first = np.flatnonzero(np.diff(groups, prepend=-1))
                sizes = np.diff(first, append=len(groups))
                best_D = np.zeros(texts, np.int64)  # most copies, then earliest, in one number
                np.maximum.at(best_D, text_T[places[first]], sizes * (count + 1) + count - places[first])
                start = np.where(best_D > 0, count - best_D % (count + 1), start)
                size = np.where(best_D > 0, best_D // (count + 1), size)
            end = np.minimum(start + n, count)
            found[n] = size * (characters_T[end] - characters_T[start] + n - 1)
        else:
            taken = _taken(places, groups, n)
            lengths = characters_T[taken + n] - characters_T[taken]
            found[n] = np.bincount(text_T[taken], lengths, minlength=texts).astype(np.int64)
    return found


def _taken(places: np.ndarray, groups: np.ndarray, n: int) -> np.ndarray:
    """The places of the copies that are taken out, from the front: none may overlap another. In order of place."""
    members = groups.tolist()
    behind = np.searchsorted(places, places + n).tolist()  # the next place that does not overlap
    seen = bytearray(len(groups) + 1)
    at, taken = 0, []
    while at < len(members):
        group = members[at]
        if seen[group]:
            taken.append(at)
            at = behind[at]
        else:
            seen[group] = 1
            at += 1
    return places[np.array(taken, np.int64)]


def _mixed(keys: np.ndarray) -> np.ndarray:
    keys = (keys ^ (keys >> np.uint64(29))) * _MIX
    return keys ^ (keys >> np.uint64(32))


def _repeated(batch: Tokenised, text_T: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For n = 2 to 10: the places (word numbers) at which an n-gram begins that its text has more than once, and the
    number of each place's group; for n up to 4 sorted by group and then by place, else by place."""
    count = len(batch.key_T)
    low = (np.uint64(1) << np.uint64(max(count, 1).bit_length())) - np.uint64(1)
    hash_T = _mixed(batch.key_T + text_T.astype(np.uint64) * _ODD)  # so no text shares an n-gram with another
    hashes = _mixed(hash_T * _ODD + np.append(hash_T[1:], np.uint64(0)))  # bigrams
    last = batch.ends_D[batch.words_D > 0] - 1
    hashes[last] = _mixed(last.astype(np.uint64) * _MIX)  # a text's last word begins none: a hash of its own
    at_place, left = hashes.copy(), np.arange(count)
    keep = np.zeros(count + 1, bool)
    group_at = np.empty(count, np.int64)
    for n in (*TOP, *DUPLICATE):
        if n > TOP[0]:  # the n-grams that begin with a repeated one and end with one: none runs over a text's end
            hashes = _mixed(hashes * _ODD + hash_T[left + n - 1])
            at_place[left] = hashes
        # The place in the low bits: one sort of plain integers groups the places and keeps each group in order.
        packed = (hashes & ~low) | left.astype(np.uint64)
        if n == TOP[0]:  # text by text: a copy is in the same text, and short sorts are quick
            for start, end in zip(batch.starts_D.tolist(), batch.ends_D.tolist(), strict=True):
                packed[start:end].sort()
        else:
            packed.sort()
        same = np.flatnonzero((packed[1:] ^ packed[:-1]) <= low)
        one, other = (packed[same] & low).astype(np.int64), (packed[same + 1] & low).astype(np.int64)
        same = same[at_place[one] == at_place[other]]  # equal in all 64 bits
        member = np.zeros(len(packed), bool)
        member[same] = member[same + 1] = True
        fresh = np.ones(len(packed), bool)
        fresh[same + 1] = False
        places, groups = (packed[member] & low).astype(np.int64), np.cumsum(fresh[member]) - 1
        keep[places] = True
        if n in TOP:
            yield n, places, groups
        else:
            group_at[places] = groups
            here = left[keep[left]]
            yield n, here, group_at[here]
        hopeful = keep[left] & keep[left + 1]
        left, hashes = left[hopeful], hashes[hopeful]
        keep[places] = False
