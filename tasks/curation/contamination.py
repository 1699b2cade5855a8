"""Contamination: records that hold an item of an evaluation set that the recipe protects.

An item is looked for in three ways, over the words that near-duplicates are compared by (NFC, lower-cased, split at
non-word characters), so case, punctuation and line breaks hide nothing:

- its n-grams of words (13 by default): how many distinct ones the record holds, of the item that it holds most of;
- an item that is shorter: its words as a whole, in their order, anywhere in the record, when it has 5 words or 30
  characters; shorter still, a record that has these words and no others. Found, it counts as 1;
- near-duplicates: the Jaccard index of the sets of word 5-grams, exact. The protected items are few, so an index of
  their 5-grams finds the candidates, without the chance that MinHash leaves.

An n-gram that more than 3 items and more than 1 % of a set's items share is the set's own wording ("Which of the
following is true?") and counts for nothing, unless an item has no others.

Brown et al. 2020, Language Models are Few-Shot Learners, appendix C (13-grams). The policy's `contamination` decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.curation.overlap import Index, Words, counted, distinct, most, numbers_of, words_of
from tasks.curation.shingles import SHINGLE_WORDS

VERSION = 1
WHOLE_WORDS, WHOLE_CHARACTERS = 5, 30  # of a short item that is looked for inside a record
TEMPLATE_ITEMS, TEMPLATE_SHARE = 3, 0.01
COMMON_ITEMS = 16  # a 5-gram of more items proposes no near-duplicate by itself


@dataclass(frozen=True)
class Items:
    """The items of one evaluation set: its name, each item's own name (never its text), and the texts."""

    name: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]

    def sha256(self) -> str:
        """Hex SHA-256 of the name, the ids and the texts."""
        digest = hashlib.sha256(self.name.encode())
        for pair in zip(self.ids, self.texts, strict=True):
            for part in pair:
                content = part.encode()
                digest.update(len(content).to_bytes(8, "big") + content)
        return digest.hexdigest()


class _Set:
    """What is looked up for one evaluation set."""

    def __init__(self, items: Items, ngram_words: int) -> None:
        self.ids = np.array(items.ids, object)
        said = words_of(pa.array(items.texts, pa.large_string()))
        lengths = said.lengths
        grams, item, _ = said.grams(ngram_words)
        every = Index(grams, item)
        template = every.frequency > max(TEMPLATE_ITEMS, TEMPLATE_SHARE * len(items.ids))
        marked = np.repeat(template, every.frequency)
        own = np.bincount(every.items[~marked], minlength=len(lengths)) > 0
        kept = ~marked | ~own[every.items]
        self.ngrams = Index(np.repeat(every.hashes, every.frequency)[kept], every.items[kept])
        short = (lengths < ngram_words) & (lengths > 0)
        characters = np.array([len(text) for text in items.texts])
        inside = short & ((lengths >= WHOLE_WORDS) | (characters >= WHOLE_CHARACTERS))
        self.whole, self.alone = (
            {int(width): self._wholes(said, wanted & (lengths == width)) for width in np.unique(lengths[wanted])}
            for wanted in (inside, short & ~inside)
        )
        self.heads = self._wholes(said, inside & (lengths >= SHINGLE_WORDS), SHINGLE_WORDS)
        grams, item, _ = said.grams(SHINGLE_WORDS)
        self.shingles = Index(grams, item)
        self.sizes = np.bincount(self.shingles.items, minlength=len(lengths))  # distinct 5-grams of each item
        self.rare = self.shingles.frequency <= COMMON_ITEMS

    @staticmethod
    def _wholes(said: Words, wanted: np.ndarray, width: int = 0) -> Index:
        """The first `width` words of the wanted items, which are at least so long; 0: all words, of one length."""
        numbers = np.flatnonzero(wanted)
        width = width or int(said.lengths[numbers[0]])
        return Index(said.at(said.firsts[numbers], width), numbers)


