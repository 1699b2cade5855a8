"""The installed Python distributions: their names, licence evidence and files."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from fnmatch import fnmatchcase
from pathlib import Path

from tasks.curation.records import Evidence
from tasks.errors import UserError

OURS = "gristmill"
LONGEST_NAME = 200  # characters; a longer License field is a whole licence text

#: Folders whose files come from somebody else: the licence of the distribution around them says nothing about them.
#: _vendor, vendor, vendored, vendored_templates, third_party, thirdparty_files, 3rdparty, extern, externals, _external.
VENDORED = re.compile(
    r"_*(?:(?:vendor(?:s|ed|ing)?|third[-_]?part(?:y|ies)|3rd[-_]?party)(?:[-_].*)?|extern(?:s|al|als)?|bundled)_*",
    re.IGNORECASE,
)
_LICENCE_FILE = re.compile(r"(?:licen[cs]e|copying|unlicense)", re.IGNORECASE)
_SPDX_HEADER = re.compile(rb"^[ \t]*#.*?\bSPDX-License-Identifier:[ \t]*([^\r\n]{1,200})", re.MULTILINE)
_HEADER_BYTES = 4096


@dataclass(frozen=True)
class Distribution:
    """One installed distribution. `files`: its Python files as (path inside the site folder, path on disk), sorted.

    `readme` is the metadata's description, or bytes where the metadata is not UTF-8.
    """

    name: str
    version: str
    family: str
    evidence: Evidence
    readme: str | bytes
    files: tuple[tuple[str, Path], ...]


def normalise(name: str) -> str:
    """A distribution's name in its one spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(only: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[Distribution]:
    """The distributions on sys.path, sorted by name; of two under one name the one that an import would find.

    Left out: Gristmill itself, editable installs and the working folder's own metadata, which are work in progress.
    UserError when a name or pattern of `only` matches nothing.
    """
    found: dict[str, importlib.metadata.Distribution] = {}
    for entry in dict.fromkeys(sys.path):
        if not entry or os.path.realpath(entry) == os.path.realpath(os.getcwd()):
            continue
        here = [(_name(item), item) for item in importlib.metadata.distributions(path=[entry])]
        for name, item in sorted(here, key=lambda pair: (pair[0], _metadata(pair[1])[0].get("Version") or "")):
            if name and name != OURS and not _is_editable(item):
                found.setdefault(name, item)
    for pattern in only:
        if not any(fnmatchcase(name, normalise(pattern)) for name in found):
            raise UserError(f"no installed distribution matches '{pattern}'", where="distributions", hint="pip list")
    return [_read(name, item) for name, item in sorted(found.items()) if _selected(name, only, exclude)]


def _selected(name: str, only: Sequence[str], exclude: Sequence[str]) -> bool:
    def matches(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(name, normalise(pattern)) for pattern in patterns)

    return (not only or matches(only)) and not matches(exclude)


def _metadata(item: importlib.metadata.Distribution) -> tuple[Message, bytes | None]:
    """The metadata's headers; its bytes too where they are not UTF-8."""
    try:
        return item.metadata, None  # type: ignore[return-value]
    except UnicodeDecodeError as error:
        return Parser().parsestr(error.object.decode("utf-8", "replace")), error.object


def _name(item: importlib.metadata.Distribution) -> str:
    return normalise(_metadata(item)[0].get("Name") or "")


def _is_editable(item: importlib.metadata.Distribution) -> bool:
    try:
        return bool(json.loads(item.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def _read(name: str, item: importlib.metadata.Distribution) -> Distribution:
    metadata, undecodable = _metadata(item)
    listed = {str(path): path for path in item.files or []}
    # A path out of the site folder is a script: the installer writes its own paths into it.
    inside = {key: path for key, path in listed.items() if not path.is_absolute() and ".." not in path.parts}
    files = tuple(
        (key, located)
        for key, path in sorted(inside.items())
        if path.suffix == ".py" and (located := Path(str(item.locate_file(path)))).is_file()
    )
    readme = metadata.get("Description") or metadata.get_payload()
    text = undecodable or ("" if not isinstance(readme, str) or readme.strip() == "UNKNOWN" else readme)
    parts = {path.parts[0] for path in inside.values()}
    evidence = tuple(_evidence(item, metadata, inside))
    return Distribution(name, metadata.get("Version") or "", family(name, parts), evidence, text, files)


def family(name: str, top_level: set[str]) -> str:
    """The family of a distribution: the first word of its name where it installs into a package of that name.

    So mlflow-skinny (mlflow/) is of the family mlflow, and every nvidia-* of nvidia; python-dateutil (dateutil/) and
    pydantic-core (pydantic_core/) stand for themselves.
    """
    first = name.split("-")[0]
    return first if first in {part.lower() for part in top_level} else name


def _evidence(item, metadata: Message, files: dict[str, importlib.metadata.PackagePath]) -> Iterator[tuple[str, str]]:
    """What the metadata says: License-Expression, License, classifiers; licence files where there is no expression."""
    expressed = False
    for field, header in (("expression", "License-Expression"), ("name", "License"), ("classifier", "Classifier")):
        for value in metadata.get_all(header) or []:
            value = str(value).strip()
            if header == "Classifier" and not value.startswith("License ::"):
                continue
            if value and value != "UNKNOWN":  # what old setuptools write for nothing
                is_text = header == "License" and ("\n" in value or len(value) > LONGEST_NAME)
                expressed = expressed or field == "expression"
                yield ("text" if is_text else field), value
    if expressed:
        return
    named = set(metadata.get_all("License-File") or [])
    for key, path in sorted(files.items()):
        in_metadata = path.parts[0].endswith((".dist-info", ".egg-info"))
        if in_metadata and (path.name in named or key.split("/", 2)[-1] in named or _LICENCE_FILE.match(path.name)):
            located = Path(str(item.locate_file(path)))
            if located.is_file():
                yield "file", located.read_bytes().decode("utf-8", "replace").strip()


def vendored_part(path: str) -> str:
    """The first folder of `path` that holds somebody else's files, or ""."""
    return next((part for part in path.split("/")[:-1] if VENDORED.fullmatch(part)), "")


def file_evidence(path: str, source: bytes, distribution: Evidence) -> Evidence:
    """Licence evidence for one file: its distribution's, unless it is vendored, and its own SPDX header."""
    own = dict.fromkeys(
        ("expression", value.decode("utf-8", "replace").strip())
        for value in _SPDX_HEADER.findall(source, 0, _HEADER_BYTES)
    )
    part = vendored_part(path)
    return (("vendored", part), *own) if part else (*distribution, *(item for item in own if item not in distribution))
