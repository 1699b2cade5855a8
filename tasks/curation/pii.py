"""Personal data and secrets: where they stand in a text, of which type.

Hyperscan looks once over the UTF-8 bytes for anything that could be a finding (a superset); only the texts it names are
read with the exact patterns of `pii_patterns`, confirmed by checksum, registry and context. What is found is replaced
and the rest is scanned again until nothing is left, so that redacting leaves nothing that a second scan finds.

Spans are code points of the text as read, also where the value was hidden (full-width digits, zero-width characters,
HTML entities, ``name [at] site [dot] org``). The value itself is nowhere: only HMAC-SHA256 under the corpus key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.curation import pii_views
from tasks.curation.pii_names import Named, Names
from tasks.curation.pii_patterns import PATTERNS, digest
from tasks.curation.pii_prefilter import NORMALISE, Hits, candidates, prefilter
from tasks.curation.pii_redaction import placeholder
from tasks.curation.pii_views import View
from tasks.governance.ledger import SPAN

_TIMEOUT_SECONDS = 10.0  # a pattern on one text, and 10 s more a million characters; a time-out quarantines the row


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
    VERSION = 4
    inputs = ("text",)
    schema = pa.schema([("spans", pa.list_(SPAN))])

    def __init__(self, key: bytes, *, reserved: bool = True, names: Names | None = None) -> None:
        if not key:
            raise ValueError("the corpus key is empty")
        self._key, self._reserved, self._names = key, reserved, names

    def config(self) -> dict[str, Any]:
        """Digest of the patterns, id of the key (never the key), and the choice about reserved addresses."""
        import phonenumbers
        import stdnum

        return {
            "patterns": digest(),
            "phonenumbers": phonenumbers.__version__,
            "stdnum": stdnum.__version__,
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
        hits = prefilter(raw)
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
            hits = prefilter(raw)
        return [
            {"type": f.type, "start": f.start, "end": f.end, "action": "", "value_hmac": self._hmac(f.type, f.value)}
            for f in found
        ]

    def _look(self, text: str, view: View | None, raw: bytes | memoryview, hits: Hits) -> list[_Finding]:
        """What stands in `view` (None: in the text as read), and what stands in it once normalised."""
        seen = view.text if view else text
        found = list(self._match(seen, view, raw, hits))
        if NORMALISE in hits:
            plain = pii_views.normalised(seen, view)
            if plain.text != seen:
                raw = plain.text.encode("utf-8")
                found += self._match(plain.text, plain, raw, prefilter(raw))
        return found

    def _match(self, text: str, view: View | None, raw: bytes | memoryview, hits: Hits) -> Iterator[_Finding]:
        timeout = _TIMEOUT_SECONDS * (1 + len(text) / 1e6)
        for rank in sorted(hits.keys() - {NORMALISE}):
            pattern = PATTERNS[rank]
            for match in candidates(pattern, text, raw, hits[rank], timeout):
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


def _raw_bytes(texts: pa.LargeStringArray) -> Iterator[memoryview | None]:
    """The UTF-8 of each text, not copied; None for a null."""
    _, offsets_buffer, data = texts.buffers()
    offsets = memoryview(offsets_buffer).cast("q")[texts.offset : texts.offset + len(texts) + 1] if len(texts) else []
    view = memoryview(data) if data else memoryview(b"")
    valid = texts.is_valid().to_pylist()
    for row, known in enumerate(valid):
        yield view[offsets[row] : offsets[row + 1]] if known else None
