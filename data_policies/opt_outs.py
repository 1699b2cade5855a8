"""Opt-outs that a publisher states for machines, carried in the record: a licence that allows does not outweigh them.

- ``x_robots_tag``: the HTTP header X-Robots-Tag, or the content of a robots meta tag. ``noai`` (DeviantArt, 2022, since
  honoured by img2dataset) for any agent, ``noindex`` and ``none`` for all agents.
- ``tdm_reservation``: the W3C community group's TDM Reservation Protocol: 1 reserves, 0 does not.
- ``ai_txt``: the text of the site's ai.txt (Spawning): what its Disallow lines take out, if that is all or texts.

A signal that cannot be read is a doubt, and a doubt admits nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

FIELDS = ("x_robots_tag", "tdm_reservation", "ai_txt")
RESERVED, UNREADABLE = "reserved", "unreadable"

#: Directives of the robots specification that have a value behind a colon; any other name before one is an agent's.
_VALUED = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")
_ANY_AGENT = ("", "*")
_FOR_ALL = ("noindex", "none")
_AI = ("noai",)
_TEXT_NAMES = ("/", "/x", "/x.txt", "/x.html", "/x.htm", "/x.md", "/x.pdf", "/a/x.txt", "/a/x.html")


def opt_out(fields: Iterable[tuple[str, str]]) -> str:
    """``reserved: EVIDENCE``, ``unreadable: EVIDENCE`` or "" for a record's (field, value) pairs; other fields are
    passed over. What is reserved goes before what cannot be read."""
    readers: dict[str, Callable[[str], str]] = {
        "x_robots_tag": _robots,
        "tdm_reservation": _reservation,
        "ai_txt": _ai_txt,
    }
    found = sorted({said for field, value in fields if field in readers and (said := readers[field](value))})
    return found[0] if found else ""


def _robots(value: str) -> str:
    """One header, or several joined by commas or line ends: ``[agent:] directive, directive``."""
    agent = ""
    for line in value.splitlines():
        agent = ""
        for part in line.split(","):
            name, colon, rest = part.partition(":")
            if colon and name.strip().lower() not in _VALUED:
                agent, part = name.strip().lower(), rest
            directive = part.strip().lower()
            if directive in _AI or (directive in _FOR_ALL and agent in _ANY_AGENT):
                return f"{RESERVED}: x_robots_tag says {directive}"
    return ""


def _reservation(value: str) -> str:
    said = value.strip().lower()
    if said in ("1", "1.0", "true"):
        return f"{RESERVED}: tdm_reservation is 1"
    return "" if said in ("", "0", "0.0", "false") else f"{UNREADABLE}: tdm_reservation is neither 0 nor 1"


def _ai_txt(value: str) -> str:
    """Does any group of the file take the whole site, or a kind of text, away from anyone?

    The longest pattern that matches decides, an Allow among equals (as in robots.txt, RFC 9309).
    """
    rules: list[tuple[str, bool]] = []
    for line in value.splitlines():
        name, colon, pattern = line.partition("#")[0].partition(":")
        if not colon and line.partition("#")[0].strip():
            return f"{UNREADABLE}: ai_txt has a line without a colon"
        if name.strip().lower() in ("allow", "disallow") and pattern.strip():
            rules.append((pattern.strip(), name.strip().lower() == "allow"))
    for path in _TEXT_NAMES:
        matching = [(len(pattern), allowed) for pattern, allowed in rules if _matches(pattern, path)]
        if matching and not max(matching)[1]:
            pattern = max((pattern for pattern, allowed in rules if not allowed and _matches(pattern, path)), key=len)
            return f"{RESERVED}: ai_txt disallows {re.sub(r'[^!-~]', '?', pattern)[:40]}"
    return ""


def _matches(pattern: str, path: str) -> bool:
    """A path prefix with ``*``, ``$`` ends it; a pattern that begins with ``*`` or a dot is one of endings."""
    end = pattern.endswith("$")
    pattern = pattern.rstrip("$").replace("[", "[[]").replace("?", "[?]")
    if not pattern.startswith("/"):
        return fnmatchcase(path, ("" if pattern.startswith("*") else "*") + pattern)
    return fnmatchcase(path, pattern if end else pattern + "*")
