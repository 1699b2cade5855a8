"""Files as a source: JSON lines, CSV, Parquet and plain texts, from a path, a folder, a glob or any fsspec URL."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from typing import Any, BinaryIO

from tasks.curation.records import Raw
from tasks.curation.sources import Files
from tasks.curation.sources.jsonlines import Count, read_json_lines
from tasks.curation.sources.rows import RowReader, storable
from tasks.curation.sources.splitting import Broken, Hashed, decompressed
from tasks.curation.sources.tables import read_csv, read_parquet
from tasks.errors import UserError
from tasks.stages import sha256_json

UNDERSTOOD = ".jsonl, .ndjson, .csv, .tsv, .txt, .md, .rst (each also .gz or .zst) and .parquet"
_STREAMED = {".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".md", ".rst"}
_MAGIC = re.compile(r"[*?\[]")


def kind(path: str) -> tuple[str, str]:
    """(suffix, compression) of a file that can be read, such as (".jsonl", ".gz"); ("", "") of one that cannot."""
    stem, last = posixpath.splitext(path.lower())
    if last == ".parquet" or last in _STREAMED:
        return last, ""
    inner = posixpath.splitext(stem)[1]
    return (inner, last) if last in (".gz", ".zst") and inner in _STREAMED else ("", "")


class FilesSource:
    """One record for each row or, of plain texts, for each file; one for what follows a break in a file.

    Paths in locators and URIs are relative to the folder that the recipe names, so they are the same on every machine.
    """

    def __init__(self, config: Files) -> None:
        self.name = config.name
        self.read_count = 0
        self.config = config
        self.rows = RowReader(config.columns, config.licence, config.maximum_text_bytes)
        self.filesystem, self.files = find_files(config.path)

    def total_bytes(self) -> int:
        """Bytes as stored."""
        with readable(self.config.path):
            return sum(int(self.filesystem.size(path) or 0) for _, path in self.files)

    def digest(self) -> str:
        """Hex SHA-256 over every file's relative path and bytes, and over what the recipe says of them."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        entries = [[relative, self._sha256(path)] for relative, path in self.files]
        said = asdict(self.config)
        return sha256_json(
            {key: said[key] for key in ("columns", "licence", "maximum_text_bytes")} | {"files": entries}
        )

    def _sha256(self, path: str) -> str:
        with readable(path), self.filesystem.open(path, "rb") as file:
            return sha256_stream(file)

    def __iter__(self) -> Iterator[Raw]:
        for relative, path in self.files:
            with readable(path), self.filesystem.open(path, "rb") as file:
                yield from self._read(file, relative)

    def _count(self, records: int) -> None:
        self.read_count += records

    def _read(self, file: BinaryIO, relative: str) -> Iterator[Raw]:
        suffix, compression = kind(relative)
        if suffix == ".parquet":
            return read_parquet(file, relative, self.rows, self._count)
        pieces = decompressed(file, compression)
        if suffix in (".jsonl", ".ndjson"):
            return read_json_lines(pieces, relative, self.rows, self._count)
        if suffix in (".csv", ".tsv"):
            return read_csv(pieces, relative, self.rows, self._count, "," if suffix == ".csv" else "\t")
        return read_text(pieces, relative, self.rows, self._count)


def read_text(pieces: Iterator[bytes], path: str, rows: RowReader, count: Count) -> Iterator[Raw]:
    """The one record of a plain text file: its path is its locator and its URI."""
    count(1)
    evidence = (("expression", rows.licence),) if rows.licence else ()
    found = Hashed(rows.maximum)
    raw = Raw(path, path, None, evidence=evidence)
    try:
        for piece in pieces:
            found.add(piece)
    except Broken as broken:  # the beginning of a text is not that text
        raw.locator = raw.uri = f"{path}#tail"
        raw.rule = "ingest.truncated"
        raw.detail = f"{broken.reason}: {found.size} bytes decoded, {broken.rest} compressed bytes unread"
    if not raw.rule and found.overflowed:
        raw.rule, raw.detail = "ingest.too_large", f"a text of {found.size} bytes, limit {rows.maximum}"
    if not raw.rule:
        raw.payload = found.data().removeprefix(b"\xef\xbb\xbf")
        try:
            raw.text = raw.payload.decode()
        except UnicodeDecodeError as error:
            raw.rule, raw.detail = "ingest.utf8", f"byte {error.start} is not UTF-8"
    else:
        raw.sha256, raw.size = found.sha256(), found.size
    yield raw


def find_files(path: str) -> tuple[Any, list[tuple[str, str]]]:
    """(fsspec file system, [(relative path, full path)] sorted) of what `path` names; UserError when that is nothing.

    Hidden files, and in folders and globs those of other kinds, are passed over.
    """
    filesystem, found = list_files(path)
    files = [(relative, name) for relative, name in found if kind(name)[0]]
    if not files:
        alone = len(found) == 1 and found[0][1] == filesystem._strip_protocol(path)
        message = "this kind of file cannot be read" if alone else "there is no file here that can be read"
        raise UserError(message, where=path, hint=f"what can: {UNDERSTOOD}")
    return filesystem, files


def list_files(path: str) -> tuple[Any, list[tuple[str, str]]]:
    """(fsspec file system, [(relative path, full path)] sorted): the file, or all of a folder or glob that are not
    hidden. UserError when there is nothing at `path`."""
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise UserError("this kind of URL cannot be opened", where=path, hint=str(error)) from None
    with readable(path):
        if filesystem.isfile(root):
            return filesystem, [(storable(posixpath.basename(root)), root)]
        if filesystem.isdir(root):
            base, found = root, filesystem.find(root)
        elif _MAGIC.search(root):
            base = posixpath.dirname(root[: _MAGIC.search(root).start()])  # type: ignore[union-attr]
            found = [name for name in filesystem.glob(root) if filesystem.isfile(name)]
            if not found:
                raise UserError(
                    "the glob matches no file", where=path, hint="check the path; it is relative to where you are"
                )
        else:
            raise UserError("there is no such file or folder", where=path, hint="check `path` in the recipe")
    start = base or ("/" if root.startswith("/") else ".")
    named = sorted((storable(posixpath.relpath(name, start)), name) for name in found)
    return filesystem, [(relative, name) for relative, name in named if not _is_hidden(relative)]


def _is_hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.split("/"))


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn the operating system's refusals into a UserError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"cannot be read: {reason}", where=path, hint="check that it exists and may be read") from error


def sha256_stream(file: BinaryIO, size: int = 1 << 20) -> str:
    """Hex SHA-256 of what is left in a file; any object with read() will do."""
    digest = hashlib.sha256()
    read: Callable[[], bytes] = lambda: file.read(size)  # noqa: E731
    for piece in iter(read, b""):
        digest.update(piece)
    return digest.hexdigest()
