"""Telephone numbers: international, in unmistakable form, in national form, behind or near words that speak of one.

Spans hold the number with its extension; the value is E.164 where a numbering plan knows the number, else its digits.
"""

from __future__ import annotations

import regex

from tasks.curation.pii_base import Found
from tasks.curation.pii_phone_context import Said, before_street, names_other, said
from tasks.curation.pii_phone_plans import (
    GROUP_END,
    NO_PHONE,
    another_thing,
    counted,
    groups_of,
    parse,
    valid_somewhere,
)

_DIRECT = regex.compile(
    r"(?:[\s.:：#=(]|\\n)*(?:(?:no|nr|number)[\s.:：#=(]*)?(?:(?:is|to|(?:me |us )?(?:at|on))[\s.:：#=(]*)?",
    regex.IGNORECASE,
)


_NON_DIGITS = regex.compile(r"\D+")
_EXTENSION_SIGN = regex.compile(r"[xe#]")
_LOCAL = regex.compile(r"\d{3}[ -]\d{4}|\d{4} \d{4}")
_PAIRS = regex.compile(r"\d\d \d\d \d\d")
_PAGES = regex.compile(r"\((\d+)\) ?(\d+)[-–](\d+)")
_PLAINLY = regex.compile(r"[:：]|\b(?:me|us) (?:at|on)\b")
_POSTAL_OR_PAGES = regex.compile(r"\d{4,5}[-–]\d{4}")


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


def _number(text: str) -> str:
    """The digits without the extension."""
    return _digits(_EXTENSION_SIGN.split(text, maxsplit=1)[0])


def confirm_international(match: regex.Match, reserved: bool) -> Found | None:
    """With a country code: valid by its plan, or of possible length, in groups or written as E.164 (11 digits or more).

    As E.164 also where the plan refuses it: no other number is written with a plus and so many digits.
    """
    import phonenumbers

    text, extension = match["code"], match["extension"] or ""
    plus = text.startswith(("+", "(+"))
    groups = [group for group in _NON_DIGITS.split(text.replace("(0)", "")) if group]
    if not plus and len(groups) < 3:  # 00 and solid digits is any number
        return None
    start, bare = match.start(), text.lstrip("(+0 ")
    # The longest run of whole groups that is a number: "+49 30 901820 3 people".
    for end in sorted((cut.end() for cut in GROUP_END.finditer(text)), reverse=True):
        number = parse("+" + text[:end].lstrip("(+0 "), None)
        if number and phonenumbers.is_valid_number(number):
            whole = match.end() if extension and end == len(text) else start + end
            return Found(start, whole, phonenumbers.format_number(number, 0))
    number = parse("+" + bare, None)
    grouped = plus and len(groups) >= 3 and all(len(group) >= 2 for group in groups[1:])
    solid = text.startswith("+") and len(groups) <= 2 and len(_digits(text)) >= 11 and len(set(_digits(text))) > 3
    if number and (grouped or solid) and phonenumbers.is_possible_number(number):
        return Found(start, match.end(), phonenumbers.format_number(number, 0))
    return None


def confirm_nanp(match: regex.Match, reserved: bool) -> Found | None:
    """In North American form (3-3-4 with signs between) as it stands: numbers in examples (555) are not valid."""
    return Found(match.start(), match.end(), f"+1{_digits(match['nanp'])[-10:]}")


def confirm_form(match: regex.Match, reserved: bool) -> Found | None:
    """A telephone's typographic form, whatever the plan says: area code in parentheses, extension, trunk 0 and hyphen.

    Not ``37 (12) 123-145``: an issue and its pages; not 001-002-003: a count.
    """
    text, groups = match[0], groups_of(match[0])
    if len(set(_number(text))) < 3 or counted(groups):
        return None
    if pages := _PAGES.fullmatch(text):
        volume = regex.search(r"[\d\p{L}.,]\s?$", match.string[max(0, match.start() - 2) : match.start()])
        year = 1800 <= int(pages[1]) <= 2100
        if year or (0 < int(pages[3]) - int(pages[2]) < 300 and len(pages[2]) == len(pages[3])) or _volume(volume):
            return None
    plain = _EXTENSION_SIGN.split(text, maxsplit=1)[0]
    return Found(match.start(), match.end(), valid_somewhere(plain) or f"tel:{_number(text)}")


def _volume(before: regex.Match | None) -> bool:
    return bool(before and before[0][0].isdigit())


def confirm_us(match: regex.Match, reserved: bool) -> Found | None:
    """3-3-4 with blanks: valid in the United States, and no suite with its house number before a street."""
    import phonenumbers

    number = parse(match["us"], "US")
    if not number or not phonenumbers.is_valid_number(number):
        return None
    if before_street(match.string, match.end()) and said(match.string, match.start(), match.end()) < Said.NEAR:
        return None
    return Found(match.start(), match.end(), phonenumbers.format_number(number, 0))


