"""Exact and near duplicates among images or clips, in the form that `duplicates.elect` takes.

Two records are equal when both what will be written of them and the texts beside them are; such records form one class.
Near pairs of classes come from the finder of their kind, which must verify each pair on the media themselves.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.curation.blocks import FileBlocks
from tasks.curation.duplicates import PAIR_SCHEMA, Similar
from tasks.curation.signing import CLASS_SCHEMA
from tasks.errors import UserError
from tasks.stages import Stage

VERSION = 1

#: kind -> module:function of (payloads, threshold) -> verified pairs. It is given one record of each class, and yields
#: (record_id, record_id, similarity) of the pairs whose similarity reaches the threshold, each once, in any order.
FINDERS: dict[str, str] = {
    "audio": "tasks.curation.audio_duplicates:find_audio_pairs",
    "image": "tasks.curation.image_duplicates:find_image_pairs",
}
Finder = Callable[["Payloads", float], Iterable[tuple[str, str, float]]]


class Payloads:
    """The regular images or clips of some records, as often as they are asked for: (record_id, bytes), by record_id."""

    def __init__(self, path: Path, wanted: np.ndarray) -> None:
        self._path, self._wanted = path, wanted

    def __len__(self) -> int:
        return int(self._wanted.sum())

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for block in FileBlocks(self._path, self._wanted).blocks(["record_id", "regular"]):
            yield from zip(block["record_id"].to_pylist(), block["regular"].to_pylist(), strict=True)


def finder_version(kind: str) -> int:
    """The VERSION of the module that finds near pairs of this kind; 0 where there is none."""
    found: int = _module(kind).VERSION if kind in FINDERS else 0
    return found


def _module(kind: str) -> Any:
    return importlib.import_module(FINDERS[kind].partition(":")[0])


def find_media_pairs(
    ingested: Stage, media: Stage, kind: str, near: float | None, progress: Callable[[int], None] | None = None
) -> Similar:
    """Classes of equal records, and of one record a class the near pairs with a similarity >= `near` (None: none).

    A record that could not be made regular is in no class. UserError when no finder of this kind is known.
    """
    path = Path(media.path) / "regular.parquet"
    ids, classes = _classes(path, Path(ingested.path) / "records.parquet", progress)
    table = pa.Table.from_arrays([pa.array(ids, pa.string()), pa.array(classes, pa.string())], schema=CLASS_SCHEMA)
    if near is None:
        return Similar(table, PAIR_SCHEMA.empty_table())
    if kind not in FINDERS:
        raise UserError(f"near duplicates among {kind} cannot be found", where="policy: duplicates", hint="remove it")
    find: Finder = getattr(_module(kind), FINDERS[kind].partition(":")[2])
    first: dict[str, int] = {}
    for row, name in enumerate(classes):
        first.setdefault(name, row)
    first.pop("", None)
    wanted = np.zeros(len(ids), bool)
    wanted[list(first.values())] = True
    class_of = {ids[row]: name for name, row in first.items()}
    found = [(*sorted((class_of[a], class_of[b])), round(part, 4)) for a, b, part in find(Payloads(path, wanted), near)]
    columns = list(zip(*sorted(found), strict=True)) or [(), (), ()]
    arrays = [pa.array(column, field.type) for column, field in zip((*columns, columns[2]), PAIR_SCHEMA, strict=True)]
    return Similar(table, pa.Table.from_arrays(arrays, schema=PAIR_SCHEMA))


def _classes(regular: Path, records: Path, progress: Callable[[int], None] | None) -> tuple[list[str], list[str]]:
    """(record ids, their classes: 32 hex digits, "" of what is not regular)."""
    ids: list[str] = []
    classes: list[str] = []
    texts = (text for table in _batches(records, "text") for text in table["text"].to_pylist())
    for block in FileBlocks(regular).blocks(["record_id", "regular"]):
        ids += block["record_id"].to_pylist()
        for data in block["regular"].to_pylist():
            text = next(texts)
            digest = hashlib.sha256(data or b"")
            digest.update(b"\0" + (text or "").encode())
            classes.append("" if data is None else digest.hexdigest()[:32])
        if progress:
            progress(len(block))
    return ids, classes


def _batches(path: Path, column: str) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(columns=[column], use_threads=False)
