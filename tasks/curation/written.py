"""Samples as they are written: texts redacted, media made regular, a block at a time, brought to shards in rounds."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.decide import span_actions
from data_policies.schema import Policy
from tasks.curation.beside import Stream, array_of
from tasks.curation.blocks import FileBlocks
from tasks.curation.collect import MAXIMUM_FILES
from tasks.curation.media import extensions_of
from tasks.curation.pii_redaction import redact
from tasks.curation.records import Engine
from tasks.curation.shards import (
    TEXT,
    Shards,
    members_of,
    sample_schema,
    sample_sha256,
    shard_of,
    tar_bytes,
    write_shards,
)
from tasks.governance.verdicts import ADMITTED
from tasks.memory import release
from tasks.stages import Stage

ROUND_BYTES = 128 << 20  # of shards that are written at once in one process
FACTS = pa.schema(
    [("record_id", pa.string()), ("sample_sha256", pa.string())]
    + [("written_length", pa.int64()), ("written_bytes", pa.int64())]
)
#: Where a sample is; the order tells whose.
PLACED = pa.schema([("shard", pa.dictionary(pa.int32(), pa.string())), ("offset", pa.int64()), ("length", pa.int64())])
_TEXTS = pa.schema([("record_id", pa.string()), ("text", pa.large_string())])


@dataclass(frozen=True)
class Decided:
    """`admitted`: of every record in the order of record_id, is it written (bool, N)? `spans` gives tables with the
    column of that name, a row a record in the same order, as often as it is called."""

    admitted: np.ndarray
    spans: Callable[[], Iterator[pa.Table]]

    @classmethod
    def of(cls, rows: pa.Table | Decided) -> Decided:
        """The same of a table with ``verdict`` and ``spans``."""
        if isinstance(rows, Decided):
            return rows
        return cls(np.asarray(pc.is_in(rows["verdict"], pa.array(ADMITTED))), lambda: iter([rows.select(["spans"])]))

    def admitted_spans(self) -> Iterator[pa.Table]:
        """`spans` of the admitted records alone."""
        start = 0
        for block in self.spans():
            yield block.filter(pa.array(self.admitted[start : start + len(block)]))
            start += len(block)


def written_texts(ingested: Stage, rows: pa.Table | Decided, policy: Policy) -> Iterator[pa.Table]:
    """record_id and text of the admitted records, redacted where the policy says so; sorted, in blocks.

    `rows`: verdict and spans of every record, sorted by record_id.
    """
    actions, decided = span_actions(policy), Decided.of(rows)
    spans = Stream(decided.admitted_spans())
    for block in FileBlocks(Path(ingested.path) / "records.parquet", decided.admitted).blocks(_TEXTS.names):
        here = spans.take(len(block))
        pairs = zip(block["text"].to_pylist(), here["spans"].to_pylist() if here else (), strict=True)
        texts = [redact(text, found, actions) if found else text for text, found in pairs]
        yield pa.table([block["record_id"], pa.array(texts, pa.large_string())], schema=_TEXTS)


def written_samples(
    ingested: Stage, rows: pa.Table | Decided, policy: Policy, media: Stage | None
) -> Iterator[pa.Table]:
    """As `written_texts`; of a corpus of images or clips, ``media`` with their bytes and, where its samples have one,
    the text ("" for none), in blocks of bounded bytes."""
    if media is None:
        yield from written_texts(ingested, rows, policy)
        return
    texts = written_texts(ingested, rows, policy) if "txt" in extensions_of(media) else None
    admitted = Decided.of(rows).admitted
    waiting: list[str | None] = []
    for block in FileBlocks(Path(media.path) / "regular.parquet", admitted).blocks(["record_id", "regular"]):
        columns = {"record_id": block["record_id"], "media": block["regular"]}
        if texts:
            while len(waiting) < len(block):
                waiting += next(texts)["text"].to_pylist()
            here, waiting = waiting[: len(block)], waiting[len(block) :]
            columns["text"] = pa.array([text or "" for text in here], pa.large_string())
        yield pa.table(columns)


def fact_blocks(
    ingested: Stage, rows: pa.Table | Decided, policy: Policy, media: Stage | None = None
) -> Iterator[pa.Table]:
    """FACTS of the admitted records as they are written; sorted, in blocks, at least one.

    `written_length`, by which copies are ranked: code points of a text; pixels of an image and samples of a clip.
    """
    yield FACTS.empty_table()
    extensions = extensions_of(media) if media else TEXT
    sizes = None
    if media:
        path = Path(media.path) / "scores.parquet"
        sizes = Stream(FileBlocks(path, Decided.of(rows).admitted).blocks(["record_id", "media.size"]))
    for block in written_samples(ingested, rows, policy, media):
        digests = [sample_sha256(members_of(sample, extensions)) for sample in block.to_pylist()]
        members = [name for name in ("text", "media") if name in block.column_names]
        written = sum(pc.binary_length(block[name]).to_numpy() for name in members)
        found = sizes.take(len(block)) if sizes else None
        length = found["media.size"] if found else pc.utf8_length(block["text"])
        columns = [block["record_id"], pa.array(digests, pa.string()), length, pa.array(written)]
        yield pa.table(columns, names=FACTS.names).cast(FACTS)


def written_facts(ingested: Stage, rows: pa.Table, policy: Policy, media: Stage | None = None) -> pa.Table:
    """`fact_blocks` of all `rows`, null where nothing is written; without the ids."""
    facts = pa.concat_tables(fact_blocks(ingested, rows, policy, media)).combine_chunks()
    admitted = np.asarray(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    place = pa.array(np.cumsum(admitted) - 1, mask=~admitted)
    return facts.drop_columns(["record_id"]).take(place)


def write_in_rounds(
    kept: pa.Table | Callable[[], Iterator[pa.Table]],
    texts: Iterator[pa.Table],
    folder: Path,
    counts: Mapping[str, int],
    engine: Engine,
    progress: Callable[[int], None] | None = None,
    extensions: Sequence[str] = TEXT,
) -> Shards:
    """`write_shards` of samples that need not fit into memory: those of about ROUND_BYTES of shards at a time.

    `kept`: SAMPLE_SCHEMA without the text, but with written_bytes, sorted by record_id: a table, or a function that
    gives blocks of it, as often as it is called; `texts`: their record_id, and text and media as far as `extensions`
    name such members, in blocks of the same order, others among them. The places are PLACED, one row a sample in the
    order of `kept`. RuntimeError when the texts are others, or when a sample is written with other bytes than its
    ``sample_sha256``, where `kept` has that column.
    """
    given = (lambda: iter([kept])) if isinstance(kept, pa.Table) else kept
    members = [name for name in ("text", "media") if name in sample_schema(extensions).names]
    names, shard, total = _shards_of(given(), counts)
    order = np.argsort(names)
    before = np.empty(len(names), np.int64)  # bytes in the shards before each, by name
    before[order] = np.cumsum(total[order]) - total[order]
    size = max(ROUND_BYTES * engine.block_factor, -(-int(total.sum()) // MAXIMUM_FILES))
    round_of = (before // size)[shard]
    places = (shard, np.zeros(len(shard), np.int64), np.zeros(len(shard), np.int64))
    refs = []
    with contextlib.ExitStack() as stack:
        for number, samples in enumerate(_rounds(stack, Stream(given()), texts, round_of, members)):
            written = write_shards(samples, folder, counts, engine, progress, extensions)
            rows = np.flatnonzero(round_of == number)
            if "sample_sha256" in samples.column_names and not samples["sample_sha256"].equals(
                written.places["sample_sha256"]
            ):
                raise RuntimeError("a sample was written with other bytes than were looked at")
            for column, name in zip(places[1:], ("offset", "length"), strict=True):
                column[rows] = written.places[name].to_numpy()
            refs += written.refs
            del samples, written
            release()
    shards = pa.DictionaryArray.from_arrays(pa.array(places[0]), pa.array(names, pa.string()))
    return Shards(pa.table([shards, *places[1:]], schema=PLACED), sorted(refs, key=lambda ref: ref.name))


def _shards_of(kept: Iterator[pa.Table], counts: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(names, shard, total): the shards, which of them each sample goes to, and about how many bytes each gets."""
    numbers: dict[str, int] = {}
    codes, total = [np.empty(0, np.int32)], np.empty(0, np.int64)
    for block in kept:
        pairs = zip(block["record_id"].to_pylist(), block["split"].to_pylist(), strict=True)
        names = [f"{split}-{shard_of(record_id, counts[split]):06d}" for record_id, split in pairs]
        codes.append(np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32))
        added = np.bincount(codes[-1], tar_bytes(block["written_bytes"]), minlength=len(numbers)).astype(np.int64)
        added[: len(total)] += total
        total = added
    return np.array(list(numbers), dtype=str), np.concatenate(codes), total


