"""The items of the evaluation sets that a recipe protects, read by the same sources as the corpus."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.curation.contamination import Items
from tasks.curation.ingest import VERSION as INGEST_VERSION
from tasks.curation.ingest import ingest
from tasks.curation.sources import SourceConfig
from tasks.errors import UserError
from tasks.stages import Stage

VERSION = INGEST_VERSION


def write_items(sets: Sequence[SourceConfig], folder: Path) -> None:
    """One folder a set, as ingestion writes it, and sets.json. UserError for an item that cannot be read, or is empty:
    what is not known cannot be protected."""
    names = []
    for number, config in enumerate(sets):
        here = folder / f"{number:04d}"
        here.mkdir()
        ingest([config], here)
        rules = pq.read_table(here / "records.parquet", columns=["ingest_rule"])["ingest_rule"]
        if lost := pc.sum(pc.not_equal(rules, "")).as_py():
            raise UserError(
                f"{lost} items of the protected set '{config.name}' cannot be read",
                where=getattr(config, "path", config.kind),
                hint="repair them or take them out: what is not known cannot be protected",
            )
        names.append(config.name)
    (folder / "sets.json").write_text(json.dumps(names) + "\n")


def read_items(stage: Stage) -> list[Items]:
    """What `write_items` wrote; an item is named by its URI."""
    folder = Path(stage.path)
    found = []
    for number, name in enumerate(json.loads((folder / "sets.json").read_text())):
        table = pq.read_table(folder / f"{number:04d}" / "records.parquet", columns=["uri", "text"])
        found.append(Items(name, tuple(table["uri"].to_pylist()), tuple(table["text"].to_pylist())))
    return found
