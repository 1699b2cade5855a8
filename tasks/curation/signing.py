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
_NORMAL = pa.struct([("digest", pa.binary()), ("words", pa.int64()), ("normal", pa.large_string())])

_progress: list[Callable[[int], None]] = []  # global: Daft pickles closures. A Ray worker finds none


@dataclass(frozen=True)
class Signed:
    """For each row: `digests` (N, 16), the first bytes of the SHA-256 of its words; `words`, how many it has, 255 for
    more. `boilerplate`: the hashes, sorted, of the shingles that count for nothing. The signatures are to be closed."""

    digests: np.ndarray
    words: np.ndarray
    signatures: Signatures
    boilerplate: np.ndarray

    @property
    def codes(self) -> np.ndarray:
        """The first 64 bits of each digest (uint64)."""
        return _codes(self.digests)


def class_ids(digests: np.ndarray, words: np.ndarray) -> pa.StringArray:
    """The digests (N, 16) in 32 hex digits each; "" where there are no words."""
    known = digests[words > 0]
    digits = np.stack([known >> 4, known & 15], axis=2).reshape(-1)
    data = np.frombuffer(b"0123456789abcdef", np.uint8)[digits]
    ends = np.cumsum(np.where(words > 0, 32, 0), dtype=np.int64)
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    strings = pa.LargeStringArray.from_buffers(len(words), pa.py_buffer(offsets), pa.py_buffer(data))
    return strings.cast(pa.string())


def class_table(texts: Blocks, digests: np.ndarray, words: np.ndarray) -> pa.Table:
    """CLASS_SCHEMA: the class of each text."""
    tables, row = [CLASS_SCHEMA.empty_table()], 0
    for block in texts.blocks(["record_id"]):
        here = slice(row, row + len(block))
        tables.append(pa.table([block["record_id"], class_ids(digests[here], words[here])], schema=CLASS_SCHEMA))
        row += len(block)
    return pa.concat_tables(tables)


def _codes(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests[:, :8]).view(">u8")[:, 0].astype(np.uint64)


def sign(texts: Blocks, threshold: float, engine: Engine, progress: Callable[[int], None] | None = None) -> Signed:
    """Digest and signature of each text; RuntimeError when the engine loses rows."""
    start(engine.ray_address)
    count = len(texts)
    signatures = Signatures(count, bands_for(threshold))
    digests, lengths = np.zeros((count, 16), np.uint8), np.zeros(count, np.uint8)
    sampler, row = _Sampler(), 0
    if progress:
        _progress.append(progress)
    try:
        for block in texts.blocks(["record_id", "source", "text"]):
            signed = _sign(block)
            here = slice(row, row + len(block))
            lengths[here] = np.minimum(signed["words"].to_numpy(), 255)
            digests[here] = np.frombuffer(b"".join(signed["digest"].to_pylist()), np.uint8).reshape(-1, 16)
            signatures.put(here, _matrix(signed["signature"]))
            sampler.take(block, _codes(digests[here]))
            row += len(block)
        boilerplate = sampler.boilerplate()
        if len(boilerplate):
            _sign_without(texts, boilerplate, signatures)
    except BaseException:
        signatures.close()
        raise
    finally:
        _progress.clear()
    return Signed(digests, lengths, signatures, boilerplate)


def _normalise(column: daft.Series) -> pa.Array:
    """_NORMAL for each text: 16 bytes of the digest of its words (zeros without), their number, the words joined."""
    normal = normalise(column.to_arrow())
    raw, edges = normal.data.data, [0, *normal.ends.tolist()]
    pairs = zip(edges, edges[1:], strict=False)
    digests = [hashlib.sha256(raw[start:end]).digest()[:16] if end > start else bytes(16) for start, end in pairs]
    blanks = np.concatenate([[0], np.cumsum(normal.data == ord(" "))])[edges]
    for report in _progress:
        report(len(digests))
    arrays = [
        pa.array(digests, pa.binary()),
        pa.array(np.diff(blanks) + (np.diff(edges) > 0), pa.int64()),
        normal.texts,
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(_NORMAL))


def _minhash(column: daft.Expression) -> daft.Expression:
    from daft.functions import minhash

    return minhash(column, num_hashes=HASHES, ngram_size=SHINGLE_WORDS).alias("signature")


def _sign(block: pa.Table) -> pa.Table:
    """record_id, digest, words, signature; by record_id. The text stays in Daft."""

    @daft.func.batch(return_dtype=daft.DataType.from_arrow_type(_NORMAL), use_process=False, batch_size=1024)
    def normal(column: daft.Series):
        return _normalise(column)

    frame = daft.from_arrow(block.select(["record_id", "text"]))
    frame = frame.select(daft.col("record_id"), normal(daft.col("text")).alias("n"))
    parts = [daft.col("n")[name].alias(name) for name in ("digest", "words")]
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
