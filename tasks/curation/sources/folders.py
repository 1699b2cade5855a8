"""A folder of images or of audio clips as a source: a record a file, its label the folder that it lies in."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Any

from tasks.curation.records import Evidence, Raw
from tasks.curation.sources.files import list_files, readable, sha256_stream
from tasks.curation.sources.media import Audio, Images
from tasks.errors import UserError
from tasks.stages import sha256_json

#: Files that are listed as media, whether or not they can be decoded: what cannot is quarantined, not passed over.
SUFFIXES = {
    "image": (
        ".png", ".jpg", ".jpeg", ".jpe", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
        ".avif", ".heic", ".jp2", ".jxl", ".ico", ".tga", ".psd",
    ),
    "audio": (
        ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64",
        ".rf64", ".m4a", ".aac", ".wma", ".g722", ".gsm", ".sln",
    ),
}  # fmt: skip
_LICENCE_FILE = re.compile(r"(?:licen[cs]e|copying|unlicense)(?:\.(?:txt|md|rst))?", re.IGNORECASE)
_LICENCE_BYTES = 1 << 20


class FolderSource:
    """One record for each file with a suffix of its kind; paths in locators and URIs are relative to the folder."""

    def __init__(self, config: Images | Audio) -> None:
        self.name = config.name
        self.read_count = 0
        self.config = config
        self.filesystem, found = list_files(config.path)
        self.files = [(name, path) for name, path in found if name.lower().endswith(SUFFIXES[config.media])]
        if not self.files:
            known = ", ".join(SUFFIXES[config.media])
            raise UserError(f"there is no {config.media} file here", where=config.path, hint=f"looked for: {known}")
        self._licence_files = [(name, path) for name, path in found if _LICENCE_FILE.fullmatch(name)]

    def total_bytes(self) -> int:
        """Bytes as stored."""
        return sum(self._size(path) for _, path in self.files)

    def digest(self) -> str:
        """Hex SHA-256 over every file's relative path and bytes, licence files included, and over the config."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        entries = [[name, self._sha256(path)] for name, path in (*self.files, *self._licence_files)]
        said = {key: value for key, value in asdict(self.config).items() if key not in ("name", "path")}
        return sha256_json(said | {"files": entries})

    def _sha256(self, path: str) -> str:
        with readable(path), self.filesystem.open(path, "rb") as file:
            return sha256_stream(file)

    def _size(self, path: str) -> int:
        with readable(path):
            return int(self.filesystem.size(path) or 0)

    def __iter__(self) -> Iterator[Raw]:
        evidence = self._evidence
        for name, path in self.files:
            self.read_count += 1
            label = posixpath.basename(posixpath.dirname(name))
            raw = Raw(name, name, None, evidence=evidence, label=label, media=self.config.media)
            yield read_payload(raw, self.filesystem, path, self.config.maximum_bytes)

    @cached_property
    def _evidence(self) -> Evidence:
        if self.config.licence:
            return (("expression", self.config.licence),)
        found = []
        for _, path in self._licence_files:
            with readable(path), self.filesystem.open(path, "rb") as file:
                found.append(("file", file.read(_LICENCE_BYTES).decode("utf-8", "replace")))
        return tuple(found)


def read_payload(raw: Raw, filesystem: Any, path: str, maximum: int) -> Raw:
    """`raw` with the bytes of the file at `path`, or with the rule that holds them back; they are hashed either way."""
    digest, pieces, size = hashlib.sha256(), [], 0
    with readable(path), filesystem.open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
            if size <= maximum:
                pieces.append(piece)
            else:
                pieces.clear()
    raw.sha256, raw.size = digest.hexdigest(), size
    if not size:
        raw.rule, raw.detail = "ingest.empty", "no bytes"
    elif size > maximum:
        raw.rule, raw.detail = "ingest.too_large", f"a file of {size} bytes, limit {maximum}"
    raw.payload = b"".join(pieces)
    return raw
