"""Numbers that a state gives to a person: social security, national identity and tax numbers, passports, licences.

The numbers of a country, their forms and captions are data (``national_ids.tsv``); python-stdnum knows the check digits
and dates. A number counts without a caption only where its form is unlike anything else. Passports and driving licences
have no check digit (but for the machine-readable zone, ICAO Doc 9303): they count behind a caption only.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import regex

from tasks.curation.pii_base import Found, Pattern, caption, caption_key, digits, hint

TABLE = Path(__file__).with_name("national_ids.tsv")
_VALUE = r"(?P<value>)(?=[A-Z0-9a-z])"  # where a captioned value starts


class NationalId(NamedTuple):
    """A row of the table. `module`: of python-stdnum; "" where the form is all there is."""

    country: str
    module: str
    form: regex.Pattern
    own: str
    captions: tuple[str, ...]

    def canonical(self, text: str) -> str | None:
        """``pl:44051401359``; None when check digits, dates or lengths do not hold."""
        if not self.module:
            return f"{self.country}:{_plain(text)}"
        checked = _validated(self.module, text)
        return f"{self.country}:{_plain(checked)}" if checked else None


def _plain(text: str) -> str:
    return regex.sub(r"[^0-9A-Z]", "", text.upper())


def _validated(module: str, text: str) -> str | None:
    """The compact number; None when python-stdnum refuses it."""
    from stdnum.exceptions import ValidationError

    try:
        return importlib.import_module(f"stdnum.{module}").validate(text)
    except (ValidationError, ValueError, IndexError, KeyError):  # its date arithmetic raises some of its own
        return None


def _form(form: str) -> regex.Pattern:
    count = regex.fullmatch(r"D(\d+)", form)
    body = rf"\d(?:[ .\-/]?\d){{{int(count[1]) - 1}}}" if count else form
    return regex.compile(rf"(?:{body})(?![\p{{L}}\p{{N}}_])(?![.,\-/]\d)")


def _table() -> tuple[NationalId, ...]:
    rows = [line.split("\t") for line in TABLE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return tuple(
        NationalId(
            country=name.removeprefix("form:").partition(".")[0].strip("_"),
            module="" if name.startswith("form:") else name,
            form=_form(form),
            own="" if own == "-" else own,
            captions=tuple(captions.split("|")),
        )
        for name, form, own, captions in rows
    )


NATIONAL_IDS = _table()
#: Captions that name no country: any number of the table may follow.
_ANY_COUNTRY = (
    "national id", "national identity", "national identification", "identity number", "identity card", "identity no",
    "personal identification number", "personal identity", "personal id", "citizen id", "government id",
    "resident id", "tax identification", "tax number", "tax file", "fiscal code",
)  # fmt: skip


@cache
def _by_caption() -> dict[str, tuple[NationalId, ...]]:
    found: dict[str, list[NationalId]] = defaultdict(list)
    for item in NATIONAL_IDS:
        for word in item.captions:
            found[_key(word)].append(item)
    for word in _ANY_COUNTRY:
        found[_key(word)] += [item for item in NATIONAL_IDS if item not in found[_key(word)]]
    return {word: tuple(items) for word, items in found.items()}


def _key(word: str) -> str:
    key = caption_key(word)
    return key if word.isupper() else key.casefold()


def confirm_national_id(match: regex.Match, reserved: bool) -> Found | None:
    """Behind a caption: the first number of the countries that use this caption whose check holds."""
    word = match["caption"]
    items = _by_caption().get(caption_key(word), ()) + _by_caption().get(caption_key(word).casefold(), ())
    start = match.start("value")
    for item in items:
        value = item.form.match(match.string, start)
        if value and len(set(digits(value[0]))) > 1 and (canonical := item.canonical(value[0])):
            return Found(start, value.end(), canonical)
    return None


_OWN = [item for item in NATIONAL_IDS if item.own]


def confirm_own_form(match: regex.Match, reserved: bool) -> Found | None:
    """A number in a form that only this country's numbers have; its check digits hold."""
    item = _OWN[int(match.lastgroup[1:])] if match.lastgroup else None
    if item is None or len(set(digits(match[0]))) == 1 or not (value := item.canonical(match[0])):
        return None
    return Found(match.start(), match.end(), value)


# ---- United States: social security ----------------------------------------------------------------------------------

#: Numbers that were printed on sample cards, and keyboard runs: nobody's, but a caption says what they are meant to be.
_SAMPLES = frozenset({"078051120", "219099999", "457555462", "123456789", "987654321", "111111111"})


def confirm_ssn(match: regex.Match, reserved: bool) -> Found | None:
    """Area not 000, 666 or 9xx, group not 00, serial not 0000 (Social Security Administration, since 2011)."""
    start, end = match.span("number")
    value = digits(match["number"])
    if value[:3] in ("000", "666") or value[0] == "9" or value[3:5] == "00" or value[5:] == "0000":
        return None
    if (value in _SAMPLES or len(set(value)) == 1) and not (match.groupdict().get("caption") and reserved):
        return None
    return Found(start, end, value)


