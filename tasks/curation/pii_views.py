"""A text as a scanner should see it, with every character's place in the text as read.

Full-width digits, zero-width characters, HTML entities and typographic dashes hide personal data from patterns;
replaced spans (placeholders) show what a reader of the redacted text would see. Both are views: a text, and pieces that
say where it comes from, so that a 50 MB text costs by its odd places and not by its length.
"""

from __future__ import annotations

import html
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence

import regex

#: Hyperscan over UTF-8: the text may hold something that `normalised` changes and that could hide a value.
PREFILTER = "|".join(
    (
        r"\xc2\xad|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf",  # soft hyphen, zero-width, bidi
        r"[0-9)](?:\xc2\xa0|\xe2\x80[\x80-\x8a\x90-\x95\xaf]|\xe2\x88\x92|\xe3\x80\x80|\xef\xb9[\x98\xa3])",  # blank, -
        r"\xef\xbc[\x8b\x8d-\x99\xa0-\xba]|\xef\xbd[\x81-\x9a]|\xef\xb9[\x92\xab]",  # full-width + - . / 0-9 @ A-Z a-z
        r"\xf0\x9d[\x90-\x9f]|\xe2\x91[\xa0-\xa8]",  # mathematical letters and digits, circled digits
        r"\xd9[\xa0-\xa9]|\xdb[\xb0-\xb9]|\xe0[\xa5\xa7\xa9\xab\xad\xaf\xb1\xb3\xb5][\xa6-\xaf]",  # Arabic, Indic
        r"\xe0[\xb9\xbb][\x90-\x99]|\xe0\xbc[\xa0-\xa9]|\xe1\x81[\x80-\x89]|\xe1\x9f[\xa0-\xa9]|\xe1\xa0[\x90-\x99]",
        r"\\[nrt][A-Z0-9+(]",  # an escaped new line: "...\\nPhone: ..."
        r"\[[.@:]\]",  # defanged: 81[.]2[.]69[.]142, joe[@]site.com
        r"&#|&(?:commat|period|colon|plus|nbsp|hyphen|lowbar|dash|zwj|zwnj|shy|lpar|rpar|sol);|%40|%2[Bb]",
    )
)

_ODD = regex.compile(
    r"(?V1)[[\p{Cf}\p{Zs}\p{Nd}\p{No}\p{Pd}\u2212\u2100-\u214f\ufe00-\ufe0f\ufe50-\ufe6f\uff01-\uff5e\U0001d400-\U0001d7ff]"
    r"--[\x00-\x7f]]|&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,8});|%40|%2[Bb]|\[[.@:]\]|\\[nrt](?=[A-Z0-9+(])"
)
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"


class View:
    """A text made of pieces: each starts at a place in `text` and stands for code points [start, end) of its parent.

    A piece as long as what it stands for and copied from it is `plain`: its characters map one to one.
    """

    def __init__(self, pieces: Sequence[tuple[str, int, int, bool]], parent: View | None = None) -> None:
        self.text = "".join(text for text, *_ in pieces)
        self._pieces, self._parent = pieces, parent
        self._at = [0]
        for text, *_ in pieces:
            self._at.append(self._at[-1] + len(text))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The place of characters [start, end) of the view in the text as read; whole pieces where not one to one."""
        first, last = self._place(start)[0], self._place(end - 1)[1]
        return self._parent.span(first, last) if self._parent else (first, last)

    def _place(self, index: int) -> tuple[int, int]:
        number = bisect_right(self._at, index) - 1
        _, start, end, plain = self._pieces[number]
        offset = index - self._at[number]
        return (start + offset, start + offset + 1) if plain else (start, end)


def _plain(sign: str) -> str:
    """One odd character or entity as a scanner should see it: nothing, a blank, a hyphen, its ASCII look, or itself."""
    if sign in ("%40", "%2B", "%2b"):
        return "@" if sign == "%40" else "+"
    if sign.startswith("["):
        return sign[1]
    if sign.startswith("\\"):
        return "\n"
    if len(sign) > 1:
        decoded = html.unescape(sign)
        return sign if decoded == sign else "".join(c if c.isascii() else _plain(c) for c in decoded)
    category = unicodedata.category(sign)
    if category == "Cf" or "\ufe00" <= sign <= "\ufe0f":
        return ""
    if category == "Zs":
        return " "
    if sign in _DASHES:
        return "-"
    if category == "Nd":
        return str(unicodedata.decimal(sign))
    plain = unicodedata.normalize("NFKC", sign)
    return plain if plain.isascii() else sign


def normalised(text: str, parent: View | None = None) -> View:
    """`text` without what hides: entities decoded, invisible characters gone, digits, blanks, dashes, letters in ASCII.

    `text` is the parent's text, or the text as read where there is none.
    """
    pieces: list[tuple[str, int, int, bool]] = []
    position = 0
    for match in _ODD.finditer(text):
        start, end = match.span()
        pieces.append((text[position:start], position, start, True))
        pieces.append((_plain(match[0]), start, end, False))
        position = end
    pieces.append((text[position:], position, len(text), True))
    return View([piece for piece in pieces if piece[0]], parent)


def replaced(text: str, spans: Sequence[tuple[int, int, str]]) -> View:
    """The text with each (start, end, placeholder) put in; a placeholder's characters stand for the whole span."""
    pieces: list[tuple[str, int, int, bool]] = []
    position = 0
    for start, end, placeholder in spans:
        pieces.append((text[position:start], position, start, True))
        pieces.append((placeholder, start, end, False))
        position = end
    pieces.append((text[position:], position, len(text), True))
    return View([piece for piece in pieces if piece[0]])
