"""Open Clip Art as a source of image-text pairs: the PNGs, with title, keywords and licence from the SVGs' RDF."""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tasks.curation.records import Raw
from tasks.curation.sources.files import readable
from tasks.curation.sources.media_rows import MAXIMUM_TEXT, fetch_file
from tasks.curation.sources.pictures import OpenClipart
from tasks.curation.sources.rows import storable
from tasks.errors import UserError
from tasks.stages import sha256_json

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_LARGEST = 16 << 20  # bytes of an SVG that are read for its metadata


class OpenClipartSource:
    """One record a PNG, links included: a link to a picture is a copy of it, and is dropped as one.

    The group is the file that a link leads to, so that copies are never on both sides of a split.
    """

    def __init__(self, config: OpenClipart) -> None:
        import fsspec

        self.name = config.name
        self.config = config
        self.read_count = 0
        self.root = Path(config.path)
        self.pictures = sorted((self.root / "png").rglob("*.png")) if (self.root / "png").is_dir() else []
        if not self.pictures:
            raise UserError("there is no picture here", where=config.path, hint="a folder that holds png/ and svg/")
        self._filesystem: Any = fsspec.filesystem("file")

    def total_bytes(self) -> int:
        """Bytes of the pictures as stored; a link counts as what it leads to."""
        return sum(path.stat().st_size for path in self.pictures if path.exists())

    def digest(self) -> str:
        """Hex SHA-256 over every picture's path and bytes, and the bytes of the SVG beside it."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        raws = type(self)(self.config)
        return sha256_json([[raw.locator, raw.sha256, raw.text, list(map(list, raw.evidence))] for raw in raws])

    def __iter__(self) -> Iterator[Raw]:
        base = os.path.realpath(self.root)
        for path in self.pictures:
            self.read_count += 1
            name = path.relative_to(self.root / "png").as_posix()
            real = os.path.realpath(path)
            raw = Raw(name, storable(f"png/{name}"), None, media="image", label=storable(name.partition("/")[0]))
            raw.group = storable(posixpath.relpath(real, base))
            if os.path.commonpath([base, real]) != base or not path.is_file():
                raw.rule, raw.detail = "ingest.empty", "a link that leads out of the folder, or nowhere"
                yield raw
                continue
            fetch_file(raw, self._filesystem, str(path), self.config.maximum_bytes)
            beside = (self.root / "svg" / name).with_suffix(".svg")
            if os.path.commonpath([base, os.path.realpath(beside)]) == base and beside.is_file():
                with readable(str(beside)), beside.open("rb") as file:
                    told = metadata(file.read(_LARGEST))
                raw.evidence = tuple(("url", value) for value in told.licences)
                raw.text = told.caption or None
            yield raw


class Told:
    """What an SVG's RDF says: a caption of title and keywords, and the licences' URLs, each once."""

    def __init__(self) -> None:
        self.title, self.keywords, self.licences = "", list[str](), list[str]()

    @property
    def caption(self) -> str:
        parts = [part for part in (self.title, ", ".join(self.keywords)) if part]
        return ": ".join(parts)[:MAXIMUM_TEXT]


def metadata(svg: bytes) -> Told:
    """The first work of the RDF of an SVG. One that is no XML says nothing, and so names no licence.

    Expat expands no external entity, and refuses internal ones that grow.
    """
    told = Told()
    path: list[str] = []
    try:
        for event, node in ElementTree.iterparse(io.BytesIO(svg), events=("start", "end")):
            tag = str(node.tag)
            if event == "start":
                path.append(tag)
                continue
            path.pop()
            if tag.endswith("}metadata"):
                break
            inside = [part.rpartition("}")[2] for part in path]
            text = " ".join((node.text or "").split())
            if inside[-1:] == ["Work"] and tag == f"{_DC}title":
                told.title = told.title or text
            elif inside[-3:-1] == ["Work", "subject"] and tag == f"{_RDF}li" and text and text not in told.keywords:
                told.keywords.append(text)
            elif inside[-1:] == ["Work"] and tag.endswith("}license"):
                value = node.get(f"{_RDF}resource", "").strip()
                if value and value not in told.licences:
                    told.licences.append(value)
    except (ElementTree.ParseError, ValueError, LookupError):
        return Told()
    return told
