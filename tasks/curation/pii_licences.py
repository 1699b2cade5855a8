"""Numbers of driving licences: no check digit and a form in every state, so a caption, or a phrase that names one."""

from __future__ import annotations

import regex

from tasks.curation.pii_base import FILLER, Found, Pattern, caption, digits, hint

_VALUE = r"(?P<value>)(?=[A-Z0-9a-z])"
_FORM = regex.compile(
    r"(?:[A-Z]{1,5}\*{1,5}[A-Z*]{0,2}\d{3}[A-Z0-9]{2}"  # Washington: DOE**MJ501P1
    r"|(?:[A-Z]{1,3}[ -]?)?[A-Z0-9]*\d[A-Z0-9]*(?:[ \-/][A-Z0-9]*\d[A-Z0-9]*){0,5}(?:[ ]?[A-Z]{1,2}(?=[\s.,;?!)]|$))?)"
)
_SMALL_FORM = regex.compile(  # a text in small letters: no blanks beside letters, they may be words
    r"(?:[a-z]{1,5}\*{1,5}[a-z*]{0,2}\d{3}[a-z0-9]{2}"
    r"|(?:[a-z]{1,3}-?)?[a-z0-9]*\d[a-z0-9]*(?:[ \-/][a-z0-9]*\d[a-z0-9]*){0,5})"
)
_END = regex.compile(r"(?![\p{L}\p{N}_])(?![.\-/]\w)")
_DATE = regex.compile(
    r"(?:19|20)\d\d(?:[ \-/.](?:\d\d?|(?:19|20)\d\d)){0,2}|\d\d?(?P<sep>[\-/. ])\d\d?(?P=sep)(?:19|20)?\d\d"
)
#: In a phrase another number may be meant: the words for it, the signs and units of an amount.
_OTHER = regex.compile(
    r"(?i)(?<!\p{L})(?:passport|ssn|social|card|account|phone|tel|call|fax|zip|plate|vin|policy|order|case|court|fine|fee|"
    r"cost|paid|amount|born|dob|date|age|aged|before|after|since|until|by|over|under|about|version|v)(?!\p{L})|[$€£]"
)
_UNIT = regex.compile(
    r"(?i)\s?(?:%|(?:years?|days?|months?|hours?|people|drivers|persons|times|miles|km|dollars|euros?|pounds)\b)"
)


def _plain(text: str) -> str:
    return regex.sub(r"[^0-9A-Z]", "", text.upper())


def _licence(text: str, start: int, least: int) -> Found | None:
    """The licence's number at `start`: five to twenty letters and digits, `least` digits or more, no date."""
    value = _FORM.match(text, start)
    if not value or not _END.match(text, value.end()):
        value = _SMALL_FORM.match(text, start)
    if not value or not _END.match(text, value.end()):
        return None
    plain = _plain(value[0])
    enough = least - 1 if len(plain) >= 10 else least
    if len(digits(plain)) < enough or not 5 <= len(plain) <= 20 or len(set(digits(plain))) == 1:
        return None
    return None if _DATE.fullmatch(value[0]) else Found(start, value.end(), plain)


def confirm_licence(match: regex.Match, reserved: bool) -> Found | None:
    """Five to twenty letters and digits behind a caption, four digits (of a long one three), perhaps in groups."""
    return _licence(match.string, match.start("value"), 4)


def confirm_licence_in_phrase(match: regex.Match, reserved: bool) -> Found | None:
    """Behind words that name a driving licence, some more between: five digits, no other number named, no unit."""
    found = _licence(match.string, match.start("value"), 6 if match["filler"].strip() else 5)
    if not found or _OTHER.search(match["filler"]) or _UNIT.match(match.string, found.end):
        return None
    return found


def confirm_any_licence(match: regex.Match, reserved: bool) -> Found | None:
    """Behind "license number": a letter and six digits or more, or seven digits or more of a person's (my, his ...)."""
    start = match.start("value")
    value = _ANY_FORM.match(match.string, start)
    if value:
        return Found(start, value.end(), _plain(value[0])) if len(set(digits(value[0]))) > 1 else None
    at = match.start("caption")
    return _licence(match.string, start, 7) if _OWNED.search(match.string[max(0, at - 8) : at]) else None


