"""What makes a candidate an e-mail address, an IP address or a URL with credentials. Each function returns the exact
place and a canonical value, or None.

The canonical value is what is hashed, so that one value written in two ways has one hash: e-mail lower-cased, an IP
address in its compressed form.

``reserved`` asks for addresses that belong to nobody, too: the domains of RFC 2606 and 6761 (example.com, .test), of
local networks (.local), addresses such as no-reply@, and private, documentation and link-local IP ranges (RFC 1918,
3849, 4193, 5737). Loopback, unspecified, multicast and broadcast addresses are no one's in either case.
"""

from __future__ import annotations

import ipaddress
from functools import cache
from pathlib import Path

import regex

from tasks.curation.pii_base import Found, before

# ---- e-mail ----------------------------------------------------------------------------------------------------------

_RESERVED_TLDS = frozenset({"test", "example", "invalid", "localhost", "local", "internal", "lan"})
_RESERVED_DOMAINS = frozenset({"example.com", "example.net", "example.org", "example.edu"})
_NOBODY = regex.compile(r"(?:no|do[-_.]?not|donot)[-_.]?reply|mailer-daemon|nobody")
_SERVICE_USERS = frozenset({"git", "hg", "svn", "bzr", "gitea", "gitlab", "gitolite"})
_EDGE = ".'!#$&*/=?^`{|}~%-"


@cache
def _tlds() -> frozenset[str]:
    lines = (Path(__file__).with_name("tlds.txt")).read_text("ascii").split("\n")
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _domain(domain: str) -> tuple[str, bool] | None:
    """The domain in lower-case ASCII (IDNA) and whether it is reserved; None when its top level does not exist."""
    try:
        name = domain.lower() if domain.isascii() else domain.lower().encode("idna").decode()
    except UnicodeError:
        return None
    top = name.rpartition(".")[2]
    reserved = top in _RESERVED_TLDS or ".".join(name.split(".")[-2:]) in _RESERVED_DOMAINS
    if len(name) > 253 or not (reserved or top in _tlds()):
        return None
    return name, reserved


def _address(local: str, domain: str, reserved: bool) -> str | None:
    known = _domain(domain)
    if known is None or not local or len(local) > 64:
        return None
    if not reserved and (known[1] or _NOBODY.fullmatch(local.lower())):
        return None
    return f"{local.lower()}@{known[0]}"


def confirm_email(match: regex.Match, reserved: bool) -> Found | None:
    """A local part, and a domain whose top level exists (IANA).

    Not one: an SSH remote (``git@host:path``), a call or an index behind it (``a@b.name(x)``: matrix product).
    """
    text, end = match.string, match.end()
    if text[end : end + 1] in ("(", "["):
        return None
    raw = match["local"]
    local = raw.lstrip(_EDGE)
    # A separator that cannot stand in a mailbox in practice ends what came before: "user=a@b.de", "x/a@b.de".
    for sign in "/?&|!#`{}*$^~" if "+" in local else "=/?&|!#`{}*$^~":  # bounce+joe=b.de@lists.de is one address
        local = local.rpartition(sign)[2]
    local = local.lstrip(_EDGE)
    start = match.start("local") + len(raw) - len(local)
    if local.lower() in _SERVICE_USERS and (
        text[end : end + 1] in (":", "/") or text[max(0, start - 3) : start] == "://"
    ):
        return None
    if local != local.rstrip(_EDGE) or text[max(0, start - 1) : start] == "$":  # a shell's variable
        return None
    value = _address(local, match["domain"], reserved)
    return Found(start, end, value) if value else None


def confirm_spaced_email(match: regex.Match, reserved: bool) -> Found | None:
    """``name @ gmail.com``: with blanks around the sign only at a large provider's, since ``A @ B.T`` is algebra."""
    value = _address(match["local"], regex.sub(r"\s", "", match["domain"]), reserved)
    return Found(match.start(), match.end(), value) if value else None


_SPELLED_DOT = regex.compile(r"[ \t]*[\[({<][ \t]*dot[ \t]*[\])}>][ \t]*|[ \t]+dot[ \t]+", regex.IGNORECASE)


def confirm_obfuscated_email(match: regex.Match, reserved: bool) -> Found | None:
    """``name [at] site [dot] org``, ``name (at) site.org``, ``name at site dot org``; the value is the address."""
    local = _SPELLED_DOT.sub(".", match["local"])
    domain = match["domain"]
    # The last words may belong to the sentence: "joe at site dot org dot That ..."
    while domain:
        value = _address(local, _SPELLED_DOT.sub(".", domain), reserved)
        if value:
            return Found(match.start(), match.start("domain") + len(domain), value)
        shorter = max(
            (cut.start() for cut in regex.finditer(rf"\.|{_SPELLED_DOT.pattern}", domain, regex.I)), default=0
        )
        domain = domain[:shorter]
        if not regex.search(rf"\.|{_SPELLED_DOT.pattern}", domain, regex.I):
            return None
    return None


