"""The texts as they are written: redacted, a block at a time, and brought to their shards in rounds."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.decide import span_actions
from data_policies.schema import Policy
from tasks.curation.blocks import FileBlocks
from tasks.curation.pii_redaction import redact
from tasks.curation.records import Engine
from tasks.curation.shards import PLACE_SCHEMA, Shards, shard_of, tar_bytes, write_shards
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


def written_facts(ingested: Stage, rows: pa.Table, policy: Policy) -> pa.Table:
    """sample_sha256, written_length (code points), written_bytes of each of `rows`; null where nothing is written."""
    digests: list[str] = []
    lengths, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for block in written_texts(ingested, rows, policy):
        texts = block["text"]
        digests += [hashlib.sha256(text.encode()).hexdigest() for text in texts.to_pylist()]
        lengths.append(pc.utf8_length(texts).to_numpy())
        sizes.append(pc.binary_length(texts).to_numpy())
    admitted = np.asarray(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    place = pa.array(np.cumsum(admitted) - 1, mask=~admitted)
    facts = {
        "sample_sha256": pa.array(digests, pa.string()),
        "written_length": pa.array(np.concatenate(lengths), pa.int64()),
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
) -> Shards:
    """`write_shards` of samples whose texts need not fit into memory: those of about ROUND_BYTES of shards at a time.

    `kept`: SAMPLE_SCHEMA without the text, but with written_bytes, sorted by record_id; `texts`: their record_id and
    text, in blocks of the same order, others among them.
    """
    shard = np.array([f"{split}-{shard_of(name, counts[split]):06d}" for name, split in _names(kept)], dtype=str)
    names, index = np.unique(shard, return_inverse=True)
    total = np.bincount(index, tar_bytes(kept["written_bytes"]), minlength=len(names))
    round_of = ((np.cumsum(total) - total) // ROUND_BYTES).astype(np.int64)[index]
    rounds = int(round_of.max(initial=0)) + 1
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(prefix="gristmill-shards-")) for _ in range(rounds)]
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        writers = [pa.ipc.new_stream(file, _TEXTS, options=options) for file in files]
        for block in texts:
            place = pc.index_in(block["record_id"], kept["record_id"].combine_chunks()).combine_chunks()
            present = np.asarray(place.is_valid())
            part = round_of[place.drop_null().to_numpy()]
            block = block.filter(pa.array(present))
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
            written = write_shards(samples.append_column("text", found["text"]), folder, counts, engine, progress)
            places.append(written.places)
            refs += written.refs
    return Shards(
        pa.concat_tables(places).sort_by("record_id").combine_chunks(), sorted(refs, key=lambda ref: ref.name)
    )


def _names(kept: pa.Table) -> Iterator[tuple[str, str]]:
    for batch in kept.select(["record_id", "split"]).to_batches(max_chunksize=50_000):
        yield from zip(batch["record_id"].to_pylist(), batch["split"].to_pylist(), strict=True)
