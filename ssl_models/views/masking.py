"""BERT masks as a function of (seed, epoch, sample, chunk) alone: not of the batch, the order or the resume point.

A *segment* is one chunk of a document as it stands in a row: [CLS] tokens [SEP]. Legend: B rows, T positions a row,
S segments of a batch, W ordinary words of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_models.config import MaskedLanguageModelling
from ssl_models.keys import fold, mix, sample_words, stream

_UNIT = 2.0**-53


@dataclass(frozen=True)
class Vocabulary:
    """What masking must know of a tokenizer: the id of [MASK] (-1: none), which ids are special, and, for whole words,
    which continue the word of the token before (bool [V]; None: unknown)."""

    mask_id: int
    special_V: np.ndarray
    continues_V: np.ndarray | None = None

    @property
    def ordinary_W(self) -> np.ndarray:
        return np.flatnonzero(~self.special_V)


def segment_keys(words_S: np.ndarray, epochs_S: np.ndarray, chunks_S: np.ndarray, seed: int) -> np.ndarray:
    """uint64 [S]: one key a segment, from its sample's word, the epoch, and its number within the document."""
    return fold(words_S, np.asarray(epochs_S, np.uint64), np.asarray(chunks_S, np.uint64), stream("mask", seed))


def mask_batch(
    ids_BT: np.ndarray,
    segment_BT: np.ndarray,
    keys_S: np.ndarray,
    vocabulary: Vocabulary,
    rule: MaskedLanguageModelling,
) -> tuple[np.ndarray, np.ndarray]:
    """Corrupt a packed batch: (corrupted ids [B, T], selected bool [B, T]).

    `segment_BT`: which segment a position belongs to, -1 where padded; a segment's positions stand together in order.
    In each segment exactly max(1, round(p n)) of its n ordinary tokens are selected (none where n = 0): those with the
    smallest keyed hashes. Special tokens are never selected and never drawn as random words. With `rule.whole_word` the
    hash of a word's first token is that of all its tokens, and the words are taken whose middle lies below p n in that
    order, at least one.
    """
    flat, segments = ids_BT.ravel(), segment_BT.ravel()
    candidates = np.flatnonzero((segments >= 0) & ~vocabulary.special_V[flat])
    segment_N = segments[candidates]
    # What keys a position's hash: its place in the segment, specials counted too.
    present = np.flatnonzero(segments >= 0)
    first_S = np.full(len(keys_S), len(flat), np.int64)
    np.minimum.at(first_S, segments[present], present)
    place_N = (candidates - first_S[segment_N]).astype(np.uint64)
    hash_N = mix(keys_S[segment_N] ^ mix(place_N))
    word_N = _words(flat, candidates, segment_N, vocabulary) if rule.whole_word else None
    by_segment = np.lexsort((hash_N if word_N is None else hash_N[word_N], segment_N))
    count_S = np.bincount(segment_N, minlength=len(keys_S))
    begin_S = np.cumsum(count_S) - count_S
    rank_N = np.empty(len(candidates), np.int64)
    rank_N[by_segment] = np.arange(len(candidates)) - begin_S[segment_N[by_segment]]
    wanted_S = np.maximum(1, np.rint(rule.mask_probability * count_S)).astype(np.int64)
    if word_N is None:
        chosen_N = rank_N < wanted_S[segment_N]
    else:
        begin_N, size_N = rank_N[word_N], np.bincount(word_N, minlength=len(word_N))[word_N]
        coin_N = (hash_N[word_N] >> np.uint64(20)).astype(np.int64) & 1  # for a middle that falls on the mark itself
        chosen_N = (2 * begin_N + size_N < 2 * wanted_S[segment_N] + coin_N) | (begin_N == 0)

    where = candidates[chosen_N]
    second = mix(hash_N[chosen_N])
    share = (second >> np.uint64(11)).astype(np.float64) * _UNIT
    ordinary_W = vocabulary.ordinary_W
    words = ordinary_W[(mix(second) % np.uint64(len(ordinary_W))).astype(np.int64)]
    corrupted = flat.copy()
    random_until = rule.mask_share + rule.random_share
    replacement = np.where(
        share < rule.mask_share, vocabulary.mask_id, np.where(share < random_until, words, flat[where])
    )
    corrupted[where] = replacement
    selected = np.zeros(len(flat), bool)
    selected[where] = True
    return corrupted.reshape(ids_BT.shape), selected.reshape(ids_BT.shape)


def _words(flat: np.ndarray, candidates: np.ndarray, segment_N: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """For each candidate the number of the candidate that begins its word (int64 [N])."""
    if vocabulary.continues_V is None:
        raise ValueError("whole_word needs a tokenizer whose pieces say whether they continue a word")
    goes_on = vocabulary.continues_V[flat[candidates]]
    goes_on[1:] &= (np.diff(candidates) == 1) & (np.diff(segment_N) == 0)
    goes_on[:1] = False
    return np.maximum.accumulate(np.where(goes_on, 0, np.arange(len(candidates))))


def mask_document(
    ids_T: np.ndarray,
    key: str,
    vocabulary: Vocabulary,
    rule: MaskedLanguageModelling,
    *,
    seed: int,
    epoch: int = 0,
    chunk: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The mask of one segment alone, equal to its part of a packed batch: (corrupted ids [T], selected bool [T])."""
    keys_S = segment_keys(sample_words([key]), np.array([epoch]), np.array([chunk]), seed)
    ids_1T = np.asarray(ids_T)[None]
    corrupted, selected = mask_batch(ids_1T, np.zeros_like(ids_1T), keys_S, vocabulary, rule)
    return corrupted[0], selected[0]
