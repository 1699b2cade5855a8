"""Numbers that a state gives to a person: social security, national identity and tax numbers.

The numbers of a country, their forms and captions are data (``national_ids.tsv``); python-stdnum knows the check digits
and dates. A number counts without a caption only where its form is unlike anything else.
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
VALUE = r"(?P<value>)(?=[A-Z0-9a-z])"  # where a captioned value starts


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


_SSN_CAPTIONS = ("ssn", "social security", "soc sec", "social sec", "SS#", "ssns", "ssn4")
_ID_CAPTIONS = (*_ANY_COUNTRY, *(word for item in NATIONAL_IDS for word in item.captions))
_OWN_FORMS = "|".join(f"(?P<i{number}>{item.own})" for number, item in enumerate(_OWN))
_OWN_HINT = "|".join(item.own.replace("(?!BG|GB|NK|KN|TN|NT|ZZ)", "") for item in _OWN)
_SSN_NUMBER = r"(?P<number>\d{3}[ .\-]?\d{2}[ .\-]?\d{4})"

PATTERNS: tuple[Pattern, ...] = (
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
        regex.compile(rf"{caption(_ID_CAPTIONS)}{VALUE}"),
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
)
