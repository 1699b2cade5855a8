"""Licence addresses -> readings. Only addresses of the licence stewards count; any other address is unknown."""

from __future__ import annotations

import re
from functools import cache
from urllib.parse import unquote, urlsplit

from data_policies.licence_names import table
from data_policies.licence_rules import creative_commons
from data_policies.readings import Reading, exact, family, from_table
from data_policies.spdx import known_identifiers

LONGEST = 500  # characters
_EXTENSION = re.compile(
    r"(?:-standalone|\.[a-z]{2}(?:-[a-z]{2})?(?=\.html))?(?:\.(?:html?|txt|php|md|json|rdf|en|dbk|tex))*$"
)
_CC = re.compile(
    r"creativecommons\.org/licenses/((?:by|nc|nd|sa)(?:-(?:nc|nd|sa))*)(?:/(\d\.\d))?(?:/([a-z]{2}|igo|scotland))?"
    r"(?:/(?:deed|legalcode)(?:[.-][a-z]{2}(?:[_-][a-z]{2,4})?)?(?:-[a-z]{2})?)?"
)
_CC_PUBLIC = re.compile(
    r"creativecommons\.org/publicdomain/(zero|mark)/1\.0(?:/(?:deed|legalcode)(?:[.-][a-z]{2}(?:[_-][a-z]{2,4})?)?)?"
)
_GNU = re.compile(
    r"(?:gnu|fsf)\.org/(?:licenses|licences|copyleft)/(?:old-licenses/|info/)?(gpl|lgpl|agpl|fdl|lesser|library)(?:-?v?(\d(?:\.\d)?))?"
)
_BY_IDENTIFIER = re.compile(
    r"(?:spdx\.org/licenses|opensource\.org/licenses|choosealicense\.com/licenses|licenses\.nuget\.org)/([a-z0-9.+-]+)"
)


@cache
def _pages() -> dict[str, str]:
    return table("urls.tsv")


def read_url(value: str) -> list[Reading]:
    """A licence's address: Creative Commons (version, port, deed or legalcode, language), GNU, SPDX, and a table."""
    found = value.strip().strip("<>").rstrip(".,;")
    if not found:
        return [Reading("silent", "")]
    if len(found) > LONGEST:
        return [Reading("unknown", "too long an address")]
    try:
        parts = urlsplit(found if "//" in found else f"//{found}")
        host = (parts.hostname or "").lower().removeprefix("www.")
    except ValueError:
        return [Reading("unknown", "not an address")]
    path = re.sub(r"/+", "/", unquote(parts.path).lower()).rstrip("/")
    if host == "opensource.org":
        path = re.sub(r"^/licen[cs]es?/", "/licenses/", path)
    return [_page(host + path, _EXTENSION.sub("", host + path).rstrip("/") if path else host)]


def _page(full: str, page: str) -> Reading:
    """`full`: host and path; `page`: the same without extension and language."""
    if row := _pages().get(page) or _pages().get(full):
        return from_table(row, page)
    if match := _CC.fullmatch(full) or _CC.fullmatch(page):
        parts = match[1].split("-")
        if "by" in parts:
            return creative_commons(parts, match[2] or "", match[3] or "", full)
        return exact(f"CC-{match[1].upper()}-{match[2]}", full) if match[2] else Reading("unknown", full)
    if match := _CC_PUBLIC.fullmatch(full):
        return exact("CC0-1.0" if match[1] == "zero" else "CC-PDM-1.0", full)
    if match := _GNU.fullmatch(page):
        return _gnu(match[1], match[2] or "", page)
    if (match := _BY_IDENTIFIER.fullmatch(full)) and (reading := _identifier(match[1])):
        return reading
    return Reading("unknown", full[:80])


def _gnu(name: str, version: str, page: str) -> Reading:
    kind = {"lesser": "LGPL", "library": "LGPL", "fdl": "GFDL"}.get(name, name.upper())
    if not version:
        return family(f"{kind}-*", page)
    stem = f"{kind}-{version if '.' in version else version + '.0'}"
    return exact(f"{stem}-only", page, [f"{stem}-*"])


def _identifier(slug: str) -> Reading | None:
    for name in (slug, _EXTENSION.sub("", slug)):
        if identifier := known_identifiers().get(name):
            loose = re.fullmatch(r"((?:A|L)?GPL|GFDL)-\d\.\d", name, flags=re.I)
            return exact(identifier, slug, [f"{loose[0].upper()}-*"] if loose else ())
    return None
