"""Which personal data is looked for: one `Pattern` a kind, each a cheap prefilter, a candidate and a confirmation.

The prefilter is a Hyperscan expression over the UTF-8 bytes and must match every text that holds a finding (a
superset); the candidate is a `regex` over the text; the confirmation checks checksum, registry or context. Secrets are
in `pii_secrets`, numbers of persons in `pii_ids` and `pii_documents`, of devices and wallets in `pii_devices`.

To add a kind: a confirmation, a line in `PATTERNS`, and a new `Pii.VERSION`.
"""

from __future__ import annotations

import hashlib

import regex

from tasks.curation import pii_devices, pii_documents, pii_ids, pii_licences, pii_phone_patterns, pii_secrets
from tasks.curation.pii_base import Pattern
from tasks.curation.pii_network import (
    confirm_credentials,
    confirm_email,
    confirm_ip,
    confirm_obfuscated_email,
    confirm_spaced_email,
)
from tasks.curation.pii_numbers import confirm_card, confirm_iban

# Letters of the alphabets that put blanks between words: a Chinese text may run into an address without one.
_W = r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Nd}\p{M}]"
_LOCAL = rf"(?:{_W}|[_+%\-'.!#$&*/=?^`{{|}}~])"
_LABEL = rf"{_W}(?:(?:{_W}|-)*{_W})?"
_DOMAIN = rf"(?:{_LABEL}\.)+(?:[\p{{Latin}}\p{{Greek}}\p{{Cyrillic}}]{{2,}}|(?i:xn--[a-z0-9-]+))"

# Spelled-out addresses. "at" needs brackets, or a spelled-out dot behind it; "look at example.com" is no address.
_AT = r"[ \t]*(?:\[[ \t]*(?i:at)[ \t]*\]|\([ \t]*(?i:at)[ \t]*\)|\{[ \t]*(?i:at)[ \t]*\}|<[ \t]*(?i:at)[ \t]*>)[ \t]*"
_AT_PLAIN = r"[ \t]+(?i:at)[ \t]+"
_DOT = (
    r"[ \t]*(?:\[[ \t]*(?i:dot)[ \t]*\]|\([ \t]*(?i:dot)[ \t]*\)|\{[ \t]*(?i:dot)[ \t]*\}|<[ \t]*(?i:dot)[ \t]*>)[ \t]*"
)
_DOT_PLAIN = r"[ \t]+(?i:dot)[ \t]+"
_ANY_DOT = rf"(?:\.|{_DOT}|{_DOT_PLAIN})"
_NAME = rf"{_W}(?:{_W}|[_+\-])*"

_PROVIDERS = (
    "gmail|googlemail|yahoo|ymail|hotmail|outlook|live|icloud|aol|gmx|web|proton|protonmail|mail|yandex|qq|163|zoho"
)
_PROVIDER_TLDS = "com|net|org|de|fr|it|es|uk|ru|me|in|jp|ch|at|co[.]uk|co[.]in|co[.]jp|com[.]br"

PATTERNS: tuple[Pattern, ...] = (
    *pii_secrets.SPECIFIC,
    Pattern(
        "credentials_url",
        r"://[^\s/@<>]*:[^\s/@<>]*@",
        regex.compile(
            r"(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]{1,30}://(?P<user>[^\s/:@<>\"'`]*+):(?P<password>[^\s/@<>\"'`]++)@"
            r"(?P<host>[^\s/@<>\"'`?#,;()]+)"
        ),
        confirm_credentials,
    ),
    *pii_devices.PATTERNS,
    *pii_ids.PATTERNS,
    *pii_documents.PATTERNS,
    *pii_licences.PATTERNS,
    Pattern(
        "iban",
        r"[A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{3}",
        regex.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \-]?[A-Za-z0-9]){11,30}+"),
        confirm_iban,
        reach=(24, 64),
    ),
    Pattern(
        "card",
        r"[0-9]{4}[ .-]?[0-9]{4,6}[ .-]?[0-9]{4}|[0-9]{6}[ .-][0-9]{10}",
        regex.compile(
            r"(?<![\w.+/\-])(?:\d{12,19}"
            r"|\d{4}(?P<sep>[ .\-])(?:\d{4}(?P=sep)\d{4}(?:(?P=sep)\d{4}(?:(?P=sep)\d{3})?|(?P=sep)\d)?"
            r"|\d{6}(?P=sep)\d{4,5})|\d{6}[ \-]\d{10,13})(?![\w%])(?![.,\-]\d)"
        ),
        confirm_card,
        reach=(30, 40),
    ),
    Pattern(
        "email",
        r"[0-9A-Za-z_%+'.!#$&*/=?^`{|}~\x80-\xff-]@[0-9A-Za-z\x80-\xff]",
        regex.compile(rf"(?<=(?P<local>{_LOCAL}+))@(?P<domain>{_DOMAIN})(?!{_W}|-|_)"),
        confirm_email,
        anchors=(2,),
    ),
    Pattern(
        "email",
        r"(?i)[\[({<]\s?at\s?[\])}>]|\sat\s[^\x00-\x20]{1,200}\sdot\s",
        regex.compile(
            rf"(?<!{_LOCAL})(?P<local>{_NAME}(?:(?:{_ANY_DOT}){_NAME}){{0,3}})"
            rf"(?:{_AT}(?P<domain>{_NAME}(?:{_ANY_DOT}{_NAME}){{1,4}})"
            rf"|{_AT_PLAIN}(?P<domain>{_NAME}(?:(?:{_DOT}|{_DOT_PLAIN}){_NAME}){{1,4}}))"
        ),
        confirm_obfuscated_email,
        reach=(360, 300),
    ),
    Pattern(
        "email",
        rf"(?i)[a-z0-9]\s@\s?(?:{_PROVIDERS})\s?[.]|[a-z0-9]@\s(?:{_PROVIDERS})\s?[.]|[a-z0-9]@(?:{_PROVIDERS})(?:\s[.]|[.]\s)",
        regex.compile(
            rf"(?<!{_LOCAL})(?P<local>{_W}(?:{_W}|[_+\-.])*)[ \t]?@[ \t]?"
            rf"(?P<domain>(?i:{_PROVIDERS})[ \t]?\.[ \t]?(?i:{_PROVIDER_TLDS}))(?!{_W})"
        ),
        confirm_spaced_email,
        reach=(120, 40),
    ),
    Pattern(
        "ip",
        r"[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}",
        regex.compile(r"(?<![\w.\-])\d{1,3}(?:\.\d{1,3}){3}(?![\w~])(?![.\-+]\w)"),
        confirm_ip,
        reach=(20, 20),
    ),
    Pattern(
        "ip",
        r"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]",
        regex.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]*+(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?!\w)(?!:\w)"),
        confirm_ip,
        reach=(50, 60),
    ),
    *pii_phone_patterns.PATTERNS,
    pii_secrets.NAMED,
)


def digest() -> str:
    """Hex SHA-256 of every pattern: a changed expression is a changed scorer."""
    lines = (
        f"{p.type}\0{p.prefilter}\0{p.reach}\0{p.candidate.pattern}\0{p.candidate.flags}\0{p.confirm.__name__}"
        for p in PATTERNS
    )
    return hashlib.sha256("\n".join([*lines, pii_ids.TABLE.read_text("utf-8")]).encode()).hexdigest()