def confirm_national(match: regex.Match, reserved: bool) -> Found | None:
    """In national form with its trunk 0: valid in one of the regions."""
    text = match["national"]
    # 01 02 03 04 05 is a count, and so are two groups.
    if not 10 <= len(_digits(text)) <= 12 or counted(groups_of(text)) or NO_PHONE.search(text) or another_thing(text):
        return None
    value = valid_somewhere(text)
    return Found(match.start("national"), match.end("national"), value) if value else None


def confirm_weak(match: regex.Match, reserved: bool) -> Found | None:
    """Right behind a word such as contact: valid in one of the regions, nine digits or more."""
    direct = _DIRECT.fullmatch(match["filler"]) and not another_thing(match["weak"])
    value = valid_somewhere(match["weak"]) if direct else None
    return Found(match.start("weak"), match.end("weak"), value) if value and len(_digits(match["weak"])) >= 9 else None


def confirm_behind(match: regex.Match, reserved: bool) -> Found | None:
    """A word such as fax behind it: valid in one of the regions; in any groups where the word is joined to it."""
    text, joined = match["behind"], match["sign"] in ("-", "(") and match["what"][0].isupper()
    least = 9 if not joined else 6 if _PAIRS.fullmatch(text) else 7
    if not least <= len(_digits(text)) <= 13 or (text.isdigit() and not (joined and len(text) >= 9)):
        return None
    if NO_PHONE.fullmatch(text) if joined else NO_PHONE.search(text):
        return None
    value = valid_somewhere(text) or (f"tel:{_digits(text)}" if joined else None)  # 413 3504-Office
    return Found(match.start("behind"), match.end("behind"), value) if value else None


def confirm_labelled(match: regex.Match, reserved: bool) -> Found | None:
    """Behind a caption: valid in one of the regions, or in groups right behind a caption that says so plainly."""
    start, text = match.start("labelled"), match["labelled"]
    if text.startswith("(") and ")" not in text[:-1]:  # (71 762 322)
        start, text = start + 1, text[1:].rstrip(")")
    direct = _DIRECT.fullmatch(match["filler"])
    if (not direct and names_other(match["filler"])) or another_thing(text, said=bool(direct)):
        return None
    ends = sorted((cut.end() for cut in GROUP_END.finditer(text)), reverse=True)
    for end in ends:
        piece = text[:end]
        groups = [group for group in _NON_DIGITS.split(piece) if group]
        if not 7 <= len(_digits(piece)) <= 15 or NO_PHONE.fullmatch(piece):
            continue
        if (len(groups) == 1 and not direct) or (len(_digits(piece)) < 9 and (len(groups) == 1 or not direct)):
            continue
        if not direct and before_street(match.string, start + end):  # call a taxi to 74576 3256 Masonic Hill Road
            continue
        if value := valid_somewhere(piece):
            return Found(start, start + end, value)
    plain = direct and _PLAINLY.search(match["filler"]) and len(groups_of(text)) <= 5
    if plain and 7 <= len(_digits(text)) <= 13 and not NO_PHONE.search(text):
        return Found(start, start + ends[0], f"tel:{_digits(text)}")
    return None


def confirm_in_context(match: regex.Match, reserved: bool) -> Found | None:
    """A run of digits that the words around it call a telephone number, whatever its plan; see `pii_phone_context`.

    Six digits only in pairs or threes right behind a caption, solid digits from nine on (seven: `confirm_labelled`).
    """
    text, number = match["run"], _number(match["run"])
    groups = groups_of(match["run"])
    plain = _EXTENSION_SIGN.split(text, maxsplit=1)[0].strip()
    if not 6 <= len(number) <= 13 or another_thing(plain, said=True):
        return None
    surely = said(match.string, match.start(), match.end())
    if surely is Said.NOTHING or another_thing(plain, said=surely is Said.DIRECT):
        return None
    if len(groups) == 1:
        enough = len(number) >= 9 if surely > Said.BLOCK else 10 <= len(number) <= 11
    elif len(number) == 6:
        enough = bool(surely > Said.BLOCK and _PAIRS.fullmatch(text)) or (surely is Said.DIRECT and len(groups) == 2)
    elif surely is Said.BLOCK:  # no postal code (1234-567, 12345-678, 12345-6789), no pages (1234-1245)
        enough = len(number) >= (8 if len(groups) > 2 else 9) and not _POSTAL_OR_PAGES.fullmatch(text)
        enough = enough or bool(_LOCAL.fullmatch(text))
    else:
        enough = len(number) >= 7
    if not enough or (surely < Said.DIRECT and before_street(match.string, match.end())):
        return None
    return Found(match.start(), match.end(), valid_somewhere(text) or f"tel:{number}")