def _rounds(
    stack: contextlib.ExitStack, kept: Stream, texts: Iterator[pa.Table], round_of: np.ndarray, members: Sequence[str]
) -> Iterator[pa.Table]:
    """The samples of one round after the other, with their `members` from `texts`; they wait in a file a round."""
    files = [stack.enter_context(_file()) for _ in range(round_of.max(initial=-1) + 1)]
    writers: list[pa.ipc.RecordBatchStreamWriter] = []
    start = 0
    for block in texts:
        samples = kept.until(block["record_id"][-1].as_py()) if len(block) else None
        if samples is None:
            continue
        place = pc.index_in(array_of(samples["record_id"]), array_of(block["record_id"]))
        if place.null_count:
            raise RuntimeError("the texts that came are not those that are kept")
        for name in members:
            samples = samples.append_column(name, block[name].take(place))
        if not writers:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            writers = [pa.ipc.new_stream(file, samples.schema, options=options) for file in files]
        part = round_of[start : start + len(samples)]
        start += len(samples)
        for number in np.unique(part).tolist():
            writers[number].write_table(samples.filter(pa.array(part == number)).combine_chunks())
    if start != len(round_of):
        raise RuntimeError("the texts that came are not those that are kept")
    for file, writer in zip(files, writers, strict=True):
        writer.close()
        file.seek(0)
        yield pa.ipc.open_stream(file).read_all()
        file.truncate(0)


def _file() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="gristmill-shards-")
