"""Cutting a long text into overlapping pieces at spaces."""

from __future__ import annotations

from collections.abc import Iterator


def pieces(text: str, size: int, overlap: int) -> Iterator[str]:
    """The text, or pieces of at most `size` characters that begin and end at a space where there is one nearby.

    A piece shares at least `overlap` and less than twice as many characters with the one before it (a piece is at
    least half of `size`, so `overlap` must be less than a quarter of it).
    """
    start = 0
    while len(text) - start > size:
        cut = text.rfind(" ", start + size // 2, start + size)
        cut = cut if cut >= 0 else start + size
        yield text[start:cut]
        back = text.rfind(" ", cut - 2 * overlap, cut - overlap)
        start = back if back >= 0 else cut - overlap
    yield text[start:]
