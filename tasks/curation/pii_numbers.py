"""What makes a candidate a bank account or a payment card: check digits, registries, context.

Each function returns the exact place and a canonical value (capitals and digits only), or None.
"""

from __future__ import annotations

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
