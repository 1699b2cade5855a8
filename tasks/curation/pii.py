"""Personal data and secrets: where they stand in a text, of which type, and the text without them.

Hyperscan looks once over the UTF-8 bytes for anything that could be a finding (a superset); only the texts it names are
read with the exact patterns of `pii_patterns`, confirmed by checksum, registry and context. What is found is replaced
and the rest is scanned again until nothing is left, so that redacting leaves nothing that a second scan finds.

Spans are code points of the text as read, also where the value was hidden (full-width digits, zero-width characters,
HTML entities, ``name [at] site [dot] org``). The value itself is nowhere: only HMAC-SHA256 under the corpus key.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa
import regex

from tasks.curation import pii_views
from tasks.curation.pii_base import Pattern
from tasks.curation.pii_names import Named, Names
from tasks.curation.pii_patterns import PATTERNS, digest
from tasks.curation.pii_views import View
from tasks.governance.ledger import SPAN

_NORMALISE = len(PATTERNS)  # id of the prefilter of `pii_views`
_TIMEOUT_SECONDS = 10.0  # a pattern on one text, and 10 s more a million characters; a time-out quarantines the row
_HEX_32 = regex.compile("[0-9a-f]{32}")
_CONTINUATION = bytes(range(0x80, 0xC0))
_local = threading.local()

Hits = dict[int, list[int]]


class _Finding(NamedTuple):
    rank: int  # in PATTERNS: the smaller wins where findings overlap
    type: str
    start: int
    end: int
    value: str


class Pii:
    """Scorer of personal data: column ``spans``, the list of findings with an empty ``action`` (`decide` fills it).

    `key` is the corpus key (HMAC-SHA256; never stored). `reserved`: report what belongs to nobody, too: example.com and
    its like, no-reply addresses, private and documentation IP ranges (the list: `pii_network`). On by default: such an
    address may be a pseudonym or point into someone's network, and to redact it costs nothing.
    """

    name = "pii"
    VERSION = 2
    inputs = ("text",)
    schema = pa.schema([("spans", pa.list_(SPAN))])

    def __init__(self, key: bytes, *, reserved: bool = True, names: Names | None = None) -> None:
        if not key:
            raise ValueError("the corpus key is empty")
        self._key, self._reserved, self._names = key, reserved, names

    def config(self) -> dict[str, Any]:
        """Digest of the patterns, id of the key (never the key), and the choice about reserved addresses."""
        import phonenumbers

        return {
            "patterns": digest(),
            "phonenumbers": phonenumbers.__version__,
            "key_id": hashlib.sha256(self._key).hexdigest()[:16],
            "reserved": self._reserved,
        } | ({"names": self._names.config()} if self._names else {})

    def score(self, batch: pa.Table) -> pa.Table:
        """Columns ``spans`` for each row of ``text``; a null text has none. TimeoutError: a pattern took too long."""
        texts = batch["text"].combine_chunks().cast(pa.large_string())
        named = self._names.find(texts.to_pylist()) if self._names else [[]] * len(texts)
        spans = [
            [] if raw is None else self._spans(raw, said) for raw, said in zip(_raw_bytes(texts), named, strict=True)
        ]
        return pa.table([pa.array(spans, pa.list_(SPAN))], schema=self.schema)

    def find(self, text: str) -> list[dict[str, Any]]:
        """The findings in one text: type, start, end, action (""), value_hmac; sorted, not overlapping."""
        return self._spans(text.encode("utf-8"), self._names.find([text])[0] if self._names else [])

    def _spans(self, raw: bytes | memoryview, named: Sequence[Named]) -> list[dict[str, Any]]:
        hits = _prefilter(raw)
        if not hits and not named:
            return []
        text = str(raw, "utf-8")
        found = [_Finding(len(PATTERNS), *name) for name in named]  # a pattern that overlaps wins
        view: View | None = None
        while True:
            # First the text as it is, then with what was found replaced, until nothing new is found.
            new = self._look(text, view, raw, hits)
            merged = _resolve(found, new)
            if merged == found and (view or not named):
                break
            found = merged
            view = pii_views.replaced(text, [(f.start, f.end, placeholder(f.type)) for f in found])
            raw = view.text.encode("utf-8")
            hits = _prefilter(raw)
        return [
            {"type": f.type, "start": f.start, "end": f.end, "action": "", "value_hmac": self._hmac(f.type, f.value)}
            for f in found
        ]

    def _look(self, text: str, view: View | None, raw: bytes | memoryview, hits: Hits) -> list[_Finding]:
        """What stands in `view` (None: in the text as read), and what stands in it once normalised."""
        seen = view.text if view else text
        found = list(self._match(seen, view, raw, hits))
        if _NORMALISE in hits:
            plain = pii_views.normalised(seen, view)
            if plain.text != seen:
                raw = plain.text.encode("utf-8")
                found += self._match(plain.text, plain, raw, _prefilter(raw))
        return found

    def _match(self, text: str, view: View | None, raw: bytes | memoryview, hits: Hits) -> Iterator[_Finding]:
        timeout = _TIMEOUT_SECONDS * (1 + len(text) / 1e6)
        for rank in sorted(hits.keys() - {_NORMALISE}):
            pattern = PATTERNS[rank]
            for match in _candidates(pattern, text, raw, hits[rank], timeout):
                if confirmed := pattern.confirm(match, self._reserved):
                    start, end = view.span(confirmed.start, confirmed.end) if view else confirmed[:2]
                    yield _Finding(rank, pattern.type, start, end, confirmed.value)

    def _hmac(self, kind: str, value: str) -> str:
        return hmac.new(self._key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()[:32]


def _resolve(*groups: Sequence[_Finding]) -> list[_Finding]:
    """One finding for each run of overlapping ones: the union's place, the most specific one's type and value.

    The union, so that no digit of the loser stays behind; most specific: the order of `PATTERNS`, then the longest.
    """
    merged: list[_Finding] = []
    for item in sorted((f for group in groups for f in group), key=lambda f: (f.start, -f.end, f.rank, f.value)):
        if merged and item.start < merged[-1].end:
            last = merged.pop()
            best = min(last, item, key=lambda f: (f.rank, f.start - f.end))
            item = best._replace(start=last.start, end=max(last.end, item.end))
        merged.append(item)
    return merged


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


def _prefilter(raw: bytes | memoryview) -> Hits:
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


def _candidates(
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


def _raw_bytes(texts: pa.LargeStringArray) -> Iterator[memoryview | None]:
    """The UTF-8 of each text, not copied; None for a null."""
    _, offsets_buffer, data = texts.buffers()
    offsets = memoryview(offsets_buffer).cast("q")[texts.offset : texts.offset + len(texts) + 1] if len(texts) else []
    view = memoryview(data) if data else memoryview(b"")
    valid = texts.is_valid().to_pylist()
    for row, known in enumerate(valid):
        yield view[offsets[row] : offsets[row + 1]] if known else None


def placeholder(kind: str) -> str:
    """What stands for a redacted value: ``<EMAIL>``, ``<CREDENTIALS_URL>``."""
    return f"<{kind.upper()}>"


def pseudonym(kind: str, value_hmac: str) -> str:
    """What stands for a pseudonymised value: ``<EMAIL_3f9a12bc>``, the first 8 hex of the ledger's keyed hash.

    One value, however it is written, has one pseudonym in every record and version curated with one key. 32 bits: among
    10,000 distinct values of a type two share one with a probability of 1 in 86. ValueError without a hash.
    """
    if not _HEX_32.fullmatch(value_hmac or ""):
        raise ValueError("a span has no keyed hash to make a pseudonym of")
    return f"<{kind.upper()}_{value_hmac[:8]}>"


def redact(text: str, spans: Sequence[Mapping[str, Any]], actions: Mapping[str, str] | None = None) -> str:
    """The text with each span whose action is ``redact`` or ``pseudonymise`` replaced by what stands for it.

    `actions` gives the action by type; None: the spans' own ``action``. ValueError when spans overlap or lie outside,
    or when a span that asks for a pseudonym has no hash.
    """
    parts: list[str] = []
    position = 0
    for span in sorted(spans, key=lambda span: span["start"]):
        if not position <= span["start"] < span["end"] <= len(text):
            raise ValueError(f"the span [{span['start']}, {span['end']}) overlaps another or lies outside the text")
        action = span["action"] if actions is None else actions.get(span["type"], "keep")
        parts.append(text[position : span["start"]])
        if action == "redact":
            parts.append(placeholder(span["type"]))
        elif action == "pseudonymise":
            parts.append(pseudonym(span["type"], span["value_hmac"]))
        elif action in ("", "keep", "drop"):
            parts.append(text[span["start"] : span["end"]])
        else:
            raise ValueError(f"no action is named {action!r}")
        position = span["end"]
    return "".join(parts) + text[position:]


def apply_redactions(
    texts: pa.Array | pa.ChunkedArray, spans: pa.Array | pa.ChunkedArray, actions: Mapping[str, str] | None = None
) -> pa.Array:
    """`redact` over columns, row by row; rows without spans are not touched, null texts stay null. Large strings."""
    import pyarrow.compute as pc

    texts = (texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts).cast(pa.large_string())
    spans = spans.combine_chunks() if isinstance(spans, pa.ChunkedArray) else spans
    if len(texts) != len(spans):
        raise ValueError(f"{len(texts)} texts and {len(spans)} rows of spans")
    concerned = pc.and_(pc.fill_null(pc.greater(pc.list_value_length(spans), 0), False), texts.is_valid())
    if not pc.any(concerned).as_py():
        return texts
    pairs = zip(texts.filter(concerned).to_pylist(), spans.filter(concerned).to_pylist(), strict=True)
    return pc.replace_with_mask(
        texts, concerned, pa.array([redact(t, s, actions) for t, s in pairs], pa.large_string())
    )
