"""Pieces cover the text, overlap, and stay short."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.curation.pieces import pieces

WORDS = st.lists(st.sampled_from(["a", "bb", "x" * 30, "y" * 300, "é"]), max_size=120)


@given(WORDS, st.integers(3, 40))
def test_every_character_is_in_a_piece_and_neighbours_overlap(words, overlap):
    # Each character is made unique (but for spaces), so that a piece lies at one place only.
    joined = " ".join(words)
    text = "".join(" " if c == " " else chr(0x4E00 + i) for i, c in enumerate(joined))
    found = list(pieces(text, 200, overlap))
    assert max(map(len, found)) <= 200
    end = 0
    for number, piece in enumerate(found):
        begin = text.index(piece)
        if number:
            assert overlap <= end - begin <= 2 * overlap
        end = max(end, begin + len(piece))
    assert end == len(text)


def test_a_short_text_is_one_piece_and_a_text_without_spaces_is_cut_hard():
    assert list(pieces("", 200, 20)) == [""]
    assert list(pieces("a b", 200, 20)) == ["a b"]
    assert list(map(len, pieces("x" * 450, 200, 20))) == [200, 200, 90]
    parts = list(pieces("word " * 200, 200, 20))
    assert all(part.startswith(" ") for part in parts[1:])
