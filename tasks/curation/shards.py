"""WebDataset shards and their indexes. A sample's shard is a function of its record_id alone (contract 4).

So removing a document rewrites one shard and leaves the bytes of every other as they were.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import daft
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from tasks.curation.records import Engine
from tasks.engine import require_same_rows, start
from tasks.governance.manifest import ShardRef
from tasks.stages import sha256_file

VERSION = 1

TARGET_BYTES = 8 * 2**20
BLOCK = 512  # of a tar: one block of header a member, its data padded to blocks
MTIME = 315_532_800  # 1980-01-01, the earliest time that zip tools and reproducible builds agree on
OWNER = "gristmill"
_AT_ONCE = 256  # samples as Python objects

#: The JSON member's keys, in this order: all strings, "" when absent.
JSON_KEYS = ("id", "source", "uri", "licence", "licence_declared", "obligations", "language", "label", "group")

SAMPLE_SCHEMA = pa.schema(
    [("record_id", pa.string()), ("split", pa.string()), ("text", pa.large_string())]
    + [(key, pa.string()) for key in JSON_KEYS]
)
TEXT = ("txt",)  # the members of a sample besides its JSON, in a corpus of texts
PLACE_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("split", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("sample_sha256", pa.string()),
    ]
)


def index_schema(extensions: Sequence[str] = TEXT) -> pa.Schema:
    """``index/NAME.idx``, an Arrow IPC file sorted by key: where a sample's tar entries and its members' bytes lie."""
    return pa.schema(
        [("key", pa.string()), ("offset", pa.int64()), ("length", pa.int64()), ("sha256", pa.string())]
        + [(f"{member}.{what}", pa.int64()) for member in (*extensions, "json") for what in ("offset", "length")]
    )


INDEX_SCHEMA = index_schema()


def sample_schema(extensions: Sequence[str] = TEXT) -> pa.Schema:
    """What `write_shards` takes: SAMPLE_SCHEMA, with ``media`` (the encoded image or clip) beside or in place of
    ``text``."""
    media = [pa.field("media", pa.large_binary())] if tuple(extensions) != TEXT else []
    texts = [field for field in SAMPLE_SCHEMA if field.name != "text" or "txt" in extensions]
    return pa.schema([*texts, *media])


def members_of(sample: Mapping[str, Any], extensions: Sequence[str]) -> dict[str, bytes]:
    """The members of a sample besides its JSON, by extension, from its ``text`` and ``media``."""
    return {name: sample["text"].encode() if name == "txt" else sample["media"] for name in sorted(extensions)}


def sample_sha256(members: Mapping[str, bytes]) -> str:
    """Hex SHA-256 of a sample as written: its members besides the JSON, in the order of their extensions."""
    return hashlib.sha256(b"".join(members[extension] for extension in sorted(members))).hexdigest()


_progress: list[Callable[[int], None]] = []  # global: Daft pickles closures. A Ray worker finds none


class Shards(NamedTuple):
    """`places`: where each sample went (PLACE_SCHEMA, by record_id). `refs`: the shards, by name, for the manifest."""

    places: pa.Table
    refs: list[ShardRef]


def shard_of(record_id: str, count: int) -> int:
    """The leading log2(count) bits of SHA-256(record_id), for a power of two up to 2^32; ValueError otherwise."""
    if count < 1 or count & (count - 1) or count > 1 << 32:
        raise ValueError(f"the number of shards must be a power of two up to 2^32, not {count}")
    leading = int.from_bytes(hashlib.sha256(record_id.encode()).digest()[:4], "big")
    return leading >> (33 - count.bit_length())


def shard_count(total_bytes: int, target_bytes: int = TARGET_BYTES) -> int:
    """The least power of two that brings the mean shard to `target_bytes` or less. Set at v1 and inherited."""
    return 1 << max(0, -(-total_bytes // target_bytes) - 1).bit_length()


def estimate_bytes(text: pa.ChunkedArray) -> int:
    """About how many bytes samples with these texts take in a tar: the padded text, two headers, one block of JSON."""
    return int(tar_bytes(pc.binary_length(text)).sum())


def tar_bytes(lengths: pa.ChunkedArray) -> np.ndarray:
    """`estimate_bytes` of each sample by the bytes of its text; null: none."""
    return (np.asarray(lengths.fill_null(0), np.int64) + BLOCK - 1) // BLOCK * BLOCK + 3 * BLOCK


def write_shards(
    samples: pa.Table,
    folder: Path,
    counts: Mapping[str, int],
    engine: Engine = Engine(),
    progress: Callable[[int], None] | None = None,
    extensions: Sequence[str] = TEXT,
) -> Shards:
    """Write ``shards/SPLIT-000000.tar`` and ``index/SPLIT-000000.idx`` below `folder`, one group of rows a shard.

    `samples`: `sample_schema(extensions)` in any order, `text` and `media` as they are to be written, nulls of the JSON
    keys become "" (without a column `id` it is the record_id). `extensions`: the members besides the JSON.
    `counts`: the number of shards of each split, powers of two; a shard without samples is not written. The caller
    gives a temporary folder (on Ray: one that every node sees) and renames it, so nothing half-written is ever seen.
    `progress` is called with the number of samples just written.
    ValueError on a split without a count or a sample without a member; RuntimeError when the engine loses rows or
    hands a shard over in parts.
    """
    if missing := set(samples["split"].unique().to_pylist()) - set(counts):
        raise ValueError(f"no number of shards is given for the split {sorted(map(str, missing))[0]!r}")
    for member in ("text", "media"):
        if member in samples.column_names and samples[member].null_count:
            raise ValueError(f"a sample has no {member}")
    schema = sample_schema(extensions)
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    (folder / "index").mkdir(exist_ok=True)
    start(engine.ray_address)
    if "id" not in samples.column_names:
        samples = samples.append_column("id", samples["record_id"])
    samples = samples.select(schema.names).cast(schema)
    if len(samples) == 0:
        return Shards(PLACE_SCHEMA.empty_table(), [])
    split_of = {}
    names = []
    for record_id, split in zip(samples["record_id"].to_pylist(), samples["split"].to_pylist(), strict=True):
        names.append(f"{split}-{shard_of(record_id, counts[split]):06d}")
        split_of[names[-1]] = split
    struct = pa.struct(list(PLACE_SCHEMA))
    target, members, fields = str(folder), tuple(extensions), schema.names

    @daft.func.batch(return_dtype=daft.DataType.from_arrow_type(struct), use_process=False)
    def write(shard: daft.Series, *columns: daft.Series):
        group = pa.Table.from_arrays([column.to_arrow() for column in columns], names=fields)
        places = write_shard(group, Path(target), shard.to_pylist()[0], members)
        return pa.StructArray.from_arrays([column.combine_chunks() for column in places.columns], fields=list(struct))

    if progress:
        _progress.append(progress)
    try:
        columns = [daft.col(name) for name in fields]
        frame = daft.from_arrow(samples.append_column("shard", pa.array(names)))
        placed = frame.groupby("shard").map_groups(write(daft.col("shard"), *columns).alias("place")).to_arrow()
    finally:
        _progress.clear()
    places = pa.Table.from_struct_array(placed["place"]).cast(PLACE_SCHEMA).sort_by("record_id").combine_chunks()
    require_same_rows(samples, places, "shards")
    refs = [_ref(folder, name, split_of[name], count) for name, count in sorted(Counter(names).items())]
    return Shards(places, refs)


def write_shard(samples: pa.Table, folder: Path, name: str, extensions: Sequence[str] = TEXT) -> pa.Table:
    """Write one shard, whole, and its index; return where its samples are (PLACE_SCHEMA, by record_id).

    `samples`: `sample_schema(extensions)`, at least one row, all of one split. RuntimeError when a member's header
    cannot be plain: the index counts on one block.
    """
    samples = samples.cast(sample_schema(extensions)).sort_by("record_id").combine_chunks()
    rows = []
    position = 0
    temporary = folder / "shards" / f".{name}.{os.getpid()}.tmp"
    header = _header_maker()
    with open(temporary, "wb") as file:
        batches = samples.to_batches(max_chunksize=_AT_ONCE)  # a shard of images need not lie in memory twice
        for sample in (sample for batch in batches for sample in batch.to_pylist()):
            members = members_of(sample, extensions)
            facts = orjson.dumps({key: sample[key] or "" for key in JSON_KEYS})
            start, places = position, {}
            for extension, data in (("json", facts), *members.items()):
                file.write(header(f"{sample['record_id']}.{extension}".encode("ascii"), len(data)))
                file.write(data + bytes(-len(data) % BLOCK))
                places[extension] = (position + BLOCK, len(data))
                position += BLOCK + _padded(len(data))
            inside = [number for extension in (*extensions, "json") for number in places[extension]]
            rows.append((sample["record_id"], start, position - start, sample_sha256(members), *inside))
        end = position + 2 * BLOCK  # two empty blocks, then up to a whole record
        file.write(bytes(end - position + -end % tarfile.RECORDSIZE))
    os.replace(temporary, folder / "shards" / f"{name}.tar")
    schema = index_schema(extensions)
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    index = pa.Table.from_arrays(arrays, schema=schema)
    with pa.ipc.new_file(folder / "index" / f"{name}.idx", schema) as writer:
        writer.write_table(index)
    for report in _progress:
        report(len(rows))
    where = [index["key"], samples["split"], pa.array([name] * len(rows))]
    return pa.Table.from_arrays([*where, index["offset"], index["length"], index["sha256"]], schema=PLACE_SCHEMA)


def _header_maker() -> Callable[[bytes, int], bytes]:
    """(name, size) -> the header that `tarfile` writes for such a member (POSIX.1-1988 ustar), in a tenth of the time.

    All headers of a shard are alike but for three fields: name, size and check sum. RuntimeError where these cannot
    hold them.
    """
    info = tarfile.TarInfo("")
    info.uname = info.gname = OWNER
    info.mode, info.mtime = 0o444, MTIME
    raw = info.tobuf(tarfile.PAX_FORMAT)
    owner, date, rest = raw[100:124], raw[136:148], raw[156:]
    base = sum(owner + date + rest) + 8 * ord(" ")  # the check sum is taken with blanks in its own place

    def header(name: bytes, size: int) -> bytes:
        if not 0 < len(name) < 100 or size >= 8**11:
            raise RuntimeError(f"a tar member with a name of {len(name)} bytes and a content of {size}")
        length = b"%011o\0" % size
        check = b"%06o\0 " % (base + sum(name) + sum(length))
        return name.ljust(100, b"\0") + owner + length + date + check + rest

    return header


def _ref(folder: Path, name: str, split: str, samples: int) -> ShardRef:
    path = folder / "shards" / f"{name}.tar"
    found = len(read_index(folder / "index" / f"{name}.idx"))
    if found != samples:
        raise RuntimeError(f"{name}: {samples} samples were to be written and {found} are there")
    return ShardRef(name=name, split=split, sha256=sha256_file(path), bytes=path.stat().st_size, samples=samples)


def read_index(path: Path) -> pa.Table:
    """The index of a shard, memory-mapped (`index_schema` of its members)."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
