"""Passports: no check digit (but for the machine-readable zone, ICAO Doc 9303), so a caption."""

from __future__ import annotations

import regex

from tasks.curation.pii_base import Found, Pattern, caption, digits, hint

_VALUE = r"(?P<value>)(?=[A-Z0-9a-z])"


def _plain(text: str) -> str:
    return regex.sub(r"[^0-9A-Z]", "", text.upper())


_PASSPORT_FORM = regex.compile(
    r"(?:[A-Z]{0,3}[ -]?\d{6,9}[A-Z]?|\d{2} ?[A-Z]{2} ?\d{5}|\d{2} ?\d{2} ?\d{6}|[A-Z0-9]{8,9})"
)
_END = regex.compile(r"(?![\p{L}\p{N}_])(?![.\-/]\w)")


def confirm_passport(match: regex.Match, reserved: bool) -> Found | None:
    """Six to ten letters and digits behind a caption, at least four digits."""
    start = match.start("value")
    value = _PASSPORT_FORM.match(match.string, start)
    if not value or not _END.match(match.string, value.end()) or len(digits(value[0])) < 4:
        return None
    plain = _plain(value[0])
    if len(set(digits(plain))) == 1 or not 6 <= len(plain) <= 11:
        return None
    return Found(start, value.end(), plain)


def _mrz_digit(text: str) -> int:
    """The check digit of ICAO Doc 9303, part 3: weights 7, 3, 1; letters count from 10, the filler 0."""
    return sum((0 if sign == "<" else int(sign, 36)) * (7, 3, 1)[i % 3] for i, sign in enumerate(text)) % 10


def confirm_mrz(match: regex.Match, reserved: bool) -> Found | None:
    """The second line of a passport's machine-readable zone (TD3): number, birth date and expiry by check digits.

    With the line before it where that is the first one (``P<UTO...``): it holds the name.
    """
    line = match["line"]
    if not all(_mrz_digit(line[a:b]) == int(line[b]) for a, b in ((0, 9), (13, 19), (21, 27))):
        return None
    return Found(match.start(), match.end(), line[:9].rstrip("<"))


_PASSPORT_CAPTIONS = (
    "passport", "passports", "pasaporte", "passeport", "reisepass", "reisepassnummer", "passnummer", "passaporto",
    "passaporte", "paspoort", "paspoortnummer", "paszport", "paszportu", "паспорт", "паспорта", "护照", "護照",
    "パスポート", "旅券", "여권",
)  # fmt: skip
_MRZ_LINE = r"(?P<line>[A-Z0-9<]{9}\d[A-Z<]{3}\d{7}[MFX<]\d{7}[A-Z0-9<]{14}[0-9<]\d)"

PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "passport",
        r"[A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{7}[MFX<][0-9]{7}[A-Z0-9<]{14}",
        regex.compile(rf"(?<![A-Z0-9<])(?:P[A-Z<][A-Z<]{{42}}[ \t]*\r?\n[ \t]*)?{_MRZ_LINE}(?![A-Z0-9<])"),
        confirm_mrz,
        reach=(110, 60),
    ),
    Pattern(
        "passport",
        hint(_PASSPORT_CAPTIONS),
        regex.compile(rf"{caption(_PASSPORT_CAPTIONS)}{_VALUE}"),
        confirm_passport,
        anchors=(0, 1),
    ),
)
