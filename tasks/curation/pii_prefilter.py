"""One look of Hyperscan over the bytes of a text: which patterns may match, and where candidates are to be read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache

import regex

from tasks.curation import pii_views
from tasks.curation.pii_base import Pattern
from tasks.curation.pii_patterns import PATTERNS

NORMALISE = len(PATTERNS)  # id of the prefilter of `pii_views`
_CONTINUATION = bytes(range(0x80, 0xC0))
_local = threading.local()

Hits = dict[int, list[int]]


@cache
def _database():
    import hyperscan

    expressions = [pattern.prefilter.encode("latin-1") for pattern in PATTERNS]
    expressions.append(pii_views.PREFILTER.encode("latin-1"))
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    # Bytes, no UTF8 flag (it gives wrong events over invalid bytes). Where the whole text is read one event is enough.
    once = [pattern.reach is None and not pattern.anchors for pattern in PATTERNS] + [True]
    flags = [hyperscan.HS_FLAG_DOTALL | (hyperscan.HS_FLAG_SINGLEMATCH if one else 0) for one in once]
    database.compile(expressions=expressions, ids=list(range(len(expressions))), flags=flags)
    return database


def prefilter(raw: bytes | memoryview) -> Hits:
    """The patterns that the text may match, each with the byte offsets where a match of its prefilter ends."""
    import hyperscan

    hits: Hits = {}
    if not len(raw):
        return hits
    database = _database()
    scratch = getattr(_local, "scratch", None)
    if scratch is None:  # one a thread: a scratch in use elsewhere makes the scan fail
        scratch = _local.scratch = hyperscan.Scratch(database)
    database.scan(raw, match_event_handler=_remember, context=hits, scratch=scratch)
    return hits


def _remember(pattern_id: int, start: int, end: int, flags: int, hits: Hits) -> None:
    hits.setdefault(pattern_id, []).append(end)


def candidates(
    pattern: Pattern, text: str, raw: bytes | memoryview, ends: list[int], timeout: float
) -> Iterator[regex.Match]:
    """The candidates of one pattern, read only near the places where its prefilter matched, if it has a reach."""
    if pattern.anchors:
        for place in sorted({place - back for place in _places(text, raw, ends) for back in pattern.anchors}):
            if place >= 0 and (match := pattern.candidate.match(text, place, timeout=timeout)):
                yield match
    elif pattern.reach is None:
        yield from pattern.candidate.finditer(text, overlapped=True, timeout=timeout)
    else:
        back, ahead = pattern.reach
        windows: list[list[int]] = []  # first and last place where a candidate may start
        for place in _places(text, raw, ends):
            if windows and place - back <= windows[-1][1]:
                windows[-1][1] = place
            else:
                windows.append([max(0, place - back), place])
        for first, last in windows:
            for match in pattern.candidate.finditer(text, first, last + ahead, overlapped=True, timeout=timeout):
                if match.start() > last:
                    break
                yield match


def _places(text: str, raw: bytes | memoryview, ends: list[int]) -> list[int]:
    """Byte offsets as code points, ascending, each once."""
    ends = sorted(set(ends))
    if len(raw) == len(text):
        return ends
    places, byte, place = [], 0, 0
    for end in ends:
        place += _code_points(raw[byte:end])
        byte = end
        places.append(place)
    return places


def _code_points(raw: bytes | memoryview) -> int:
    """Characters that start in these bytes of UTF-8."""
    return len(bytes(raw).translate(None, _CONTINUATION))