# ---- network ---------------------------------------------------------------------------------------------------------

_VERSION_BEFORE = regex.compile(
    r"(?:(?:version|release|revision|build|firmware|section|chapter|clause|figure|table|paragraph|appendix|§)s?[\s:=.\"'(v#]*"
    r"|(?<![a-z])(?:ver|rev|oid|step|tag|sec|v)s?[ \t:=.\"'(v#]*|[=<>~!^]=?[ \t]*(?:\d+:)?|\w/)\Z",
    regex.IGNORECASE,
)
_ASSIGNED = regex.compile(r"[A-Za-z]\s*=\s*$")  # client=81.2.69.142, and not pkg==1.2.3.4
_HOST_BEFORE = regex.compile(
    r"(?:(?<!<)\b(?:ip(?:v[46])?|addr(?:ess)?(?:es)?|hosts?|servers?|clients?|peers?|gateway|dns|ping|ssh|from|connect(?:ed|ion)?"
    r"|resolver?|node|remote|listen)\b[^\n]{0,16}|://|@)$",
    regex.IGNORECASE,
)


def confirm_ip(match: regex.Match, reserved: bool) -> Found | None:
    """An address of a host on the public internet, by `ipaddress`; with ``reserved`` of a private network too.

    Not one: a version (``v1.2.3.4``, ``version 1.2.3.4``, ``==1.2.3.4``, ``Chrome/1.2.3.4``), a section or object
    identifier, a network (last octet 0, IPv6 interface 0). Where the octets are small, as in versions and section
    numbers, a word like host, IP or server, ``://`` or a port must stand beside. IPv6: only global unicast (2000::/3),
    so that C++ names don't count.
    """
    text, end, left = match[0], match.end(), before(match)
    if text.endswith(":") and not text.endswith("::"):
        text, end = text[:-1], end - 1
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 6:
        found = _confirm_ipv6(address, text, left, reserved)
        return Found(match.start(), end, found) if found else None
    octets = address.packed
    host = _HOST_BEFORE.search(left) or regex.match(r":\d{2,5}(?!\d)", match.string, pos=end)
    if (
        octets[3] == 0
        or (_VERSION_BEFORE.search(left) and not left.endswith("://") and not (host and _ASSIGNED.search(left)))
        or (_version_like(octets) and not host)
    ):
        return None
    return Found(match.start(), end, str(address)) if _is_someones(address, reserved) else None


def _version_like(octets: bytes) -> bool:
    return max(octets) < 20 or (octets[0] < 20 and octets[0] != 10 and max(octets[1:3]) < 10)


def _is_someones(address: ipaddress.IPv4Address | ipaddress.IPv6Address, reserved: bool) -> bool:
    if address.is_loopback or address.is_unspecified or address.is_multicast or int(address) == 0xFFFFFFFF:
        return False
    if address.version == 4 and (int(address) >> 24 in (0, 255)):  # "this network" and net masks
        return False
    return address.is_global or reserved


def _confirm_ipv6(address: ipaddress.IPv6Address, text: str, left: str, reserved: bool) -> str | None:
    if address.ipv4_mapped:
        return str(address.ipv4_mapped) if _is_someones(address.ipv4_mapped, reserved) else None
    first = int(address) >> 112
    if reserved and text.count(":") == 7 and "::" not in text and regex.search(r"[a-f].*[a-f]", text, regex.I):
        return str(address) if first < 0xFF00 and len(set(text)) > 6 else None  # eight groups are nothing else
    unicast = 0x2000 <= first <= 0x3FFF or (reserved and (first >> 9 == 0x7E or first >> 6 == 0x3FA))
    groups = [group for group in text.split(":") if group]
    slice_like = len(groups) < 3 and all(group.isdecimal() for group in groups) and not _HOST_BEFORE.search(left)
    if not unicast or slice_like or len(groups[0]) != 4 or int(address) % 2**64 == 0:
        return None
    return str(address) if _is_someones(address, reserved) else None


def confirm_credentials(match: regex.Match, reserved: bool) -> Found | None:
    """``scheme://user:password@host``: to the end of the host. Templates (``{user}``, ``$PASS``, ``***``) are none."""
    user, password = match["user"], match["password"]
    if any(regex.search(r"[{}$\[\]]|^(?:[*.x]{2,}|…)$|%[(s]", part) for part in (user, password)):
        return None
    host = match["host"].rstrip(".:!")
    return Found(match.start(), match.start("host") + len(host), f"{user}:{password}@{host.lower()}")