# ---- passports and driving licences ----------------------------------------------------------------------------------

_PASSPORT_FORM = regex.compile(
    r"(?:[A-Z]{0,3}[ -]?\d{6,9}[A-Z]?|\d{2} ?[A-Z]{2} ?\d{5}|\d{2} ?\d{2} ?\d{6}|[A-Z0-9]{8,9})"
)
_LICENCE_FORM = regex.compile(
    r"(?:[A-Z]{1,3}[ -]?)?[A-Z0-9]*\d[A-Z0-9]*(?:[ \-/][A-Z0-9]*\d[A-Z0-9]*){0,5}(?:[ ]?[A-Z]{1,2}(?=[\s.,;]|$))?"
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


def confirm_licence(match: regex.Match, reserved: bool) -> Found | None:
    """Five to twenty letters and digits behind a caption, at least four digits, perhaps in groups."""
    start = match.start("value")
    value = _LICENCE_FORM.match(match.string, start)
    if not value or not _END.match(match.string, value.end()):
        return None
    plain = _plain(value[0])
    if len(digits(plain)) < 4 or not 5 <= len(plain) <= 20 or len(set(digits(plain))) == 1:
        return None
    if regex.fullmatch(r"(?:19|20)\d\d(?:[ \-/.](?:\d\d?|(?:19|20)\d\d)){0,2}", value[0]):  # a year or a date
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


_SSN_CAPTIONS = ("ssn", "social security", "soc sec", "social sec", "SS#", "ssns", "ssn4")
_PASSPORT_CAPTIONS = (
    "passport", "passports", "pasaporte", "passeport", "reisepass", "reisepassnummer", "passnummer", "passaporto",
    "passaporte", "paspoort", "paspoortnummer", "paszport", "paszportu", "паспорт", "паспорта", "护照", "護照",
    "パスポート", "旅券", "여권",
)  # fmt: skip
_LICENCE_CAPTIONS = (
    "driver license", "driver licence", "driver's license", "driver's licence", "driver’s license", "driver’s licence",
    "drivers license", "drivers licence", "driving licence", "driving license", "driver lic", "drivers lic", "DL",
    "DLN", "permis de conduire", "führerschein", "führerscheinnummer", "fuehrerschein", "carnet de conducir",
    "permiso de conducir", "licencia de conducir", "licencia de manejo", "patente di guida", "rijbewijs",
    "rijbewijsnummer", "prawo jazdy", "prawa jazdy", "carteira de habilitação", "carteira de motorista", "CNH",
    "carta de condução", "körkort", "førerkort", "ajokortti", "водительское удостоверение",
    "водительского удостоверения",
    "驾驶证", "運転免許", "운전면허",
)  # fmt: skip
_ID_CAPTIONS = (*_ANY_COUNTRY, *(word for item in NATIONAL_IDS for word in item.captions))
_OWN_FORMS = "|".join(f"(?P<i{number}>{item.own})" for number, item in enumerate(_OWN))
_OWN_HINT = "|".join(item.own.replace("(?!BG|GB|NK|KN|TN|NT|ZZ)", "") for item in _OWN)
_SSN_NUMBER = r"(?P<number>\d{3}[ .\-]?\d{2}[ .\-]?\d{4})"
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
        "ssn",
        hint(_SSN_CAPTIONS),
        regex.compile(rf"{caption(_SSN_CAPTIONS)}{_SSN_NUMBER}(?![\w%])(?![.\-/]\d)"),
        confirm_ssn,
        anchors=(0, 1),
    ),
    Pattern(
        "ssn",
        r"[0-9]{3}-[0-9]{2}-[0-9]{4}",
        regex.compile(r"(?<![\w.\-+/#$])(?P<number>\d{3}-\d{2}-\d{4})(?![\w%])(?![.\-/]\w)"),
        confirm_ssn,
        reach=(12, 12),
    ),
    Pattern(
        "national_id",
        hint(_ID_CAPTIONS),
        regex.compile(rf"{caption(_ID_CAPTIONS)}{_VALUE}"),
        confirm_national_id,
        anchors=(0, 1),
    ),
    Pattern(
        "national_id",
        _OWN_HINT,
        regex.compile(rf"(?<![A-Za-z0-9_.\-+/])(?:{_OWN_FORMS})(?![A-Za-z0-9_])(?![.\-/]\d)"),
        confirm_own_form,
        reach=(28, 28),
    ),
    Pattern(
        "passport",
        hint(_PASSPORT_CAPTIONS),
        regex.compile(rf"{caption(_PASSPORT_CAPTIONS)}{_VALUE}"),
        confirm_passport,
        anchors=(0, 1),
    ),
    Pattern(
        "driver_licence",
        hint(_LICENCE_CAPTIONS),
        regex.compile(rf"{caption(_LICENCE_CAPTIONS)}{_VALUE}"),
        confirm_licence,
        anchors=(0, 1),
    ),
)
