"""One row about an image or a clip -> one Raw: its bytes or the path of its file, its text, its licence."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tasks.curation.records import Raw
from tasks.curation.sources.files import readable
from tasks.curation.sources.rows import BadValue, RowReader

_FILE = ("file_name", "path", "file")  # the first is `datasets`' own
MEDIA_COLUMNS = {"image": ("media", "image", "img", *_FILE), "audio": ("media", "audio", *_FILE)}
TEXT_COLUMNS = ("text", "caption", "transcript", "transcription", "sentence")
MAXIMUM_TEXT = 1_000_000  # UTF-8 bytes of a caption or transcript
Fetch = Callable[[Raw, str], None]  # puts the bytes of the file at a path into the record


class MediaRows(RowReader):
    """Turns rows into Raws with a payload.

    `columns` renames fields, ``media`` among them. A payload of more than `maximum_bytes` is held back. `fetch` reads
    the file that a row names; without it a path is a bad value. With `captions` the row's text is the record's.
    """

    def __init__(
        self,
        media: str,
        columns: Mapping[Any, str],
        licence: str | None,
        maximum_bytes: int,
        captions: bool,
        fetch: Fetch | None = None,
    ) -> None:
        named = {field: column for field, column in columns.items() if field != "media"}
        super().__init__(named, licence, MAXIMUM_TEXT)
        if "text" not in columns:
            self.columns["text"] = TEXT_COLUMNS
        self.media, self.captions, self.maximum_bytes, self.fetch = media, captions, maximum_bytes, fetch
        self.media_columns = (columns["media"],) if "media" in columns else MEDIA_COLUMNS[media]

    @property
    def needed(self) -> tuple[str, str]:
        """(column, field) that a table must have."""
        return self.media_columns[0], "media"

    def wanted(self, available: list[str]) -> list[str]:
        """The columns out of `available` that rows are made of."""
        known = {*super().wanted(available), *self.media_columns}
        return [name for name in available if name in known]

    def has_text(self, available: list[str]) -> bool:
        """Is there a column that says where the image or clip is?"""
        return any(name in available for name in self.media_columns)

    def raw(self, row: Mapping[str, Any], path: str, number: int, payload: bytes | None = None) -> Raw:
        """The record of `row`, the `number`-th of the file `path`; `payload`: the row as read, for one that is bad."""
        found = Raw(path, f"{path}#{number}", None, media=self.media)
        try:
            reference, data = self._place(row)
            self._describe(found, row, reference or path, number)
            if reference:
                found.uri = self._string(row, "uri") or reference
                found.label = found.label or posixpath.basename(posixpath.dirname(reference))
            if self.captions:
                found.text = self._caption(row)
            if reference:
                assert self.fetch is not None
                self.fetch(found, reference)
            else:
                hold(found, data, self.maximum_bytes)
        except BadValue as bad:
            found.rule, found.detail = bad.rule, bad.detail
            found.payload = payload or b""
        return found

    def _place(self, row: Mapping[str, Any]) -> tuple[str, bytes]:
        """(path, b"") of a file that holds the payload, or ("", the payload)."""
        value = next((row[name] for name in self.media_columns if row.get(name) is not None), None)
        if isinstance(value, Mapping):  # as `datasets` stores images and clips
            value = value["bytes"] if value.get("bytes") is not None else value.get("path")
        if isinstance(value, bytes):
            return "", value
        if value is None:
            raise BadValue("ingest.empty", f"no {self.media}")
        if not isinstance(value, str) or not value:
            raise BadValue("ingest.json", f"the {self.media} is a {type(value).__name__}")
        if self.fetch is None:
            raise BadValue("ingest.json", "a path, and no folder to look in")
        return value, b""

    def _caption(self, row: Mapping[str, Any]) -> str | None:
        text = next((row[name] for name in self.columns["text"] if row.get(name) is not None), None)
        if text is not None and not isinstance(text, str):
            raise BadValue("ingest.json", f"the text is a {type(text).__name__}")
        if text is not None and len(text.encode("utf-8", "surrogatepass")) > self.maximum:
            raise BadValue("ingest.too_large", f"a text of more than {self.maximum} bytes")
        return text


def hold(raw: Raw, data: bytes, maximum: int) -> None:
    """Give the record its payload; one that is empty or too large is held back, and its digest is kept."""
    raw.sha256, raw.size = hashlib.sha256(data).hexdigest(), len(data)
    if not data:
        raw.rule, raw.detail = "ingest.empty", "no bytes"
    elif len(data) > maximum:
        raw.rule, raw.detail = "ingest.too_large", f"{len(data)} bytes, limit {maximum}"
    else:
        raw.payload = data


def fetch_file(raw: Raw, filesystem: Any, path: str, maximum: int) -> None:
    """As `hold`, of a file that need not fit into memory; UserError when it cannot be read."""
    digest, pieces, size = hashlib.sha256(), [], 0
    with readable(path), filesystem.open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
            if size <= maximum:
                pieces.append(piece)
            else:
                pieces.clear()
    if size <= maximum:
        hold(raw, b"".join(pieces), maximum)
        return
    raw.sha256, raw.size = digest.hexdigest(), size
    raw.rule, raw.detail = "ingest.too_large", f"{size} bytes, limit {maximum}"


class References:
    """Reads the files that rows name, below one folder and nowhere else; their paths go into `told`."""

    def __init__(self, filesystem: Any, folder: str, maximum: int, told: set[str] | None = None) -> None:
        self.filesystem, self.folder, self.maximum, self.told = filesystem, folder, maximum, told
        self._local = "file" in _listed(filesystem.protocol)
        self._root = os.path.realpath(folder) if self._local else ""

    def __call__(self, raw: Raw, reference: str) -> None:
        """BadValue for a path that leads out of the folder, is a URL or a command, or where there is no file."""
        plain = posixpath.normpath(reference)
        if re.search(r"[\0|]|^[A-Za-z][\w+.-]*:", reference) or plain.startswith(("/", "../", "..")):
            raise BadValue("ingest.json", "a path that leads out of the folder")
        path = posixpath.join(self.folder, plain)
        self.require_inside(path)
        if not self.filesystem.isfile(path):
            raise BadValue("ingest.empty", "there is no such file")
        if self.told is not None:
            self.told.add(path)
        fetch_file(raw, self.filesystem, path, self.maximum)

    def require_inside(self, path: str) -> None:
        """BadValue for a link that leads out of the folder."""
        if self._local and os.path.commonpath([self._root, os.path.realpath(path)]) != self._root:
            raise BadValue("ingest.json", "a path that leads out of the folder")


def _listed(protocol: Any) -> tuple[str, ...]:
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def of_media(raws: Iterator[Raw], media: str) -> Iterator[Raw]:
    """Broken rows, too, are records of their corpus's kind."""
    for raw in raws:
        raw.media = media
        yield raw
