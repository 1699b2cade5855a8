"""Telephone numbers by the numbering plans (`phonenumbers`), and what is no number for all its digits."""

from __future__ import annotations

from itertools import pairwise

import regex

#: Where a number with a caption but without a country code may be from, most speakers first.
REGIONS = (
    "US", "IN", "CN", "BR", "GB", "DE", "FR", "IT", "ES", "MX", "JP", "KR", "RU", "UA", "PL", "NL", "BE", "CH", "AT",
    "PT", "SE", "NO", "DK", "FI", "CZ", "IE", "AU", "NZ", "ZA", "TR", "IL", "GR", "RO", "HU", "AR", "CO", "ID", "NG",
    "PK", "PH",
)  # fmt: skip
#: Dates, decimals, years.
NO_PHONE = regex.compile(r"\d{4}-\d\d?-\d\d?|\d+\.\d+|(?:19|20)\d\d[-–](?:19|20)\d\d")
_DATE = regex.compile(
    r"(?:(?:19|20)\d\d(?P<a>[-./ ])(?:0?[1-9]|1[0-2])(?P=a)(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])(?P<b>[-./ ])(?:0?[1-9]|[12]\d|3[01])(?P=b)(?:19|20)\d\d)(?!\d)"
)
_YEARS = regex.compile(r"(?:19|20)\d\d ?[-–/] ?(?:19|20)?\d\d")
_SSN_LIKE = regex.compile(r"\d{3}([ \-])\d\d\1\d{4}")
_ROUND = regex.compile(r"[1-9]\d{0,2}(?: \d{3})* 000")
_ISBN = regex.compile(r"97[89]([ \-]?\d){10}")
_DECIMAL = regex.compile(r"\d+\.\d+")
_DIGITS = regex.compile(r"\d+")
GROUP_END = regex.compile(r"\d(?=[^\d]|$)")


def parse(text: str, region: str | None):
    """The number as `phonenumbers` reads it; None when it does not."""
    import phonenumbers

    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def valid_somewhere(text: str) -> str | None:
    """E.164 of the number as the first of `REGIONS` reads it; None when none does."""
    import phonenumbers

    for region in REGIONS:
        number = parse(text, region)
        if number and phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, 0)
    return None


def counted(groups: list[str]) -> bool:
    """Groups that go up by the same step: 01 02 03 04 05, 001-002-003."""
    return len(groups) > 2 and len({int(b) - int(a) for a, b in pairwise(groups)}) == 1


def groups_of(text: str) -> list[str]:
    """The runs of digits."""
    return _DIGITS.findall(text)


def another_thing(text: str, said: bool = False) -> bool:
    """A date or what begins with one, years, a decimal, an ISBN, a social security number, a count, a round number.

    `said`: a caption is right in front of it, so that 01 23 45 67 89 may be one.
    """
    groups = groups_of(text)
    return bool(
        _DATE.match(text)
        or _YEARS.fullmatch(text)
        or _SSN_LIKE.fullmatch(text)
        or _ISBN.fullmatch(text)
        or _DECIMAL.fullmatch(text)
        or _ROUND.fullmatch(text)
        or (not said and counted(groups))
        or len(set("".join(groups))) < 2
    )
