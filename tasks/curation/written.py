"""Samples as they are written: texts redacted, media made regular, a block at a time, brought to shards in rounds."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_policies.decide import span_actions
from data_policies.schema import Policy
from tasks.curation.blocks import FileBlocks
from tasks.curation.media import extensions_of
from tasks.curation.pii_redaction import redact
from tasks.curation.records import Engine
from tasks.curation.shards import (
    PLACE_SCHEMA,
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
from tasks.stages import Stage

ROUND_BYTES = 256 << 20  # of shards that are written at once
_TEXTS = pa.schema([("record_id", pa.string()), ("text", pa.large_string())])


def written_texts(ingested: Stage, rows: pa.Table, policy: Policy) -> Iterator[pa.Table]:
    """record_id and text of the admitted records, redacted where the policy says so; sorted, in blocks.

    `rows`: record_id, verdict and spans of every record, sorted by record_id.
    """
    actions = span_actions(policy)
    admitted = np.asarray(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    spans = rows["spans"].filter(pa.array(admitted))
    row = 0
    for block in FileBlocks(Path(ingested.path) / "records.parquet", admitted).blocks(_TEXTS.names):
        pairs = zip(block["text"].to_pylist(), spans.slice(row, len(block)).to_pylist(), strict=True)
        texts = [redact(text, found, actions) if found else text for text, found in pairs]
        row += len(block)
        yield pa.table([block["record_id"], pa.array(texts, pa.large_string())], schema=_TEXTS)


def written_samples(ingested: Stage, rows: pa.Table, policy: Policy, media: Stage | None) -> Iterator[pa.Table]:
    """As `written_texts`; of a corpus of images or clips, ``media`` with their bytes and, where its samples have one,
    the text ("" for none), in blocks of bounded bytes."""
    if media is None:
        yield from written_texts(ingested, rows, policy)
        return
    texts = written_texts(ingested, rows, policy) if "txt" in extensions_of(media) else None
    admitted = np.asarray(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    waiting: list[str | None] = []
    for block in FileBlocks(Path(media.path) / "regular.parquet", admitted).blocks(["record_id", "regular"]):
        columns = {"record_id": block["record_id"], "media": block["regular"]}
        if texts:
            while len(waiting) < len(block):
                waiting += next(texts)["text"].to_pylist()
            here, waiting = waiting[: len(block)], waiting[len(block) :]
            columns["text"] = pa.array([text or "" for text in here], pa.large_string())
        yield pa.table(columns)


def written_facts(ingested: Stage, rows: pa.Table, policy: Policy, media: Stage | None = None) -> pa.Table:
    """sample_sha256, written_length and written_bytes of each of `rows`; null where nothing is written.

    `written_length`, by which copies are ranked: code points of a text; pixels of an image and samples of a clip.
    """
    extensions = extensions_of(media) if media else TEXT
    digests: list[str] = []
    lengths, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for block in written_samples(ingested, rows, policy, media):
        digests += [sample_sha256(members_of(sample, extensions)) for sample in block.to_pylist()]
        members = [name for name in ("text", "media") if name in block.column_names]
        sizes.append(sum(pc.binary_length(block[name]).to_numpy() for name in members))
        if media is None:
            lengths.append(pc.utf8_length(block["text"]).to_numpy())
    admitted = np.asarray(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    place = pa.array(np.cumsum(admitted) - 1, mask=~admitted)
    length = pa.array(np.concatenate(lengths), pa.int64())
    if media:
        length = pq.read_table(Path(media.path) / "scores.parquet", columns=["media.size"])["media.size"]
        length = length.filter(pa.array(admitted)).combine_chunks()
    facts = {
        "sample_sha256": pa.array(digests, pa.string()),
        "written_length": length,
        "written_bytes": pa.array(np.concatenate(sizes), pa.int64()),
    }
    return pa.table({name: column.take(place) for name, column in facts.items()})


def write_in_rounds(
    kept: pa.Table,
    texts: Iterator[pa.Table],
    folder: Path,
    counts: Mapping[str, int],
    engine: Engine,
    progress: Callable[[int], None] | None = None,
    extensions: Sequence[str] = TEXT,
) -> Shards:
    """`write_shards` of samples whose texts and media need not fit into memory: those of about ROUND_BYTES of shards at
    a time.

    `kept`: SAMPLE_SCHEMA without the text, but with written_bytes, sorted by record_id; `texts`: their record_id, and
    text and media as far as `extensions` name such members, in blocks of the same order, others among them.
    """
    shard = np.array([f"{split}-{shard_of(name, counts[split]):06d}" for name, split in _names(kept)], dtype=str)
    names, index = np.unique(shard, return_inverse=True)
    total = np.bincount(index, tar_bytes(kept["written_bytes"]), minlength=len(names))
    round_of = ((np.cumsum(total) - total) // ROUND_BYTES).astype(np.int64)[index]
    rounds = int(round_of.max(initial=0)) + 1
    given = pa.schema([field for field in sample_schema(extensions) if field.name in ("record_id", "text", "media")])
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(prefix="gristmill-shards-")) for _ in range(rounds)]
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        writers = [pa.ipc.new_stream(file, given, options=options) for file in files]
        for block in texts:
            place = pc.index_in(block["record_id"], kept["record_id"].combine_chunks()).combine_chunks()
            present = np.asarray(place.is_valid())
            part = round_of[place.drop_null().to_numpy()]
            block = block.select(given.names).filter(pa.array(present))
            for number in np.unique(part).tolist():
                writers[number].write_table(block.filter(pa.array(part == number)).combine_chunks())
        places, refs = [PLACE_SCHEMA.empty_table()], []
        for number, (file, writer) in enumerate(zip(files, writers, strict=True)):
            writer.close()
            file.seek(0)
            samples = kept.filter(pa.array(round_of == number))
            found = pa.ipc.open_stream(file).read_all()
            if not found["record_id"].combine_chunks().equals(samples["record_id"].combine_chunks()):
                raise RuntimeError("the texts that came are not those that are kept")
            for member in given.names[1:]:
                samples = samples.append_column(member, found[member])
            written = write_shards(samples, folder, counts, engine, progress, extensions)
            places.append(written.places)
            refs += written.refs
    return Shards(
        pa.concat_tables(places).sort_by("record_id").combine_chunks(), sorted(refs, key=lambda ref: ref.name)
    )


def _names(kept: pa.Table) -> Iterator[tuple[str, str]]:
    for batch in kept.select(["record_id", "split"]).to_batches(max_chunksize=50_000):
        yield from zip(batch["record_id"].to_pylist(), batch["split"].to_pylist(), strict=True)
