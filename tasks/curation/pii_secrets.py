"""Secrets: tokens whose format nothing else has, private keys, and values behind names such as ``api_key``.

The formats are those that the issuers publish. A named value must look random (letters and digits, Shannon entropy);
placeholders, templates, paths and names of variables are none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections import Counter

import regex

from tasks.curation.pii_base import Found, Pattern

_END = r"(?![A-Za-z0-9_\-])"
_FORMATS = (
    (r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])", "AKIA|ASIA|ABIA|ACCA"),  # Amazon access key id
    (r"gh[pousr]_[A-Za-z0-9]{36,255}", "gh[pousr]_"),  # GitHub tokens
    (r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", "github_pat_"),
    (r"gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_\-]{20,64}", "gl(?:pat|dt|rt|cbt|ptt|soat)-"),  # GitLab tokens
    (r"xox[abceoprs]-(?:[0-9A-Za-z]+-)*[0-9A-Za-z]{10,250}", "xox[abceoprs]-"),  # Slack tokens
    (r"xapp-\d-[A-Z0-9]{8,16}-\d{8,16}-[a-f0-9]{32,64}", "xapp-"),
    (r"https://hooks\.slack\.com/(?:services/T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]{16,})", "hooks[.]slack[.]com"),
    (r"https://discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_\-]{60,80}", "api/webhooks/"),
    (r"AIza[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])", "AIza"),  # Google API key
    (r"GOCSPX-[A-Za-z0-9_\-]{28}" + _END, "GOCSPX-"),  # Google OAuth client secret
    (r"ya29\.[A-Za-z0-9_\-]{30,400}", "ya29[.]"),  # Google OAuth access token
    (r"[rs]k_(?:live|test)_[0-9A-Za-z]{16,255}", "[rs]k_(?:live|test)_"),  # Stripe
    (r"whsec_[A-Za-z0-9+/]{32,64}={0,2}", "whsec_"),
    (r"sk-ant-[A-Za-z0-9_\-]{32,255}", "sk-ant-"),  # Anthropic
    (r"sk-(?:proj-|svcacct-)?[A-Za-z0-9_\-]{16,200}T3BlbkFJ[A-Za-z0-9_\-]{16,200}", "T3BlbkFJ"),  # OpenAI
    (r"hf_[A-Za-z]{34}(?![A-Za-z0-9])", "hf_[A-Za-z]{20}"),  # Hugging Face
    (r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])", "npm_[A-Za-z0-9]{20}"),
    (r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_\-]{50,255}", "pypi-AgEI"),
    (r"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}", "SG[.][A-Za-z0-9_-]{22}"),  # SendGrid
    (r"key-[0-9a-f]{32}(?![A-Za-z0-9])", "key-[0-9a-f]{32}"),  # Mailgun
    (r"SK[0-9a-f]{32}(?![A-Za-z0-9])", "SK[0-9a-f]{32}"),  # Twilio API key
    (r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}(?![A-Za-z0-9])", "shp(?:at|ca|pa|ss)_"),  # Shopify
    (r"sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,43}", "sq0(?:atp|csp)-"),  # Square
    (r"do[opr]_v1_[a-f0-9]{64}", "do[opr]_v1_"),  # DigitalOcean
    (r"dapi[a-f0-9]{32}(?:-\d)?(?![A-Za-z0-9])", "dapi[a-f0-9]{32}"),  # Databricks
    (r"hv[sb]\.[A-Za-z0-9_\-]{24,300}", "hv[sb][.][A-Za-z0-9_-]{24}"),  # HashiCorp Vault
    (r"glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}", "glsa_"),  # Grafana
    (r"lin_api_[A-Za-z0-9]{40}", "lin_api_"),  # Linear
    (r"dckr_pat_[A-Za-z0-9_\-]{24,40}", "dckr_pat_"),  # Docker Hub
    (r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", "AGE-SECRET-KEY-1"),
    (r"\d{8,10}:AA[A-Za-z0-9_\-]{33}" + _END, "[0-9]{8}:AA[A-Za-z0-9_-]{33}"),  # Telegram bot
    (r"AccountKey=[A-Za-z0-9+/]{86}==", "AccountKey="),  # Azure storage
    (r"eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{16,}", "eyJ[A-Za-z0-9_-]{10}"),  # JSON web token
)
# To the end of the block; where it was cut off, as far as its lines are base64 and no prose.
_KEY_BLOCK = (
    r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:[^-]|-(?!----(?:BEGIN|END) )){0,20000}+-----END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"|(?:\s*[A-Za-z0-9+/]{20,}={0,2})*+(?:\s*\n[A-Za-z0-9+/]+={0,2}(?=\s*\n|\s*\Z))?)"
)
_PLACEHOLDER = regex.compile(
    r"(?i)x{4,}|\*{3,}|\.{3}|…|example|sample|dummy|fake|placeholder|change[_-]?me|your[_-]|my[_-]|[<>{}]|^\$|\$(?-i:[({A-Z_])|%\(|%s|1234567|abcdefg"
    r"|redacted|secret[_-]?(?:key|here)|insert|todo|foo|bar(?:$|[^a-z])|test"
)


def _diverse(body: str) -> bool:
    return len(set(body[-16:])) >= 5


def confirm_secret(match: regex.Match, reserved: bool) -> Found | None:
    """A format that nothing else has, and a body that is no placeholder (``hf_xxxxxxxx``)."""
    body = match[0].rstrip()
    if not body.startswith("-----") and not _diverse(body):
        return None
    return Found(match.start(), match.start() + len(body), body)


def entropy_bits(text: str) -> float:
    """Shannon entropy of the characters, in bits a character."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def confirm_named(match: regex.Match, reserved: bool) -> Found | None:
    """``api_key = "9f3c..."``: 16 signs or more of high entropy; a password in quotes: 8 or more of three kinds.

    Not one: words in snake, dotted or kebab case, paths, calls, templates, placeholders, a UUID's or a digest's name.
    """
    value, name = match["value"], match["name"].lower()
    if not match["quote"]:
        value = value.partition("&")[0]  # the next parameter of a URL
    quoted = bool(match["quote"])
    if match["quote"] and match.string[match.end() : match.end() + 1] != match["quote"]:
        return None  # the value goes on with what it may not hold
    end = match.start("value") + len(value)
    if not quoted and match.string[end : end + 1] in ("(", "[", ".", "{", "<"):
        return None
    if _PLACEHOLDER.search(value) or "://" in value:
        return None
    kinds = [regex.search(kind, value) is not None for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]")]
    secret = _is_random(value, kinds) or ("pass" in name or "pwd" in name) and quoted and _is_password(value, kinds)
    return Found(match.start("value"), end, value) if secret and len(value) >= 8 else None


