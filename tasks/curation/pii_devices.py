"""What names a device or a wallet: MAC addresses, IMEIs, crypto addresses."""

from __future__ import annotations

import hashlib

import regex

from tasks.curation.pii_base import Found, Pattern, before, caption, digits, hint

# ---- devices ---------------------------------------------------------------------------------------------------------

_MAC_BEFORE = regex.compile(
    r"(?<!<)(?:\bmac|\bether|hwaddr|lladdr|bssid|\bbd_?addr|bluetooth|\bwi-?fi|ethernet|hardware|physical|\barp|device)"
    r"[^\n]{0,24}$",
    regex.IGNORECASE,
)


def confirm_mac(match: regex.Match, reserved: bool) -> Found | None:
    """An EUI-48 of a device. Digits alone are rather a clock or a counter: they need a word such as MAC before them."""
    value = regex.sub(r"[^0-9A-Fa-f]", "", match[0]).lower()
    if len(set(value)) < 3 or value.startswith(("01005e", "3333")):  # all zeros, broadcast, multicast groups
        return None
    letters = any(sign in "abcdef" for sign in value)
    mixed = regex.search(r"[a-f]", match[0]) and regex.search(r"[A-F]", match[0])
    dotted = "." in match[0]
    if mixed or not letters or (dotted and value.isalpha()):
        return Found(match.start(), match.end(), value) if _MAC_BEFORE.search(before(match, 40)) else None
    return Found(match.start(), match.end(), value)


def confirm_imei(match: regex.Match, reserved: bool) -> Found | None:
    """3GPP TS 23.003: fourteen digits and their Luhn digit behind the caption; sixteen (IMEISV) have no check digit."""
    from stdnum import luhn

    value = digits(match["number"])
    if len(set(value)) < 3 or (len(value) == 15 and not luhn.is_valid(value)):
        return None
    start, end = match.span("number")
    return Found(start, end, value[:14])


# ---- wallets ---------------------------------------------------------------------------------------------------------

_BASE58 = "[1-9A-HJ-NP-Za-km-z]"
#: Version bytes of what an address may be: Bitcoin, Litecoin, Dogecoin, Dash, Tron.
_VERSIONS = frozenset({0x00, 0x05, 0x30, 0x32, 0x1E, 0x16, 0x4C, 0x10, 0x41})
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M = 0x2BC830A3  # BIP-350
_WALLET_BEFORE = regex.compile(
    r"(?<!<)(?:\beth|ether|wallet|\berc|crypto|metamask|token|contract|donat|address|account|\bpay|send|\bto\b|\bfrom\b)"
    r"[^\n]{0,40}$",
    regex.IGNORECASE,
)


def confirm_base58(match: regex.Match, reserved: bool) -> Found | None:
    """A base58 address: known version byte, 20 bytes of hash, and their checksum (SHA-256 twice)."""
    from stdnum.bitcoin import b58decode

    raw = b58decode(match[0])
    if len(raw) != 25 or raw[0] not in _VERSIONS:
        return None
    if hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] != raw[-4:]:
        return None
    return Found(match.start(), match.end(), match[0])


def confirm_bech32(match: regex.Match, reserved: bool) -> Found | None:
    """A segregated-witness address of Bitcoin or Litecoin: BIP-173, from witness version 1 on BIP-350."""
    from stdnum.bitcoin import bech32_checksum

    if match[0] not in (match[0].lower(), match[0].upper()):
        return None
    prefix, _, data = match[0].lower().partition("1")
    values = [_BECH32.index(sign) for sign in data]
    expanded = [ord(sign) >> 5 for sign in prefix] + [0] + [ord(sign) & 31 for sign in prefix]
    if bech32_checksum(expanded + values) != (1 if values[0] == 0 else _BECH32M):
        return None
    return Found(match.start(), match.end(), match[0].lower())


def confirm_ethereum(match: regex.Match, reserved: bool) -> Found | None:
    """``0x`` and 40 hex digits behind a word such as wallet, ETH or address: a digest of 20 bytes looks the same."""
    value = match[0].lower()
    if len(set(value[2:])) < 8 or not _WALLET_BEFORE.search(before(match, 60)):
        return None
    return Found(match.start(), match.end(), value)


_IMEI_CAPTIONS = ("imei", "imeisv", "imei1", "imei2")

PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "crypto",
        rf"\b[13LMDXT]{_BASE58}{{25,34}}\b",
        regex.compile(rf"(?<![A-Za-z0-9_])[13LMDXT]{_BASE58}{{25,34}}+(?![A-Za-z0-9_])"),
        confirm_base58,
        reach=(40, 40),
    ),
    Pattern(
        "crypto",
        r"(?i)\b(?:bc|ltc)1[ac-hj-np-z02-9]{25,}",
        regex.compile(r"(?<![A-Za-z0-9_])(?i:(?:bc|ltc)1[ac-hj-np-z02-9]{25,87}+)(?![A-Za-z0-9_])"),
        confirm_bech32,
        reach=(100, 100),
    ),
    Pattern(
        "crypto",
        r"\b0x[0-9A-Fa-f]{40}\b",
        regex.compile(r"(?<![A-Za-z0-9_])0x[0-9A-Fa-f]{40}(?![A-Za-z0-9_])"),
        confirm_ethereum,
        reach=(46, 8),
    ),
    Pattern(
        "imei",
        hint(_IMEI_CAPTIONS),
        regex.compile(
            rf"{caption(_IMEI_CAPTIONS)}"
            r"(?P<number>\d{2}[ \-]?\d{6}[ \-]?\d{6}[ \-]?\d{1,2})(?![\w%])(?![.\-/]\d)"
        ),
        confirm_imei,
        anchors=(0, 1),
    ),
    Pattern(
        "mac",
        r"[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}"
        r"|[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}"
        r"|\b[0-9A-Fa-f]{4}[.][0-9A-Fa-f]{4}[.][0-9A-Fa-f]{4}\b",
        regex.compile(
            r"(?<![\p{L}\p{N}_:.\-])(?:[0-9A-Fa-f]{2}(?P<sep>[:\-])(?:[0-9A-Fa-f]{2}(?P=sep)){4}[0-9A-Fa-f]{2}"
            r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![\p{L}\p{N}_])(?![:.\-][0-9A-Fa-f])"
        ),
        confirm_mac,
        reach=(20, 24),
    ),
)
