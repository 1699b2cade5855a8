"""Repeated spans against a naive search for them."""

import random

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from test_duplicates import WORDS, naive_words, records_of, table_of

from data_policies.schema import Substring
from tasks.curation.duplicates import elect, find_pairs, read_pairs
from tasks.curation.shingles import hash_words, normalise, roll
from tasks.curation.substrings import covered, fingerprints

TOKENS = st.lists(st.sampled_from("abc"), max_size=24)


def hashes_of(tokens: list[str]) -> np.ndarray:
    return hash_words(normalise(pa.array([" ".join(tokens)], pa.large_string())))[0]


def naive_share(tokens: list[str], other: list[str], words: int) -> float:
    """The share of `tokens` in spans of `words` that `other` has, one span after the other."""
    known = {tuple(other[at : at + words]) for at in range(len(other) - words + 1)}
    inside = set()
    for at in range(len(tokens) - words + 1):
        if tuple(tokens[at : at + words]) in known:
            inside |= set(range(at, at + words))
    return len(inside) / len(tokens) if tokens else 0.0


@settings(max_examples=150)
@given(TOKENS, TOKENS, st.integers(2, 8))
def test_texts_that_share_a_span_share_a_fingerprint(one, other, words):
    a, b = hashes_of(one), hashes_of(other)
    share = naive_share(one, other, words)
    if share:
        assert set(fingerprints(a, words).tolist()) & set(fingerprints(b, words).tolist())
    if min(len(one), len(other)) >= words:
        assert covered(roll(a, words), roll(b, words), words) == share


def test_texts_that_hold_others_are_found_and_the_longer_stays(tmp_path):
    draw = random.Random(4)
    bodies = [draw.choices(WORDS, k=draw.randint(60, 120)) for _ in range(60)]
    texts = [" ".join(body) for body in bodies]
    for body in bodies[:12]:  # 40 words of it, and 20 of its own
        texts.append(" ".join([*draw.choices(WORDS, k=10), *body[5:45], *draw.choices(WORDS, k=10)]))
    for body in bodies[12:20]:  # too short a span
        texts.append(" ".join([*draw.choices(WORDS, k=10), *body[5:30], *draw.choices(WORDS, k=10)]))
    table = table_of(texts)
    asked = Substring(words=30, share=0.5)
    similar = find_pairs(table, 0.8, substring=asked)
    similar.write(tmp_path)
    assert read_pairs(tmp_path).spans.equals(similar.spans)
    gone = elect(records_of(table), similar, 0.8, asked.share).to_pylist()
    names = table["record_id"].to_pylist()
    by_name = dict(zip(names, texts, strict=True))
    assert {row["record_id"] for row in gone} == set(names[60:72])
    for row in gone:
        assert row["rule"] == "duplicate.substring"
        tokens, others = (naive_words(by_name[row[key]]) for key in ("record_id", "survivor_id"))
        assert row["similarity"] == naive_share(tokens, others, 30) >= 0.5
    assert elect(records_of(table), similar, 0.8, 0.99).num_rows == 0
    assert elect(records_of(table), similar, 0.8).num_rows == 0
    assert find_pairs(table, 0.8).spans.num_rows == 0


def test_a_near_duplicate_is_called_that():
    body = [f"w{n}" for n in range(200)]
    table = table_of([" ".join(body), " ".join([*body[:190], "other", "words"])])
    asked = Substring(words=20, share=0.5)
    (row,) = elect(records_of(table), find_pairs(table, 0.8, substring=asked), 0.8, asked.share).to_pylist()
    assert row["rule"] == "duplicate.near"


def test_no_texts_and_short_ones():
    asked = Substring(words=10, share=0.5)
    for texts in ([], ["", "a b"], ["a b c d e f"] * 3):
        assert find_pairs(table_of(texts), 0.8, substring=asked).spans.num_rows == 0
