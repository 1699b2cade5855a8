"""English words: cases cut by spaCy 3.8's blank English tokenizer, and what holds of every chunk."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.curation.words import cut, words

CASES = [line.split("\t") for line in (Path(__file__).parent / "cases" / "english_words.tsv").read_text().splitlines()]
CHUNKS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text("aB1.,:;'\"()-_=#*/<>+%$’…—°", max_size=12),
).map(lambda text: "".join(text.split()))


@pytest.mark.parametrize(("chunk", "expected"), CASES[1:])
def test_cut_as_spacy_cuts(chunk, expected):
    assert cut(chunk) == expected.split(" ")


@given(CHUNKS)
@example("I'd've")
@example("((((:-)")
@example("....''..")
def test_no_character_is_lost_and_no_word_is_empty(chunk):
    pieces = cut(chunk)
    assert "".join(pieces) == chunk
    assert all(pieces)


@given(CHUNKS, CHUNKS)
def test_chunks_are_cut_alone(one, other):
    assert words(f" {one}\n{other}\t") == words(one) + words(other)


def test_a_long_chunk_takes_no_longer_than_its_length():
    # An address pattern that backtracks would take minutes on these.
    for chunk in ("a." * 50_000, "@" * 100_000, "a@" * 50_000, "=" * 100_000, "'s" * 50_000, "http://" * 10_000):
        assert "".join(cut(chunk)) == chunk


def test_arrow_cuts_at_the_blanks_of_python():
    points = [point for point in range(0x11000) if not 0xD800 <= point < 0xE000] + [*range(0xE0000, 0xE0080), 0x10FFFF]
    texts = [f"a{chr(point)}b" for point in points]
    cut_up = pc.utf8_split_whitespace(pa.array(texts, pa.large_string()))
    assert pc.list_value_length(cut_up).to_pylist() == [len(text.split()) for text in texts]
