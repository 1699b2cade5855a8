"""Unigram and bigram language models over token ids, in NumPy: what a masked language model must beat.

They are honest baselines: fitted on the very tokens that the model was given, every parameter chosen on training text,
and smoothed well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer]
Floats = NDArray[np.float64]

HIDDEN = -1  # a left neighbour that the reader of the text cannot see
ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # candidates for the unigram's add-alpha


@dataclass(frozen=True)
class Counts:
    """Pairs (left token, token) of a text with how often each occurs, sorted by (left, token).

    Tokens in `specials` are never counted as the predicted token, as no mask ever asks for one, but they are left
    neighbours: that of a document's first word is its start token.
    """

    vocabulary: int
    specials: tuple[int, ...]
    keys: NDArray[np.int64]  # left * vocabulary + token, ascending
    pairs: NDArray[np.int64]  # how often, same length

    @property
    def left(self) -> NDArray[np.int64]:
        return self.keys // self.vocabulary

    @property
    def token(self) -> NDArray[np.int64]:
        return self.keys % self.vocabulary

    def by_token(self) -> Floats:
        """Occurrences of each token (V,)."""
        return np.bincount(self.token, self.pairs, self.vocabulary).astype(np.float64)

    def by_left(self) -> Floats:
        """Occurrences of each token as a left neighbour (V,)."""
        return np.bincount(self.left, self.pairs, self.vocabulary).astype(np.float64)

    def of(self, left: Ids, token: Ids) -> NDArray[np.int64]:
        """How often each pair (left[i], token[i]) was seen; 0 for a hidden left neighbour."""
        if not len(self.keys):
            return np.zeros(len(left), np.int64)
        wanted = np.where(left < 0, -1, left.astype(np.int64) * self.vocabulary + token)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, self.pairs[at], 0)

    def minus(self, other: Counts) -> Counts:
        """These counts without those of a part of the same text."""
        pairs = self.pairs.copy()
        np.subtract.at(pairs, np.searchsorted(self.keys, other.keys), other.pairs)
        seen = pairs > 0
        return Counts(self.vocabulary, self.specials, self.keys[seen], pairs[seen])


def count(documents: Sequence[Ids], vocabulary: int, specials: Sequence[int] | Ids = ()) -> Counts:
    """Count the pairs inside each document: 1-D id arrays, the first id of each being its start token.

    ValueError for ids outside 0..vocabulary-1.
    """
    flat = np.concatenate([*documents, np.empty(0, np.int64)]).astype(np.int64)
    if len(flat) and (flat.min() < 0 or flat.max() >= vocabulary):
        raise ValueError(f"token ids must lie in 0..{vocabulary - 1}")
    starts = np.zeros(len(flat) + 1, bool)  # one longer: an empty last document starts after the end
    starts[np.cumsum([0, *(len(document) for document in documents)])[:-1]] = True
    special = np.zeros(vocabulary, bool)
    special[np.asarray(specials, np.int64)] = True
    predicted = ~starts[1:-1] & ~special[flat[1:]]
    keys, pairs = np.unique((flat[:-1] * vocabulary + flat[1:])[predicted], return_counts=True)
    return Counts(vocabulary, tuple(sorted(map(int, specials))), keys, pairs)


@dataclass(frozen=True)
class Unigram:
    """P(x) = (c(x) + alpha) / (N + alpha V'), over the V' tokens that can be asked for."""

    alpha: float
    log_p_V: Floats = field(repr=False)

    def nats(self, token: Ids) -> Floats:
        """-ln P(token), one value per token."""
        return -self.log_p_V[token]


def unigram_at(counts: Counts, alpha: float) -> Unigram:
    """The add-alpha unigram of `counts`; a special token has probability 0."""
    mass = counts.by_token() + alpha
    mass[list(counts.specials)] = 0
    with np.errstate(divide="ignore"):
        return Unigram(alpha, np.log(mass / mass.sum()))


@dataclass(frozen=True)
class Bigram:
    """P(x | left) = w c(left, x) / c(left) + (1 - w) P(x): Jelinek-Mercer interpolation with the unigram.

    The weight w depends on the left token through c(left) / |{x: c(left, x) > 0}|, the mean count of the words that
    follow it, in steps of sqrt(2): of the bucketings in Chen and Goodman (1998, "An Empirical Study of Smoothing
    Techniques for Language Modeling", section 2.3) the one that they found best. Where the left token is hidden, or was
    never seen, it is the unigram.
    """

    counts: Counts = field(repr=False)
    unigram: Unigram
    weights: Floats  # by bucket
    weight_V: Floats = field(repr=False)  # by left token; 0 where it was never seen

    def nats(self, left: Ids, token: Ids) -> Floats:
        """-ln P(token | left), one value per pair; `left` is HIDDEN where the reader cannot see it.

        Infinite for a special token.
        """
        with np.errstate(divide="ignore"):
            return -np.log(_mix(self.counts, self.unigram, self.weight_V, left, token))

    def cross_entropy(self, documents: Sequence[Ids], masked: Sequence[NDArray[np.bool_]]) -> Floats:
        """Nats at each masked position, in order of documents and positions; a masked left neighbour is HIDDEN."""
        return self.nats(*masked_pairs(documents, masked))


@dataclass(frozen=True)
class KneserNey:
    """Interpolated Kneser-Ney (1995): absolute discounting D = n1 / (n1 + 2 n2), and a lower order that counts the
    different left neighbours of a token. Reported beside the interpolated bigram as a stronger one.
    """

    counts: Counts = field(repr=False)
    unigram: Unigram
    discount: float
    lower_V: Floats = field(repr=False)

    def nats(self, left: Ids, token: Ids) -> Floats:
        """-ln P(token | left); where `left` is HIDDEN or was never seen, the unigram's."""
        followers_V = np.bincount(self.counts.left, minlength=self.counts.vocabulary)
        total_V = self.counts.by_left()
        safe = np.where(left < 0, 0, left)
        seen = (left >= 0) & (total_V[safe] > 0)
        total = np.where(seen, total_V[safe], 1)
        direct = np.maximum(self.counts.of(left, token) - self.discount, 0) / total
        p = direct + self.discount * followers_V[safe] / total * self.lower_V[token]
        with np.errstate(divide="ignore"):
            return np.where(seen, -np.log(np.where(seen, p, 1)), self.unigram.nats(token))


def masked_pairs(documents: Sequence[Ids], masked: Sequence[NDArray[np.bool_]]) -> tuple[Ids, Ids]:
    """(left, token) at each masked position; `left` is HIDDEN where it is masked too, or where there is none."""
    nothing: Ids = np.empty(0, np.int64)
    lefts, tokens = [nothing], [nothing]
    for ids, mask in zip(documents, masked, strict=True):
        left = np.concatenate([[HIDDEN], np.where(mask, HIDDEN, ids)])[:-1] if len(ids) else ids
        lefts.append(left[mask])
        tokens.append(ids[mask])
    return np.concatenate(lefts).astype(np.int64), np.concatenate(tokens).astype(np.int64)


def fit(
    documents: Sequence[Ids], vocabulary: int, specials: Sequence[int] | Ids = (), heldout_every: int = 10
) -> Bigram:
    """Fit the interpolated bigram on documents: 1-D id arrays, the first id of each being its start token.

    Its weights and alpha are chosen on every `heldout_every`-th document, against counts of the others; then all
    documents are counted. ValueError when no token can be predicted at all.
    """
    counts = count(documents, vocabulary, specials)
    if len(specials) >= vocabulary:
        raise ValueError("there is no token besides the special ones")
    held = count(documents[::heldout_every], vocabulary, specials)
    rest = counts.minus(held)
    if not len(rest.keys) or not len(held.keys):
        held = rest = counts  # a single document: there is nothing to hold out
    unigram = min(
        (unigram_at(rest, alpha) for alpha in ALPHAS), key=lambda model: float(held.pairs @ model.nats(held.token))
    )
    weights = _choose_weights(rest, held, unigram)
    bucket_V, seen_V = _buckets(counts)
    return Bigram(counts, unigram_at(counts, unigram.alpha), weights, np.where(seen_V, weights[bucket_V], 0.0))


def kneser_ney(bigram: Bigram) -> KneserNey:
    """Kneser-Ney smoothing of the same counts, with the same unigram where the left token is hidden."""
    counts = bigram.counts
    once, twice = np.count_nonzero(counts.pairs == 1), np.count_nonzero(counts.pairs == 2)
    discount = once / (once + 2 * twice) if once and twice else 0.5
    # Add-alpha here as well: a token that was never seen must not cost infinitely many nats.
    lower = np.bincount(counts.token, minlength=counts.vocabulary) + bigram.unigram.alpha
    lower[list(counts.specials)] = 0
    return KneserNey(counts, bigram.unigram, discount, lower / lower.sum())


def side_by_side(model_N: Floats, bigram: Bigram, left_N: Ids, token_N: Ids) -> dict[str, Floats]:
    """Nats a position of a model and of the n-gram models at the same ones, and their paired differences."""
    unigram_N, bigram_N = bigram.unigram.nats(token_N), bigram.nats(left_N, token_N)
    return {
        "cross_entropy": model_N,
        "unigram_cross_entropy": unigram_N,
        "bigram_cross_entropy": bigram_N,
        "kneser_ney_cross_entropy": kneser_ney(bigram).nats(left_N, token_N),
        "cross_entropy_minus_unigram": model_N - unigram_N,
        "cross_entropy_minus_bigram": model_N - bigram_N,
        "bigram_minus_cross_entropy": bigram_N - model_N,
    }


_LAST_BUCKET = 31


def _buckets(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The bucket of each left token (V,), and whether it was seen as one."""
    followers = np.bincount(counts.left, minlength=counts.vocabulary)
    mean = counts.by_left() / np.maximum(followers, 1)
    return np.minimum(2 * np.log2(np.maximum(mean, 1)), _LAST_BUCKET).astype(np.int64), followers > 0


def _mix(counts: Counts, unigram: Unigram, weight_V: Floats, left: Ids, token: Ids) -> Floats:
    safe = np.where(left < 0, 0, left)
    weight = np.where(left < 0, 0.0, weight_V[safe])
    ratio = counts.of(left, token) / np.maximum(counts.by_left()[safe], 1)
    return weight * ratio + (1 - weight) * np.exp(unigram.log_p_V[token])


def _choose_weights(rest: Counts, held: Counts, unigram: Unigram) -> Floats:
    """The weight of each bucket that maximises the likelihood of the held-out pairs.

    The log-likelihood is concave in the weight, so bisection on its derivative finds the maximum; a bucket without
    held-out pairs takes the weight of the next lower one that has some.
    """
    bucket_V, seen_V = _buckets(rest)
    known = seen_V[held.left]
    left, token, pairs = held.left[known], held.token[known], held.pairs[known]
    bucket = bucket_V[left]
    p_unigram = np.exp(unigram.log_p_V[token])
    gain = rest.of(left, token) / rest.by_left()[left] - p_unigram
    low, high = np.zeros(_LAST_BUCKET + 1), np.full(_LAST_BUCKET + 1, 0.999)  # at 1 an unseen pair had no mass
    for _ in range(40):
        middle = (low + high) / 2
        slope = np.bincount(bucket, pairs * gain / (p_unigram + middle[bucket] * gain), minlength=_LAST_BUCKET + 1)
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    found = np.bincount(bucket, minlength=_LAST_BUCKET + 1) > 0
    if not found.any():
        return np.full(_LAST_BUCKET + 1, 0.5)
    nearest = np.maximum.accumulate(np.where(found, np.arange(_LAST_BUCKET + 1), 0))
    return low[np.where(nearest < np.argmax(found), np.argmax(found), nearest)]
