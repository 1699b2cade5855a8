"""The READMEs and docstrings of the installed Python distributions: a corpus that needs no download."""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tasks.curation.records import Raw
from tasks.curation.sources import PythonDocs
from tasks.curation.sources.distributions import Distribution, file_evidence, installed
from tasks.curation.sources.docstrings import Docstring, docstrings
from tasks.errors import UserError
from tasks.stages import sha256_json

_Problem = tuple[str, str]  # rule, detail


class PythonDocsSource:
    """One record for each README and docstring, and one for each Python file that cannot be read.

    Locators are ``DIST/README``, ``DIST/PATH::QUALNAME`` and ``DIST/PATH``: they survive a new version and moved lines.
    """

    def __init__(self, config: PythonDocs) -> None:
        self.name = config.name
        self.read_count = 0
        self.distributions = installed(config.distributions, config.exclude)
        if not self.distributions:
            raise UserError(
                "no installed distribution is left", where="python-docs", hint="see `exclude` in the recipe"
            )
        paths = Counter(path for distribution in self.distributions for _, path in distribution.files)
        self._shared = {path for path, count in paths.items() if count > 1}
        self._parsed: dict[Path, list[Docstring] | _Problem] = {}
        self._seen: dict[Path, tuple[str, int]] = {}  # SHA-256 and size of every file read so far

    def total_bytes(self) -> int:
        """Bytes of all Python files and descriptions."""
        sizes = [self._sha256(path)[1] for item in self.distributions for _, path in item.files]
        return sum(sizes) + sum(len(_encoded(item.readme)) for item in self.distributions)

    def digest(self) -> str:
        """Hex SHA-256 over every distribution's name, version, evidence, description and Python files.

        Files that were read as a source are not read again: it is the digest of what the records were made of.
        """
        entries = []
        for item in self.distributions:
            readme = hashlib.sha256(_encoded(item.readme)).hexdigest()
            files = [[relative, self._sha256(path)[0]] for relative, path in item.files]
            evidence = [list(pair) for pair in item.evidence]
            entries.append([item.name, item.version, item.family, evidence, readme, files])
        return sha256_json(entries)

    def _sha256(self, path: Path) -> tuple[str, int]:
        if path not in self._seen:
            self._read(path)
        return self._seen[path]

    def _read(self, path: Path) -> bytes | str:
        """A file's bytes, or the class name of the error that it raised."""
        try:
            source = path.read_bytes()
        except OSError as error:
            self._seen[path] = (type(error).__name__, 0)
            return type(error).__name__
        self._seen[path] = (hashlib.sha256(source).hexdigest(), len(source))
        return source

    def __iter__(self) -> Iterator[Raw]:
        for item in self.distributions:
            yield from self._readme(item)
            for relative, path in item.files:
                yield from self._file(item, relative, path)

    def _readme(self, item: Distribution) -> Iterator[Raw]:
        if not item.readme.strip():
            return
        self.read_count += 1
        where = f"{item.name}/README"
        undecodable = isinstance(item.readme, bytes)
        yield Raw(
            locator=where,
            uri=f"pypi:{item.name}=={item.version}/README",
            text=None if isinstance(item.readme, bytes) else item.readme.strip(),
            payload=item.readme if isinstance(item.readme, bytes) else b"",
            evidence=item.evidence,
            label=item.family,
            group=where,
            rule="ingest.utf8" if undecodable else "",
            detail="metadata that is not UTF-8" if undecodable else "",
        )

    def _file(self, item: Distribution, relative: str, path: Path) -> Iterator[Raw]:
        where = f"{item.name}/{relative}"
        uri = f"pypi:{item.name}=={item.version}/{relative}"
        source = self._read(path)
        if isinstance(source, str):
            self.read_count += 1
            yield Raw(where, uri, None, label=item.family, group=where, rule="error.read", detail=source)
            return
        evidence = file_evidence(relative, source, item.evidence)
        parsed = self._parse(path, source)
        if isinstance(parsed, tuple):
            self.read_count += 1
            rule, detail = parsed
            yield Raw(where, uri, None, source, evidence, label=item.family, group=where, rule=rule, detail=detail)
            return
        for name, text in parsed:
            if not text.strip():
                continue
            self.read_count += 1
            name = name or "<module>"
            text = inspect.cleandoc(text)
            yield Raw(f"{where}::{name}", f"{uri}#{name}", text, evidence=evidence, label=item.family, group=where)

    def _parse(self, path: Path, source: bytes) -> list[Docstring] | _Problem:
        """The docstrings of a file, or why there are none; kept for the few files that two distributions list."""
        if path in self._parsed:
            return self._parsed[path]
        parsed: list[Docstring] | _Problem
        try:
            parsed = docstrings(source)
        except UnicodeDecodeError as error:
            parsed = "ingest.utf8", f"byte {error.start} is not {error.encoding}"
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            parsed = "error.parse", type(error).__name__
        if path in self._shared:
            self._parsed[path] = parsed
        return parsed


def _encoded(readme: str | bytes) -> bytes:
    return readme if isinstance(readme, bytes) else readme.encode("utf-8", "surrogatepass")
