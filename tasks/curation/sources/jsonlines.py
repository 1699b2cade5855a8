"""JSON lines -> records: every line that is not blank is one, whatever it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from tasks.curation.records import Raw
from tasks.curation.sources.rows import BadValue, RowReader
from tasks.curation.sources.splitting import Line, lines

Count = Callable[[int], None]  # told how many records have been found


def read_json_lines(pieces: Iterator[bytes], path: str, rows: RowReader, count: Count) -> Iterator[Raw]:
    """The records of a JSON lines stream; `count(1)` is called for each before it is parsed."""
    for line in lines(pieces, 6 * rows.maximum + (1 << 20)):  # a text may take six bytes of JSON for each of its own
        if line.fault or line.data.strip():
            count(1)
            yield broken_line(line, path) if line.fault else _record(line, path, rows)


def broken_line(line: Line, path: str) -> Raw:
    """The record of a line that is too long, or of what a broken stream left behind."""
    tail = line.fault == "ingest.truncated"
    where = f"{path}#tail" if tail else path
    uri = where if tail else f"{path}#{line.number}"
    return Raw(where, uri, None, rule=line.fault, detail=line.detail, sha256=line.sha256, size=line.size)


def _record(line: Line, path: str, rows: RowReader) -> Raw:
    try:
        return rows.raw(parse_object(line.data), path, line.number, line.data)
    except BadValue as bad:
        return Raw(path, f"{path}#{line.number}", None, line.data, rule=bad.rule, detail=bad.detail)


def parse_object(data: bytes) -> dict[str, Any]:
    """A line's JSON object (RFC 8259); BadValue with the rule and what is wrong, by kind and place."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        try:
            data.decode()
        except UnicodeDecodeError as undecodable:
            raise BadValue("ingest.utf8", f"byte {undecodable.start} of the line is not UTF-8") from None
        if _has_lone_surrogate(data):
            raise BadValue("ingest.utf8", "lone surrogate") from None
        raise BadValue("ingest.json", f"not JSON at column {error.colno}") from None
    if not isinstance(value, dict):
        raise BadValue("ingest.json", f"not an object but a {type(value).__name__}")
    return value


def _has_lone_surrogate(data: bytes) -> bool:
    """Is it JSON but for half a surrogate pair? Python's own parser lets such escapes through."""
    try:
        value = json.loads(data.decode(), parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _refuse(constant: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