def confirm_licence_before(match: regex.Match, reserved: bool) -> Found | None:
    """In front of the words: ``A1234567 is my driver's license number``."""
    found = _licence(match.string, match.start("value"), 5)
    return found if found and found.end == match.end("value") else None


_SPOKEN = (
    "driver license", "driver licence", "driver's license", "driver's licence", "driver’s license", "driver’s licence",
    "drivers license", "drivers licence", "driving licence", "driving license", "operator's license", "driver permit",
    "driver's permit", "driving permit",
)  # fmt: skip
_LICENCE_CAPTIONS = (
    "driver license", "driver licence", "driver's license", "driver's licence", "driver’s license", "driver’s licence",
    "drivers license", "drivers licence", "driving licence", "driving license", "driver lic",
    "drivers lic", "DL", "D.L.", "dl#", "dl no", "dl number", "driver permit", "driver's permit", "driving permit",
    "operator license", "operator's license",
    "DLN", "permis de conduire", "führerschein", "führerscheinnummer", "fuehrerschein", "carnet de conducir",
    "permiso de conducir", "licencia de conducir", "licencia de manejo", "patente di guida", "rijbewijs",
    "rijbewijsnummer", "prawo jazdy", "prawa jazdy", "carteira de habilitação", "carteira de motorista", "CNH",
    "carta de condução", "körkort", "førerkort", "ajokortti", "водительское удостоверение",
    "водительского удостоверения",
    "驾驶证", "運転免許", "운전면허",
)  # fmt: skip
#: A licence number of whatever kind counts where it has the form of a driver's: a letter and six digits or more.
_ANY_LICENCE = ("license number", "licence number", "license no", "licence no", "license #", "licence #")
_ANY_FORM = regex.compile(r"(?i:[A-Z](?:[ -]?\d){6,14}|[A-Z]{2}\d{6}[A-Z]?)(?![\w*]|[.\-/]\w)")
_OWNED = regex.compile(r"(?i)(?:(?<!\p{L})(?:my|your|his|her|their|driver)|['’]s) $")

PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "driver_licence",
        hint(_LICENCE_CAPTIONS),
        regex.compile(rf"{caption(_LICENCE_CAPTIONS)}{_VALUE}"),
        confirm_licence,
        anchors=(0, 1),
    ),
    Pattern(
        "driver_licence",
        hint(_SPOKEN),
        regex.compile(
            rf"{caption(_SPOKEN).removesuffix(FILLER)}(?P<filler>[^\d\n$€£<_]{{0,48}}?)(?<![\p{{L}}\p{{N}}.])(?P<value>)"
            r"(?=\d|[A-Z*]{1,6}[ -]?\d|[a-z*]{1,6}-?\d)"
        ),
        confirm_licence_in_phrase,
        anchors=(0, 1),
    ),
    Pattern(
        "driver_licence",
        hint(_SPOKEN),
        regex.compile(
            r"(?<![\w.\-/])(?P<value>(?i:(?:[A-Z]{1,3}[ -]?)?[A-Z0-9*]*\d[A-Z0-9*]*(?:[ \-][A-Z0-9]*\d[A-Z0-9]*){0,5}))"
            r"(?![\p{L}\p{N}])[)\"']?,? (?:is |as |was |- )?"
            rf"(?i:my|your|his|her|their|the)(?: \p{{L}}+){{0,2}} (?:{'|'.join(map(regex.escape, _SPOKEN))})(?!\p{{L}})"
        ),
        confirm_licence_before,
        reach=(80, 4),
    ),
    Pattern(
        "driver_licence",
        hint(_ANY_LICENCE),
        regex.compile(rf"{caption(_ANY_LICENCE)}{_VALUE}"),
        confirm_any_licence,
        anchors=(0, 1),
    ),
)