def _is_random(value: str, kinds: list[bool]) -> bool:
    if len(value) < 16 or not kinds[2] or not (kinds[0] or kinds[1]):
        return False
    if regex.fullmatch(r"[0-9a-f\-]+|[0-9A-F\-]+", value):
        return len(value) >= 20 and entropy_bits(value) >= 3.0
    # Words joined by signs, in camel case, with a digit here and there: names, paths, versions.
    if all(map(_is_word, regex.split(r"[_\-./+=:#~!@$%^*?]", value))):
        return False
    switches = len(regex.findall(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])", value))
    return entropy_bits(value) >= 3.5 and switches >= 3


def _is_word(text: str) -> bool:
    parts = regex.findall(r"[A-Z]?[a-z]+|[A-Z]+", text)
    letters = sum(map(len, parts))
    return bool(regex.fullmatch(r"[A-Za-z]*\d{0,4}", text)) and letters >= 2.5 * len(parts)


def _is_password(value: str, kinds: list[bool]) -> bool:
    return len(value) >= 8 and sum(kinds) >= 3 and kinds[2] and not regex.search(r"[\\/()\[\] ]|\d{4}-\d\d", value)


def confirm_authorisation(match: regex.Match, reserved: bool) -> Found | None:
    """``Authorization: Bearer TOKEN`` of high entropy; ``Basic`` whose base64 is ``user:password``."""
    value = match["value"]
    if _PLACEHOLDER.search(value):
        return None
    if match["scheme"].lower() == "basic":
        try:
            plain = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        return Found(match.start("value"), match.end("value"), value) if regex.match(r"[^:\s]+:\S", plain) else None
    kinds = [regex.search(kind, value) is not None for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]")]
    return Found(match.start("value"), match.end("value"), value) if _is_random(value, kinds) else None


def confirm_wallet_key(match: regex.Match, reserved: bool) -> Found | None:
    """A Bitcoin private key: wallet import format, or an extended private key (BIP-32). Both carry a checksum."""
    from stdnum.bitcoin import b58decode

    raw = b58decode(match[0])
    if hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] != raw[-4:]:
        return None
    known = (len(raw) in (37, 38) and raw[0] == 0x80) or (len(raw) == 82 and raw[:4] == b"\x04\x88\xad\xe4")
    return Found(match.start(), match.end(), match[0]) if known else None


_NAMES = (
    r"(?i:api[_\-\s]?key|apikey|api[_\-]?token|secret|token|passw(?:or)?d|passphrase|passwd|pwd|auth[_\-]?key|access[_\-\s]?key"
    r"|account[_\-]?key|client[_\-]?secret|private[_\-]?key|signing[_\-]?key|encryption[_\-]?key|credentials?)"
)

SPECIFIC: tuple[Pattern, ...] = (
    Pattern(
        "secret",
        "|".join(hint for _, hint in _FORMATS) + "|PRIVATE KEY",
        regex.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(body for body, _ in _FORMATS)})|{_KEY_BLOCK}"),
        confirm_secret,
    ),
    Pattern(
        "secret",
        r"\b[5KLx][1-9A-HJ-NP-Za-km-z]{50,}\b",
        regex.compile(
            r"(?<![A-Za-z0-9_])(?:[5KL][1-9A-HJ-NP-Za-km-z]{50,51}|xprv[1-9A-HJ-NP-Za-km-z]{107})(?![A-Za-z0-9_])"
        ),
        confirm_wallet_key,
        reach=(120, 120),
    ),
    Pattern(
        "secret",
        r"(?i)(?:bearer|basic)\s+[a-z0-9+/._~-]{12}",
        regex.compile(
            r"(?<![A-Za-z0-9_])(?P<scheme>(?i:bearer|basic))[ \t]+(?P<value>[A-Za-z0-9+/._~\-]{12,2000}+={0,2})"
            r"(?![A-Za-z0-9+/_~\-])"
        ),
        confirm_authorisation,
    ),
)
NAMED = Pattern(
    "secret",
    r"(?i)(?:key|secret|token|passw?or?d|passwd|passphrase|pwd|credentials?)[\"'`]?\s{0,4}(?::|=|=>|:=)[\s\"'`=>]{0,6}[^\s\"'`]{8}",
    regex.compile(
        rf"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?P<name>{_NAMES})(?:[_\-][A-Za-z0-9]{{1,12}})?[\"'`]?\s{{0,3}}(?::=|=>|:|=)\s{{0,3}}"
        r"(?P<quote>[\"'`]?)(?P<value>[A-Za-z0-9+/=_\-.~!@#$%^&*?:]{8,512}+)"
    ),
    confirm_named,
    reach=(120, 540),
)
