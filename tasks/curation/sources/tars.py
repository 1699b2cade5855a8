"""WebDataset tars that others made, as a source: a record for each sample, and for each that is refused.

Nothing is unpacked and nothing executed; what members may be called and hold is told by `ssl_models.tars`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Any

from ssl_models.tar_samples import Sample, open_tar, samples
from ssl_models.tars import Limits
from tasks.curation.records import Raw
from tasks.curation.sources.files import list_files, readable, sha256_stream
from tasks.curation.sources.folders import SUFFIXES
from tasks.curation.sources.jsonlines import parse_object
from tasks.curation.sources.media import WebDataset
from tasks.curation.sources.media_rows import MediaRows
from tasks.curation.sources.pieces import split
from tasks.curation.sources.rows import BadValue, storable
from tasks.errors import UserError
from tasks.stages import sha256_json

TARS = (".tar", ".tar.gz", ".tgz")
#: Reasons of `ssl_models.tars` that have a rule of their own; any other is ``ingest.refused``.
_RULES = {"tar.truncated": "ingest.truncated", "tar.member_too_large": "ingest.too_large"}


class TarSource:
    """One record for each sample of the tars, in their order; its locator is its id, else its key.

    The content of a sample that is refused is not read: its digest is that of the tar's digest and of its place there.
    """

    def __init__(self, config: WebDataset) -> None:
        self.name = config.name
        self.read_count = 0
        self.config = config
        self.filesystem, found = list_files(config.path)
        self.files = [(name, path) for name, path in found if name.lower().endswith(TARS)]
        if not self.files:
            raise UserError("there is no tar here", where=config.path, hint=f"looked for: {', '.join(TARS)}")
        self.rows = MediaRows(config.media, config.columns, config.licence, config.maximum_bytes, config.captions)

    def total_bytes(self) -> int:
        """Bytes as stored."""
        with readable(self.config.path):
            return sum(int(self.filesystem.size(path) or 0) for _, path in self.files)

    def digest(self) -> str:
        """Hex SHA-256 over every tar's relative path and bytes, and over what the recipe says of them."""
        said = {key: value for key, value in asdict(self.config).items() if key not in ("name", "path")}
        return sha256_json(said | {"files": [list(pair) for pair in self._digests]})

    @cached_property
    def _digests(self) -> list[tuple[str, str]]:
        found = []
        for name, path in self.files:
            with readable(path), self.filesystem.open(path, "rb") as file:
                found.append((name, sha256_stream(file)))
        return found

    def __iter__(self) -> Iterator[Raw]:
        return split(self._samples(), self)

    def _samples(self) -> Iterator[Raw]:
        limits = Limits(member_bytes=self.config.maximum_bytes)
        for (name, path), (_, digest) in zip(self.files, self._digests, strict=True):
            with readable(path), self.filesystem.open(path, "rb") as file, open_tar(file, limits) as tar:
                for sample in samples(tar, payloads=True):
                    self.read_count += 1
                    yield self._record(sample, name, digest)

    def _record(self, sample: Sample, tar: str, digest: str) -> Raw:
        uri = f"{tar}#{sample.key}"
        if sample.reason:
            place = hashlib.sha256(f"{digest}\0{sample.offset}\0{sample.length}".encode()).hexdigest()
            raw = Raw(uri, storable(uri), None, media=self.config.media, sha256=place, size=sample.length)
            raw.rule, raw.detail = _RULES.get(sample.reason, "ingest.refused"), sample.reason
            return raw
        try:
            row = self._row(sample)
        except BadValue as bad:
            content = b"".join(sample.payloads[name] for name in sorted(sample.payloads))
            raw = Raw(sample.key, uri, None, content, media=self.config.media, rule=bad.rule, detail=bad.detail)
            return raw
        raw = self.rows.raw({"id": sample.key} | row, tar, 0)
        raw.uri = row.get("uri") or uri
        return raw

    def _row(self, sample: Sample) -> dict[str, Any]:
        """The sample as a row: what its ``.json`` says, its text, its label, its payload."""
        row = parse_object(sample.payloads["json"]) if "json" in sample.payloads else {}
        for extension, field in (("txt", "text"), ("cls", "label")):
            if extension in sample.payloads:
                try:
                    row[field] = sample.payloads[extension].decode().strip()
                except UnicodeDecodeError:
                    raise BadValue("ingest.utf8", f"the .{extension} is not UTF-8") from None
        wanted = self.config.columns.get("media")
        kinds = SUFFIXES[self.config.media]
        found = [name for name in sample.payloads if name == wanted or (not wanted and f".{name}".endswith(kinds))]
        if len(found) > 1:
            raise BadValue("ingest.json", f"{len(found)} members are the {self.config.media}")
        return row | {self.rows.media_columns[0]: sample.payloads[found[0]] if found else None}
