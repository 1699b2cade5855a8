"""Index files of shards: Arrow, read by memory map; built from the tar's headers where there is none, and then kept."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ssl_models.keys import sample_words
from ssl_models.shard_files import ShardFiles
from ssl_models.tar_samples import open_tar, samples
from ssl_models.tars import TAIL

TAR_BYTES = b"tar_bytes"  # in the metadata of an index built here: of another size, the tar is another
_log = logging.getLogger(__name__)


def select(table: pa.Table, extensions: Iterable[str], where: str) -> pa.Table:
    """key, word (null where the index has none), EXT.offset and EXT.length of samples that have all the members."""
    wanted = [f"{extension}.{what}" for extension in extensions for what in ("offset", "length")]
    if not len(table):
        table = pa.table({name: [] for name in ("key", *wanted)})
    if missing := [name for name in ["key", *wanted] if name not in table.column_names]:
        raise ValueError(f"{where}: the index has no column {missing[0]}")
    places = table.select(wanted)
    if any(column.null_count for column in places.columns):
        whole = pc.and_(pc.is_valid(places[0]), True)
        for column in places.columns:
            whole = pc.and_(whole, pc.is_valid(column))
        table, places = table.filter(whole), places.filter(whole)
    word = table["word"] if "word" in table.column_names else pa.nulls(len(table), pa.uint64())
    names = ["key", "word", *wanted]
    columns = [table["key"].cast(pa.large_string()), word, *(column.cast(pa.int64()) for column in places.columns)]
    return pa.Table.from_arrays(columns, names=names)


def open_index(index: Path | str | None, files: ShardFiles, number: int) -> pa.Table:
    """The index of a shard: as it is there, or built once and kept where it belongs (remote: in the cache)."""
    if isinstance(index, str):
        assert files.cache is not None
        return _mapped(files.cache.fetch(index))
    if index is None:
        assert files.cache is not None
        index = files.cache.folder / (Path(files.name(number)).stem + ".idx")
    if index.is_file():
        table = _mapped(index)
        said = (table.schema.metadata or {}).get(TAR_BYTES)
        if said is None or int(said) == files.size(number):
            return table
    tar = files.path(number)
    table = build_index(tar)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    try:
        if files.cache is not None and index.parent == files.cache.folder:
            files.cache.put(index.name, sink.getvalue().to_pybytes())
        else:
            index.parent.mkdir(parents=True, exist_ok=True)
            temporary = index.with_name(f".{index.name}.{os.getpid()}.tmp")
            temporary.write_bytes(sink.getvalue())
            os.replace(temporary, index)
    except OSError as error:  # a folder that is not ours to write to: the next start builds it again
        _log.info("%s: the index is not kept: %s", index, error)
    return table


def _mapped(path: Path) -> pa.Table:
    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: this is no index; delete it, and it is built anew") from error


def build_index(path: Path) -> pa.Table:
    """The index of a WebDataset tar, from its headers: `key`, `offset`, `length` (all the entries of the sample),
    `word`, and `EXT.offset`, `EXT.length` of each member (null where a sample has none), in the order of the tar.

    Samples that are hostile are left out; the schema's metadata counts them by reason. ValueError for a tar that breaks
    or that has an end it should not have: nothing is known of what is missing.
    """
    rows = []
    refused: Counter[str] = Counter()
    with open_tar(path) as tar:
        if not tar.seekable:
            raise ValueError(f"{path}: a compressed tar cannot be read at random; decompress it, or stream it")
        for sample in samples(tar):
            if sample.key == TAIL:
                raise ValueError(f"{path}: the tar breaks at byte {sample.offset:,} ({sample.reason})")
            if sample.reason:
                refused[sample.reason] += 1
            else:
                rows.append(sample)
    if refused:
        _log.warning("%s: %d samples are refused: %s", path, sum(refused.values()), dict(sorted(refused.items())))
    keys = [sample.key for sample in rows]
    columns: dict[str, pa.Array] = {
        "key": pa.array(keys, pa.string()),
        "offset": pa.array([sample.offset for sample in rows], pa.int64()),
        "length": pa.array([sample.length for sample in rows], pa.int64()),
        "word": pa.array(sample_words(keys)),
    }
    for extension in sorted({name for sample in rows for name in sample.members}):
        members = [sample.members.get(extension) for sample in rows]
        columns[f"{extension}.offset"] = pa.array([m and m.start for m in members], pa.int64())
        columns[f"{extension}.length"] = pa.array([m and m.length for m in members], pa.int64())
    facts = {TAR_BYTES: str(path.stat().st_size).encode(), b"refused": json.dumps(refused, sort_keys=True).encode()}
    return pa.table(columns).replace_schema_metadata(facts)


def scan_tar(path: Path, extension: str) -> pa.Table:
    """key, start, length of each sample's member named KEY.`extension`, in the order of the tar."""
    table = build_index(path)
    if f"{extension}.offset" not in table.column_names:
        table = table.slice(0, 0)
    found = select(table, [extension], str(path)).drop_columns(["word"])
    types = pa.schema([("key", pa.string()), ("start", pa.int64()), ("length", pa.int64())])
    return found.rename_columns(types.names).cast(types)