class Contamination:
    """Scorer: for each set ``contamination.SET.ngrams`` (shared with one item), ``.similarity`` (Jaccard, 0 where no
    item is near) and ``.item`` (the id of that item, "" for none); null for a null text."""

    name = "contamination"
    VERSION = VERSION
    inputs = ("text",)

    def __init__(self, sets: Sequence[Items], ngram_words: int = 13, near: float = 0.5) -> None:
        """`near`: the least similarity that is worth telling."""
        self.ngram_words, self.near = ngram_words, near
        self.digests = {items.name: items.sha256() for items in sets}
        self.sets = {items.name: _Set(items, ngram_words) for items in sets}
        kinds = (("ngrams", pa.float64()), ("similarity", pa.float64()), ("item", pa.string()))
        self.schema = pa.schema([(f"contamination.{name}.{kind}", of) for name in self.sets for kind, of in kinds])

    def config(self) -> dict[str, Any]:
        """The sets' digests and what is compared."""
        return {"sets": self.digests, "ngram_words": self.ngram_words, "near": self.near}

    def score(self, batch: pa.Table) -> pa.Table:
        """The columns of `schema` for each row of ``text``."""
        texts = batch["text"].combine_chunks().cast(pa.large_string())
        if isinstance(texts, pa.ChunkedArray):  # pyarrow keeps an empty column chunked
            texts = pa.array([], pa.large_string())
        said = words_of(texts.fill_null(""))
        absent = np.asarray(texts.is_null())
        grams, shingles = said.grams(self.ngram_words), said.grams(SHINGLE_WORDS)
        columns: list[pa.Array] = []
        for found in self.sets.values():
            shared, item = _shared(found, said, grams, shingles)
            similarity, near = self._near(found, shingles[0], shingles[1], len(texts))
            item = np.where(item >= 0, item, near)
            names = np.where(item >= 0, found.ids[item] if len(found.ids) else "", "")
            columns += [
                pa.array(shared.astype(float), pa.float64(), mask=absent),
                pa.array(similarity, pa.float64(), mask=absent),
                pa.array(names, pa.string(), mask=absent),
            ]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _near(self, found: _Set, grams: np.ndarray, text: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """For each text the Jaccard index with the nearest item, when it reaches `near`, and that item; else 0, -1."""
        place, number = found.shingles.find(grams)
        width = max(len(found.shingles.hashes), 1)
        rows, numbers = np.divmod(distinct(text[place] * width + number), width)
        rare = found.rare[numbers]
        common = np.bincount(rows[~rare], minlength=count)
        row, item = found.shingles.pairs(rows[rare], numbers[rare])
        code, shared = counted(row * max(len(found.ids), 1) + item)
        row, item = np.divmod(code, max(len(found.ids), 1))
        # The Jaccard index is at most the shared over the item's own.
        hopeful = shared + common[row] >= self.near * found.sizes[item]
        row, item = row[hopeful], item[hopeful]
        similarity = np.zeros(len(row))
        edges = np.searchsorted(text, np.arange(count + 1))
        held: dict[int, np.ndarray] = {}
        for at, (one, other) in enumerate(zip(row.tolist(), item.tolist(), strict=True)):
            if one not in held:
                held[one] = distinct(grams[edges[one] : edges[one + 1]])
            both = found.shingles.hashes[numbers_of(found.shingles, other)]
            inter = int(np.isin(both, held[one]).sum())
            similarity[at] = inter / (len(held[one]) + len(both) - inter)
        enough = similarity >= self.near
        best, nearest = most(row[enough], item[enough], similarity[enough], count, len(found.ids))
        return best, nearest


_Grams = tuple[np.ndarray, np.ndarray, np.ndarray]


def _shared(found: _Set, said: Words, grams: _Grams, shingles: _Grams) -> tuple[np.ndarray, np.ndarray]:
    """For each text the most distinct n-grams that it shares with one item, and that item; -1 for none."""
    place, number = found.ngrams.find(grams[0])
    width = max(len(found.ngrams.hashes), 1)
    rows, numbers = np.divmod(distinct(grams[1][place] * width + number), width)  # an n-gram counts once a text
    pairs = [found.ngrams.pairs(rows, numbers)]
    heads, _ = found.heads.find(shingles[0])
    texts, begins = shingles[1][heads], shingles[2][heads]  # where a short item may begin
    for width, index in found.whole.items():
        if width < SHINGLE_WORDS:
            text, at = said.grams(width)[1:]
        else:
            fits = begins + width <= said.firsts[texts + 1]
            text, at = texts[fits], begins[fits]
        pairs.append(_wholly(found, index, said, text, at, width))
    for width, index in found.alone.items():  # the record is these words and no others
        text = np.flatnonzero(said.lengths == width)
        pairs.append(_wholly(found, index, said, text, said.firsts[text], width))
    row, item = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return most(row, item, np.ones(len(row)), len(said.lengths), len(found.ids))


def _wholly(found: _Set, index: Index, said: Words, text: np.ndarray, at: np.ndarray, width: int):
    """(text, item), each once, where an item of so many words begins at one of these words."""
    place, number = index.find(said.at(at, width))
    row, item = index.pairs(text[place], number)
    return np.divmod(distinct(row * max(len(found.ids), 1) + item), max(len(found.ids), 1))
