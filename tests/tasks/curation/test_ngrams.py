"""Repeated n-grams in NumPy against the definition, one text and one n-gram after the other."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation import tokenised
from tasks.curation.ngrams import DUPLICATE, TOP, repeated_characters
from tasks.curation.tokenised import Tokenised
from tasks.curation.words import words

TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "the", "mill", "grinds."]), max_size=40).map(" ".join), max_size=6)


def top(tokens, n):
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    if not grams:
        return 0
    gram, count = Counter(grams).most_common(1)[0]
    return count * len(" ".join(gram))


def duplicate(tokens, n):
    seen, characters, at = set(), 0, 0
    while at + n <= len(tokens):
        gram = tuple(tokens[at : at + n])
        if gram in seen:
            characters += len("".join(gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return characters


@settings(max_examples=150)
@given(TEXTS)
def test_agrees_with_the_definition(texts):
    found = repeated_characters(Tokenised(texts))
    for n in TOP:
        assert found[n].tolist() == [top(words(text), n) for text in texts]
    for n in DUPLICATE:
        assert found[n].tolist() == [duplicate(words(text), n) for text in texts]


def test_texts_do_not_share_n_grams():
    text = "one two three four five six seven"
    found = repeated_characters(Tokenised([text, text, f"{text} {text}"]))
    assert found[5].tolist() == [0, 0, len("onetwothreefourfive")]
    assert found[2].tolist() == [7, 7, 14]


def test_threads_share_the_table_of_words(monkeypatch):
    """Many threads enter the same new chunks at once; each reads its own texts right, when the table is renewed too."""
    monkeypatch.setattr(tokenised, "MAXIMUM_CHUNKS", 300)
    texts = [[f"word{(i * j) % 977}, and so. on({j})" for j in range(40)] for i in range(40)]

    def lengths(block):
        batch = Tokenised(block)
        return np.split(batch.length_T, batch.ends_D[:-1])

    with ThreadPoolExecutor(8) as pool:
        for block, found in zip(texts, pool.map(lengths, texts), strict=True):
            assert [part.tolist() for part in found] == [[len(word) for word in words(text)] for text in block]
