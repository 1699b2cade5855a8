"""Sources -> the records table: one row for every record found, each with an id that no other row has."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.curation.collect import Rows, evidence_id, settle
from tasks.curation.sources import SourceConfig, open_source
from tasks.errors import UserError
from tasks.governance.ledger import write_parquet

__all__ = ["evidence_id", "ingest", "require_records", "settle", "source_digests"]

VERSION = 1
_REPORT_EVERY = 500  # records
Progress = Callable[[int], object]  # called with the number of records just read


def source_digests(sources: Sequence[SourceConfig]) -> list[dict[str, Any]]:
    """[{name, kind, digest, bytes}] for the stage key: every source's bytes are read and hashed.

    UserError for a missing or unreadable path, and for two sources of one name.
    """
    _require_distinct_names(sources)
    found = []
    for config in sources:
        source = open_source(config)
        entry = {"name": config.name, "kind": config.kind, "digest": source.digest(), "bytes": source.total_bytes()}
        found.append(entry)
    return found


def require_records(sources: Sequence[SourceConfig]) -> None:
    """UserError for a source without a record; only the first record of each is read."""
    for config in sources:
        if next(iter(open_source(config)), None) is None:
            raise _empty(config)


def _empty(config: SourceConfig) -> UserError:
    where = getattr(config, "path", "the installed distributions")
    return UserError(f"the source '{config.name}' holds no records", where=where, hint="check what it points to")


def ingest(sources: Sequence[SourceConfig], folder: Path, progress: Progress | None = None) -> None:
    """Write records.parquet, evidence.parquet and sources.json into `folder`; of media payloads.parquet, too.

    UserError when a source holds no record (nothing is written then); RuntimeError when a source yields another number
    of records than it found.
    """
    _require_distinct_names(sources)
    summary: list[dict[str, Any]] = []
    with tempfile.TemporaryFile(prefix="gristmill-records-") as spill:
        media = any(config.media for config in sources)
        rows = Rows(spill, media)
        _read(sources, rows, summary, progress)
        rows.write(folder / "records.parquet", folder / "payloads.parquet" if media else None)
    write_parquet(rows.evidence_table(), folder / "evidence.parquet")
    (folder / "sources.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")


def _read(
    sources: Sequence[SourceConfig], rows: Rows, summary: list[dict[str, Any]], progress: Progress | None
) -> None:
    for config in sources:
        source = open_source(config)
        before = len(rows)
        for number, raw in enumerate(source, 1):
            rows.add(raw, config.name)
            if progress and number % _REPORT_EVERY == 0:
                progress(_REPORT_EVERY)
        read = len(rows) - before
        if progress and read % _REPORT_EVERY:
            progress(read % _REPORT_EVERY)
        if read != source.read_count:
            raise RuntimeError(f"{config.name}: {source.read_count} records were found and {read} came out")
        if not read:
            raise _empty(config)
        digest, size = source.digest(), source.total_bytes()
        summary.append({"name": config.name, "kind": config.kind, "digest": digest, "records": read, "bytes": size})


def _require_distinct_names(sources: Sequence[SourceConfig]) -> None:
    names = [config.name for config in sources]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two sources are called '{name}'", where="sources", hint="give each its own `name`")
