"""Folders and tables of images or audio clips as a source: a record a file or a row, with what lies beside it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Any

from tasks.curation.records import Evidence, Raw
from tasks.curation.sources.files import kind, list_files, readable, sha256_stream
from tasks.curation.sources.jsonlines import parse_object, read_json_lines
from tasks.curation.sources.media import Audio, Images, Pairs
from tasks.curation.sources.media_rows import MAXIMUM_TEXT, MediaRows, References, of_media
from tasks.curation.sources.pieces import split
from tasks.curation.sources.rows import BadValue
from tasks.curation.sources.splitting import decompressed
from tasks.curation.sources.tables import read_csv, read_parquet
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
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SIDECARS = (".txt", ".json")
_METADATA = re.compile(r"metadata\.(?:csv|jsonl|parquet)")  # as `datasets` names what tells of a folder's files
_LICENCE_FILE = re.compile(r"(?:licen[cs]e|copying|unlicense)(?:\.(?:txt|md|rst))?", re.IGNORECASE)
_LICENCE_BYTES = 1 << 20


class FolderSource:
    """One record for each row of the tables, and one for each file with a suffix of its kind that no row names.

    Paths in locators and URIs are relative to the folder, so they are the same on every machine.
    """

    def __init__(self, config: Images | Audio | Pairs) -> None:
        self.name = config.name
        self.read_count = 0
        self.config = config
        self.filesystem, found = list_files(config.path)
        suffixes = SUFFIXES[config.media]
        files = {name: path for name, path in found if name.lower().endswith(suffixes)}
        tables = [(name, path) for name, path in found if kind(name)[0] in TABLES]
        self.tables = [item for item in tables if not files or _METADATA.fullmatch(posixpath.basename(item[0]))]
        self.files = files
        if not self.files and not self.tables:
            known = ", ".join((*suffixes, *TABLES))
            raise UserError(f"there is no {config.media} file here", where=config.path, hint=f"looked for: {known}")
        beside = {name: path for name, path in found if config.captions and name.lower().endswith(SIDECARS)}
        self.sidecars = {name: path for name, path in beside.items() if name not in dict(self.tables)}
        self._licence_files = [(name, path) for name, path in found if _LICENCE_FILE.fullmatch(name)]
        name, path = found[0]
        self._folder = path[: len(path) - len(name)].rstrip("/") or "/"

    def total_bytes(self) -> int:
        """Bytes as stored, of the files that the folder holds and of the tables."""
        with readable(self.config.path):
            return sum(int(self.filesystem.size(path) or 0) for _, path in (*self.files.items(), *self.tables))

    def digest(self) -> str:
        """Hex SHA-256 over every file's relative path and bytes (tables, what they name, what lies beside a file,
        licences), and over what the recipe says of them."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        named = {**self.files, **self.sidecars, **dict(self.tables), **dict(self._licence_files)}
        entries = [[name, self._sha256(path)] for name, path in sorted(named.items())]
        said = {key: value for key, value in asdict(self.config).items() if key not in ("name", "path")}
        if not self.files:  # what tables name lies outside of what was listed
            named_by_rows = (raw for table in self.tables for raw in type(self)(self.config)._rows_of(*table))
            entries += sorted([raw.locator, raw.sha256] for raw in named_by_rows)
        return sha256_json(said | {"files": entries})

    def _sha256(self, path: str) -> str:
        with readable(path), self.filesystem.open(path, "rb") as file:
            return sha256_stream(file)

    def __iter__(self) -> Iterator[Raw]:
        return split(self._files_and_rows(), self)

    def _files_and_rows(self) -> Iterator[Raw]:
        told: set[str] = set()
        for table in self.tables:
            for raw in self._rows_of(*table, told):
                raw.evidence = raw.evidence or self._evidence
                yield raw
        reader = self._reader(self._folder)
        for name, path in self.files.items():
            if path in told:
                continue
            self.read_count += 1
            raw = self._alone(name, reader)
            raw.evidence = raw.evidence or self._evidence
            yield raw

    def _alone(self, name: str, reader: MediaRows) -> Raw:
        """The record of a file that no table tells of, with what lies beside it."""
        place = {reader.media_columns[0]: name}
        try:
            return reader.raw(self._beside(name) | place, name, 1)
        except BadValue as bad:
            raw = reader.raw(place, name, 1)
            raw.rule, raw.detail = bad.rule, bad.detail
            return raw

    def _beside(self, name: str) -> dict[str, Any]:
        """What the ``.json`` and the ``.txt`` of the same name say. BadValue when one of them cannot be read."""
        stem = posixpath.splitext(name)[0]
        row: dict[str, Any] = {}
        if path := self.sidecars.get(f"{stem}.json"):
            row = parse_object(self._small(path))
        if path := self.sidecars.get(f"{stem}.txt"):
            try:
                row["text"] = self._small(path).decode()
            except UnicodeDecodeError as error:
                raise BadValue("ingest.utf8", f"byte {error.start} of the text beside it is not UTF-8") from None
        return row

    def _small(self, path: str) -> bytes:
        References(self.filesystem, self._folder, 0).require_inside(path)
        with readable(path), self.filesystem.open(path, "rb") as file:
            data: bytes = file.read(MAXIMUM_TEXT + 1)
        if len(data) > MAXIMUM_TEXT:
            raise BadValue("ingest.too_large", f"more than {MAXIMUM_TEXT} bytes beside it")
        return data.removeprefix(b"\xef\xbb\xbf")

    def _rows_of(self, name: str, path: str, told: set[str] | None = None) -> Iterator[Raw]:
        """The records of a table; paths in it are relative to its folder. What it names goes into `told`."""
        reader = self._reader(posixpath.dirname(path), told)
        with readable(path), self.filesystem.open(path, "rb") as file:
            suffix, compression = kind(name)
            if suffix == ".parquet":
                raws = read_parquet(file, name, reader, self._count)
            elif suffix in (".csv", ".tsv"):
                comma = "," if suffix == ".csv" else "\t"
                raws = read_csv(decompressed(file, compression), name, reader, self._count, comma)
            else:
                raws = read_json_lines(decompressed(file, compression), name, reader, self._count)
            yield from of_media(raws, self.config.media)

    def _reader(self, folder: str, told: set[str] | None = None) -> MediaRows:
        config = self.config
        fetch = References(self.filesystem, folder, config.maximum_bytes, told)
        return MediaRows(config.media, config.columns, config.licence, config.maximum_bytes, config.captions, fetch)

    def _count(self, records: int) -> None:
        self.read_count += records

    @cached_property
    def _evidence(self) -> Evidence:
        found = []
        for _, path in self._licence_files:
            with readable(path), self.filesystem.open(path, "rb") as file:
                found.append(("file", file.read(_LICENCE_BYTES).decode("utf-8", "replace")))
        return tuple(found)
