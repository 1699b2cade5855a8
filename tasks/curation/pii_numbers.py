"""What makes a candidate a bank account, a payment card or a telephone number: check digits, registries,
context. Each function returns the exact place and a canonical value (digits only, E.164 for telephone), or None.
"""

from __future__ import annotations

from itertools import pairwise

import regex

from tasks.curation.pii_base import Found, before

# ---- money -----------------------------------------------------------------------------------------------------------

#: Length of an IBAN by country (SWIFT IBAN registry).
IBAN_LENGTHS = {
    code: int(length)
    for length, codes in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH CR HR LI LV", "22": "BG BH DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HN HU LB NI PL SV", "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC",
        "32": "LC", "33": "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip


def confirm_iban(match: regex.Match, reserved: bool) -> Found | None:
    """The country's own length and the check digits of ISO 13616 (mod 97 = 1)."""
    length = IBAN_LENGTHS.get(match[0][:2].upper())
    if length is None:
        return None
    places = [i for i, sign in enumerate(match[0]) if sign.isalnum()]
    if len(places) < length:
        return None
    end = places[length - 1] + 1
    follower = match.string[match.start() + end : match.start() + end + 1]
    raw = match[0][:end]
    value = "".join(sign for sign in raw if sign.isalnum()).upper()
    # Lower-case letters in a solid string are rather a hash; mixed case is no IBAN.
    if (follower.isascii() and follower.isalnum()) or (raw.upper() != raw and raw.lower() != raw):
        return None
    if int("".join(str(int(sign, 36)) for sign in value[4:] + value[:4])) % 97 != 1:
        return None
    return Found(match.start(), match.start() + end, value)


_CARDS = tuple(  # (first digits from, to, lengths): ISO/IEC 7812 issuer ranges
    (low, high, tuple(lengths))
    for low, high, lengths in (
        ("4", "4", (13, 16, 19)), ("51", "55", (16,)), ("2221", "2720", (16,)), ("34", "34", (15,)),
        ("37", "37", (15,)),
        ("6011", "6011", (16, 19)), ("644", "659", (16, 19)), ("3528", "3589", (16, 19)), ("36", "36", (14, 16)),
        ("38", "39", (14, 16)), ("300", "305", (14, 16)), ("62", "62", (16, 17, 18, 19)), ("2200", "2204", (16,)),
        ("50", "50", (12, 13, 16, 18, 19)), ("56", "58", (12, 13, 16, 18, 19)), ("67", "67", (12, 13, 16, 18, 19)),
    )
)  # fmt: skip
_CARD_WORD = regex.compile(
    r"(?<!<)(?:card|visa|master|amex|maestro|credit|debit|payment|\bcc\b|\bpan\b)", regex.IGNORECASE
)


def luhn(digits: str) -> bool:
    """The check digit of ISO/IEC 7812-1, annex B."""
    doubled = (int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def confirm_card(match: regex.Match, reserved: bool) -> Found | None:
    """An issuer's prefix and length, and the Luhn digit; the candidate has a card's grouping or none.

    The rare forms (12 to 14 digits, Maestro) have many numbers beside them: they need a word such as card or visa.
    """
    digits = regex.sub(r"\D", "", match[0])
    brands = [entry for entry in _CARDS if len(digits) in entry[2] and entry[0] <= digits[: len(entry[0])] <= entry[1]]
    if not luhn(digits) or len(set(digits)) == 1:
        return None
    # No issuer of today (retired ranges, store cards), a short one, Maestro: only where the text says what it is.
    rare = not brands or len(digits) < 15 or brands[0][0] in ("50", "56", "67") or "." in match[0]
    if rare and not _CARD_WORD.search(before(match, 60)):
        return None
    return Found(match.start(), match.end(), digits)


# ---- telephone -------------------------------------------------------------------------------------------------------

#: Where a number with a caption but without a country code may be from, most speakers first.
REGIONS = (
    "US", "IN", "CN", "BR", "GB", "DE", "FR", "IT", "ES", "MX", "JP", "KR", "RU", "UA", "PL", "NL", "BE", "CH", "AT",
    "PT", "SE", "NO", "DK", "FI", "CZ", "IE", "AU", "NZ", "ZA", "TR", "IL", "GR", "RO", "HU", "AR", "CO", "ID", "NG",
    "PK", "PH",
)  # fmt: skip
_NO_PHONE = regex.compile(r"\d{4}-\d\d?-\d\d?|\d+\.\d+|(?:19|20)\d\d[-–](?:19|20)\d\d")  # dates, decimals, years
_DATE = regex.compile(r"(?:0\d|[12]\d|3[01])[-. ](?:0\d|1[0-2])[-. ](?:19|20)\d\d(?!\d)")
_DIRECT = regex.compile(
    r"(?:[\s.:：#=(]|\\n)*(?:(?:no|nr|number)[\s.:：#=(]*)?(?:(?:is|to|(?:me |us )?(?:at|on))[\s.:：#=(]*)?",
    regex.IGNORECASE,
)
_GROUP_END = regex.compile(r"\d(?=[^\d]|$)")


def _parse(text: str, region: str | None):
    import phonenumbers

    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def confirm_phone(match: regex.Match, reserved: bool) -> Found | None:
    """A telephone number by `phonenumbers` (libphonenumber's plans), or in unmistakable form.

    With a country code: valid, or of possible length and in groups. In North American form (3-3-4 with signs between):
    as it stands, since numbers in examples (555) are not valid. In national form with its trunk 0, or with a word such
    as fax behind it: valid in one of `REGIONS`. Behind a caption (tel, fax, call ...): valid in one of them, or in
    groups right behind a caption that says so plainly (``Fax: 0383 6399470``); solid digits only right behind it.
    """
    import phonenumbers

    named = match.groupdict()
    if named.get("nanp"):
        return Found(match.start(), match.end(), f"+1{_digits(named['nanp'])[-10:]}")
    if named.get("labelled"):
        return _confirm_labelled(match)
    if named.get("us"):
        number = _parse(named["us"], "US")
        valid = number and phonenumbers.is_valid_number(number)
        return Found(match.start("us"), match.end("us"), phonenumbers.format_number(number, 0)) if valid else None
    if named.get("weak"):
        value = _valid_somewhere(named["weak"]) if _DIRECT.fullmatch(named["filler"]) else None
        return (
            Found(match.start("weak"), match.end("weak"), value) if value and len(_digits(named["weak"])) >= 9 else None
        )
    if named.get("behind"):
        text, joined = named["behind"], named["sign"] in ("-", "(") and named["what"][0].isupper()
        if not (9 if not joined else 7) <= len(_digits(text)) <= 13 or _NO_PHONE.search(text) or text.isdigit():
            return None
        value = _valid_somewhere(text) or (f"tel:{_digits(text)}" if joined else None)  # 413 3504-Office
        return Found(match.start("behind"), match.end("behind"), value) if value else None
    if named.get("national"):
        return _confirm_national(match)
    return _confirm_international(match)


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


def _valid_somewhere(text: str) -> str | None:
    """E.164 of the number as the first of `REGIONS` reads it; None when none does."""
    import phonenumbers

    for region in REGIONS:
        number = _parse(text, region)
        if number and phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, 0)
    return None


def _confirm_international(match: regex.Match) -> Found | None:
    import phonenumbers

    text = match[0]
    plus = text.startswith(("+", "(+"))
    groups = [group for group in regex.split(r"\D+", text.replace("(0)", "")) if group]
    if not plus and len(groups) < 3:  # 00 and solid digits is any number
        return None
    # The longest run of whole groups that is a number: "+49 30 901820 3 people".
    for end in sorted((cut.end() for cut in _GROUP_END.finditer(text)), reverse=True):
        number = _parse("+" + text[:end].lstrip("(+0 "), None)
        if number and phonenumbers.is_valid_number(number):
            return Found(match.start(), match.start() + end, phonenumbers.format_number(number, 0))
    number = _parse("+" + text.lstrip("(+0 "), None)
    grouped = plus and len(groups) >= 3 and all(len(group) >= 2 for group in groups[1:])
    if number and grouped and phonenumbers.is_possible_number(number):
        return Found(match.start(), match.end(), phonenumbers.format_number(number, 0))
    return None


def _confirm_national(match: regex.Match) -> Found | None:
    text, groups = match["national"], regex.findall(r"\d+", match["national"])
    steps = {int(b) - int(a) for a, b in pairwise(groups)}
    if (
        not 10 <= len(_digits(text)) <= 12 or len(steps) == 1 or _NO_PHONE.search(text) or _DATE.match(text)
    ):  # 01 02 03 04 05 is a count
        return None
    value = _valid_somewhere(text)
    return Found(match.start("national"), match.end("national"), value) if value else None


def _confirm_labelled(match: regex.Match) -> Found | None:
    start, text = match.start("labelled"), match["labelled"]
    direct = _DIRECT.fullmatch(match["filler"])
    ends = sorted((cut.end() for cut in _GROUP_END.finditer(text)), reverse=True)
    for end in ends:
        piece = text[:end]
        groups = [group for group in regex.split(r"\D+", piece) if group]
        if not 7 <= len(_digits(piece)) <= 15 or _NO_PHONE.fullmatch(piece):
            continue
        if (len(groups) == 1 and not direct) or (len(_digits(piece)) < 9 and (len(groups) == 1 or not direct)):
            continue
        if value := _valid_somewhere(piece):
            return Found(start, start + end, value)
    plain = (
        direct
        and regex.search(r"[:：]|\b(?:me|us) (?:at|on)\b", match["filler"])
        and len(regex.findall(r"\d+", text)) <= 5
    )
    if plain and 7 <= len(_digits(text)) <= 13 and not _NO_PHONE.search(text):
        return Found(start, start + ends[0], f"tel:{_digits(text)}")
    return None
