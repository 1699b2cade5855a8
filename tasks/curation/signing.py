"""MinHash signatures of texts, a block at a time, on Daft: natively or on Ray. Boilerplate does not count.

A shingle that more than 5 % of any source's texts share (`shingles.frequent`) says nothing about what a text is a copy
of. Texts that hold such shingles are signed without them, so that pages under one banner do not all meet in one bucket
and true copies among them do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import daft
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.curation.blocks import Blocks
from tasks.curation.minhash import HASHES, Signatures, bands_for
from tasks.curation.records import Engine
from tasks.curation.shingles import BOILERPLATE_SAMPLE, SHINGLE_WORDS, contains, frequent, normalise, shingle
from tasks.engine import require_same_rows, start

CLASS_SCHEMA = pa.schema([("record_id", pa.string()), ("class_id", pa.string())])
_NORMAL = pa.struct(
    [("class_id", pa.string()), ("code", pa.uint64()), ("words", pa.int64()), ("normal", pa.large_string())]
)

_progress: list[Callable[[int], None]] = []  # global: Daft pickles closures. A Ray worker finds none


@dataclass(frozen=True)
class Signed:
    """`classes`: CLASS_SCHEMA. For each row: `codes`, the first 64 bits of its class_id; `words`, how many it has.
    `boilerplate`: the hashes, sorted, of the shingles that count for nothing."""

    classes: pa.Table
    codes: np.ndarray
    words: np.ndarray
    signatures: Signatures
    boilerplate: np.ndarray


def sign(texts: Blocks, threshold: float, engine: Engine, progress: Callable[[int], None] | None = None) -> Signed:
    """Class and signature of each text; RuntimeError when the engine loses rows."""
    start(engine.ray_address)
    count = len(texts)
    signatures = Signatures(count, bands_for(threshold))
    codes, lengths = np.zeros(count, np.uint64), np.zeros(count, np.int32)
    classes, sampler, row = [], _Sampler(), 0
    if progress:
        _progress.append(progress)
    try:
        for block in texts.blocks(["record_id", "source", "text"]):
            signed = _sign(block)
            here = slice(row, row + len(block))
            codes[here], lengths[here] = signed["code"].to_numpy(), signed["words"].to_numpy()
            signatures.put(here, _matrix(signed["signature"]))
            classes.append(signed.select(CLASS_SCHEMA.names).cast(CLASS_SCHEMA))
            sampler.take(block, codes[here])
            row += len(block)
    finally:
        _progress.clear()
    boilerplate = sampler.boilerplate()
    if len(boilerplate):
        _sign_without(texts, boilerplate, signatures)
    table = pa.concat_tables([CLASS_SCHEMA.empty_table(), *classes])
    return Signed(table, codes, lengths, signatures, boilerplate)


def _normalise(column: daft.Series) -> pa.Array:
    """_NORMAL for each text: class_id, its first 64 bits, the number of words, the words joined."""
    normal = normalise(column.to_arrow())
    raw, edges = normal.data.data, [0, *normal.ends.tolist()]
    pairs = zip(edges, edges[1:], strict=False)
    digests = [hashlib.sha256(raw[start:end]).digest()[:16] if end > start else b"" for start, end in pairs]
    blanks = np.concatenate([[0], np.cumsum(normal.data == ord(" "))])[edges]
    for report in _progress:
        report(len(digests))
    arrays = [
        pa.array([each.hex() for each in digests], pa.string()),
        pa.array([int.from_bytes(each[:8], "big") for each in digests], pa.uint64()),
        pa.array(np.diff(blanks) + (np.diff(edges) > 0), pa.int64()),
        normal.texts,
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(_NORMAL))


def _minhash(column: daft.Expression) -> daft.Expression:
    from daft.functions import minhash

    return minhash(column, num_hashes=HASHES, ngram_size=SHINGLE_WORDS).alias("signature")


def _sign(block: pa.Table) -> pa.Table:
    """record_id, class_id, code, words, signature; by record_id. The text stays in Daft."""

    @daft.func.batch(return_dtype=daft.DataType.from_arrow_type(_NORMAL), use_process=False, batch_size=1024)
    def normal(column: daft.Series):
        return _normalise(column)

    frame = daft.from_arrow(block.select(["record_id", "text"]))
    frame = frame.select(daft.col("record_id"), normal(daft.col("text")).alias("n"))
    parts = [daft.col("n")[name].alias(name) for name in ("class_id", "code", "words")]
    signed = frame.select(daft.col("record_id"), *parts, _minhash(daft.col("n")["normal"])).to_arrow()
    signed = signed.take(pc.sort_indices(signed["record_id"]))
    require_same_rows(block, signed, "duplicates")
    return signed


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, HASHES)


class _Sampler:
    """The first BOILERPLATE_SAMPLE distinct texts of each source, as the sets of their shingles."""

    def __init__(self) -> None:
        self._seen: dict[str, set[int]] = {}
        self._sets: dict[str, list[np.ndarray]] = {}
        self._found: list[np.ndarray] = []

    def take(self, block: pa.Table, codes: np.ndarray) -> None:
        """Look at a block of rows; `codes` says which of their texts are equal."""
        sources = block["source"].combine_chunks()
        for source in pc.unique(sources).to_pylist():
            seen = self._seen.setdefault(source, set())
            if len(seen) == BOILERPLATE_SAMPLE:
                continue
            rows = np.flatnonzero(pc.equal(sources, source).to_numpy(zero_copy_only=False))
            new = []
            for row, code in zip(rows.tolist(), codes[rows].tolist(), strict=True):
                if code not in seen:
                    seen.add(code)
                    new.append(row)
                    if len(seen) == BOILERPLATE_SAMPLE:
                        break
            texts = block["text"].combine_chunks().take(pa.array(new, pa.int64()))
            hashes, first = shingle(normalise(texts)).distinct()
            sets = [hashes[first[at] : first[at + 1]].copy() for at in range(len(new))]
            self._sets.setdefault(source, []).extend(sets)
            if len(seen) == BOILERPLATE_SAMPLE:
                self._found.append(frequent(self._sets.pop(source)))

    def boilerplate(self) -> np.ndarray:
        """The shingles that are boilerplate in any source, sorted."""
        found = [*self._found, *(frequent(sets) for sets in self._sets.values())]
        return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


def _sign_without(texts: Blocks, boilerplate: np.ndarray, signatures: Signatures) -> None:
    """Sign again, without their boilerplate, the texts that hold some; one that holds nothing else stays as it was.

    The stretches between are signed each alone: the signature of a union of sets is the minimum of their signatures.
    """
    row = 0
    for block in texts.blocks(["text"]):
        shingled = shingle(normalise(block["text"].combine_chunks()))
        owner, runs = shingled.runs_without(contains(boilerplate, shingled.hashes))
        if len(runs):
            ids = pa.array([f"{number:012d}" for number in range(len(runs))])
            given = pa.table({"record_id": ids, "normal": pa.array(runs, pa.large_binary()).cast(pa.large_string())})
            frame = daft.from_arrow(given).select(daft.col("record_id"), _minhash(daft.col("normal")))
            signed = frame.to_arrow().sort_by("record_id")
            require_same_rows(given, signed, "duplicates")
            places, starts = np.unique(owner, return_index=True)
            signatures.put(row + places, np.minimum.reduceat(_matrix(signed["signature"]), starts, axis=0))
        row += len(block)
