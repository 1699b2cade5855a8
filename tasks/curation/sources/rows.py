"""One row of a file or a data set -> one Raw: which column is what, and what a bad value makes of the row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tasks.curation.records import Evidence, Raw
from tasks.curation.sources import RecordField

#: The columns that are looked for when the recipe maps none.
DEFAULT_COLUMNS: dict[RecordField, tuple[str, ...]] = {
    "id": ("id",),
    "text": ("text",),
    "licence": ("licence", "license"),
    "licence_url": ("licence_url", "license_url"),
    "uri": ("uri",),
    "source": ("source",),
    "label": ("label",),
    "group": ("group",),
    "language": ("language",),
    "x_robots_tag": ("x_robots_tag", "x-robots-tag", "X-Robots-Tag"),
    "tdm_reservation": ("tdm_reservation", "tdm-reservation"),
    "ai_txt": ("ai_txt", "ai.txt"),
}
OPT_OUTS: tuple[RecordField, ...] = ("x_robots_tag", "tdm_reservation", "ai_txt")
LONGEST_NAME = 200  # characters; a longer licence is a whole text
_URL = re.compile(r"https?://\S+")


def storable(value: str) -> str:
    """A string that Arrow and JSON can hold: what UTF-8 cannot encode (an odd file name) is escaped."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


class BadValue(ValueError):
    """A value that its column cannot hold; the message names the column, never the value."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule, self.detail = rule, detail


class RowReader:
    """Turns rows into Raws.

    `columns` renames fields, `licence` (an SPDX expression) stands in where a row has no licence of its own, a text of
    more than `maximum_text_bytes` UTF-8 bytes is held back.
    """

    def __init__(self, columns: Mapping[RecordField, str], licence: str | None, maximum_text_bytes: int) -> None:
        self.columns = {
            field: (columns[field],) if field in columns else DEFAULT_COLUMNS[field] for field in DEFAULT_COLUMNS
        }
        self.licence, self.maximum = licence, maximum_text_bytes

    def wanted(self, available: list[str]) -> list[str]:
        """The columns out of `available` that rows are made of."""
        names = {name for names in self.columns.values() for name in names}
        return [name for name in available if name in names]

    @property
    def needed(self) -> tuple[str, str]:
        """(column, field) that a table must have."""
        return self.columns["text"][0], "text"

    def has_text(self, available: list[str]) -> bool:
        return self.columns["text"][0] in available

    def raw(self, row: Mapping[str, Any], path: str, number: int, payload: bytes | None = None) -> Raw:
        """The record of `row`, the `number`-th of the file `path`.

        `payload`: the row's bytes as read, kept as the content of a row without a usable text; None: its text's bytes.
        """
        text = row.get(self.columns["text"][0])
        found = Raw(path, f"{path}#{number}", None)
        try:
            self._describe(found, row, path, number)
            self._take_text(found, text)
        except BadValue as bad:
            found.rule, found.detail = bad.rule, bad.detail
        if found.text is None:
            own = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""
            found.payload = own if payload is None or found.rule == "ingest.too_large" else payload
        return found

    def _describe(self, found: Raw, row: Mapping[str, Any], path: str, number: int) -> None:
        name = self._string(row, "id")
        found.locator = name or path
        found.uri = self._string(row, "uri") or f"{path}#{name or number}"
        found.source = self._string(row, "source")
        found.label = self._string(row, "label")
        found.group = self._string(row, "group")
        found.language = self._string(row, "language")
        found.evidence = self._evidence(row)

    def _take_text(self, found: Raw, text: Any) -> None:
        if not isinstance(text, str):
            raise BadValue("ingest.empty", "no text" if text is None else f"the text is a {type(text).__name__}")
        if not text.strip():
            raise BadValue("ingest.empty", "no text but white space" if text else "no text")
        size = len(text)
        if size * 4 > self.maximum:  # else it cannot be too large
            size = len(text.encode("utf-8", "surrogatepass"))
        if size > self.maximum:
            raise BadValue("ingest.too_large", f"a text of {size} bytes, limit {self.maximum}")
        found.text = text

    def _value(self, row: Mapping[str, Any], field: RecordField) -> Any:
        return next((row[name] for name in self.columns[field] if row.get(name) is not None), None)

    def _string(self, row: Mapping[str, Any], field: RecordField) -> str:
        return _plain(self._value(row, field), field)

    def _evidence(self, row: Mapping[str, Any]) -> Evidence:
        value = self._value(row, "licence")
        names = [_plain(item, "licence") for item in (value if isinstance(value, list) else [value])]
        urls = [self._string(row, "licence_url")]
        found = [*(_licence(name.strip()) for name in names), *(("url", url.strip()) for url in urls)]
        evidence = tuple(dict.fromkeys(pair for pair in found if pair[1]))
        evidence = evidence or ((("expression", self.licence),) if self.licence else ())
        return (*evidence, *self._opt_outs(row))

    def _opt_outs(self, row: Mapping[str, Any]) -> Evidence:
        found = []
        for field in OPT_OUTS:
            value = self._value(row, field)
            for item in value if isinstance(value, list) else [value]:
                said = str(int(item)) if isinstance(item, bool) else _plain(item, field)
                found.append((field, said.strip()))
        return tuple(dict.fromkeys(pair for pair in found if pair[1]))


def _plain(value: Any, field: str) -> str:
    """A name or number as text; BadValue for anything else."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadValue("ingest.json", f"the {field} is a {type(value).__name__}")
    text = value if isinstance(value, str) else repr(value)
    if "\0" in text:  # record ids are hashes of parts that NUL separates
        raise BadValue("ingest.utf8", f"NUL character in the {field}")
    return text


def _licence(value: str) -> tuple[str, str]:
    if _URL.fullmatch(value):
        return "url", value
    return ("text" if "\n" in value or len(value) > LONGEST_NAME else "name"), value
