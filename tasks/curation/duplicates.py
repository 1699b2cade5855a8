"""Exact and near duplicates: verified pairs first, then one survivor elected for each (contract 10).

Similarity is the Jaccard index of the sets of word 5-grams of the text in NFC, lower-cased, split at runs of non-word
characters. MinHash (Broder 1997) with banding (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, chapter 3) only
proposes pairs; each is verified on the sets themselves. Texts whose words are the same, in the same order, form one
class, so that ten thousand copies of one text cost ten thousand hashes and not their pairs.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import daft
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.curation.minhash import HASHES, bands_for, candidates
from tasks.curation.records import Engine
from tasks.engine import require_same_rows, start
from tasks.governance.ledger import write_parquet

VERSION = 1

SHINGLE_WORDS = 5
STORED_FROM = 0.5  # pairs from here on are stored, so that a policy with a higher threshold needs no signing

CLASS_SCHEMA = pa.schema([("record_id", pa.string()), ("class_id", pa.string())])
PAIR_SCHEMA = pa.schema([("a", pa.string()), ("b", pa.string()), ("similarity", pa.float64())])
REMOVAL_SCHEMA = pa.schema(
    [("record_id", pa.string()), ("rule", pa.string()), ("survivor_id", pa.string()), ("similarity", pa.float64())]
)
NORMAL = pa.struct([("class_id", pa.string()), ("words", pa.int64()), ("normal", pa.large_string())])

_progress: list[Callable[[int], None]] = []  # global: Daft pickles closures. A Ray worker finds none
_WORD = re.compile(r"\w+")
_ASCII_WORDS = bytes(code if re.match(r"\w", chr(code), re.ASCII) else 32 for code in range(256))


@dataclass(frozen=True)
class Similar:
    """What resembles what, whatever a policy makes of it.

    `classes`: record_id, class_id; one row per record, sorted by record_id; class_id = the first 32 hex of the SHA-256
    of the words, "" for a text without words (it resembles nothing).
    `pairs`: a, b (class ids, a < b), similarity; sorted by (a, b).
    """

    classes: pa.Table
    pairs: pa.Table

    def write(self, folder: Path) -> None:
        """Write ``classes.parquet`` and ``pairs.parquet``."""
        write_parquet(self.classes, folder / "classes.parquet")
        write_parquet(self.pairs, folder / "pairs.parquet")


def read_pairs(folder: Path) -> Similar:
    """What `Similar.write` wrote into `folder`."""
    return Similar(
        pq.read_table(folder / "classes.parquet", schema=CLASS_SCHEMA),
        pq.read_table(folder / "pairs.parquet", schema=PAIR_SCHEMA),
    )


def words(text: str) -> list[str]:
    """The words of `text` in NFC, lower-cased, split at runs of non-word characters."""
    if text.isascii():  # the same words as below, in a third of the time
        return text.lower().encode().translate(_ASCII_WORDS).decode().split()
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())


def shingles(text: str) -> frozenset[str]:
    """The set of word 5-grams; a text of 1 to 4 words has one shingle, all its words; one without words has none."""
    tokens = words(text)
    if len(tokens) < SHINGLE_WORDS:
        return frozenset([" ".join(tokens)] if tokens else [])
    return frozenset(map(" ".join, zip(*(tokens[start:] for start in range(SHINGLE_WORDS)), strict=False)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """The Jaccard index; 0 when both are empty."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if shared else 0.0


def find_pairs(
    texts: pa.Table, threshold: float, engine: Engine = Engine(), progress: Callable[[int], None] | None = None
) -> Similar:
    """Classes of equal texts, and every verified pair of classes with Jaccard >= min(threshold, 0.5).

    `texts`: record_id, text, and optionally ``position``, the record's place in `election_order`, which matters in very
    large buckets only (`minhash.candidates`). A pair at `threshold` is found with probability >= minhash.RECALL; there
    are no false pairs. `progress` is called with the number of texts just signed.
    RuntimeError when the engine loses rows.
    """
    signed = _sign(texts.select(["record_id", "text"]), engine, progress)
    classes = signed.select(["record_id", "class_id"]).cast(CLASS_SCHEMA)
    rows = np.arange(len(texts))
    if "position" in texts.column_names:
        by_id = pc.sort_indices(texts["record_id"]).to_numpy()
        rows = texts["position"].to_numpy()[by_id]
    # One representative per class with a full shingle or more: shorter texts are equal or have nothing in common.
    long_enough = np.flatnonzero(signed["words"].to_numpy() >= SHINGLE_WORDS)
    ordered = long_enough[np.argsort(rows[long_enough], kind="stable")]
    ids = signed["class_id"].combine_chunks().take(pa.array(ordered)).to_numpy(zero_copy_only=False)
    _, firsts = np.unique(ids, return_index=True)
    firsts = np.sort(firsts)  # in order of position
    representatives = ordered[firsts]
    flat = signed["signature"].combine_chunks().flatten().to_numpy()
    signatures = flat.reshape(-1, HASHES)[representatives]
    floor = min(threshold, STORED_FROM)
    record_ids = signed["record_id"].combine_chunks().take(pa.array(representatives))
    proposed = candidates(signatures, bands_for(threshold), floor)
    pairs = _verify(proposed, record_ids, ids[firsts], texts, floor)
    return Similar(classes, pairs)


def _normalise(column: daft.Series) -> pa.Array:
    """class_id, number of words and the words joined, of each text."""
    tokens = [words(text) for text in column.to_pylist()]
    normal = [" ".join(each) for each in tokens]
    digests = [hashlib.sha256(each.encode()).hexdigest()[:32] if each else "" for each in normal]
    for report in _progress:
        report(len(tokens))
    arrays = [pa.array(digests), pa.array([len(each) for each in tokens]), pa.array(normal, pa.large_string())]
    return pa.StructArray.from_arrays(arrays, fields=list(NORMAL))


def _sign(texts: pa.Table, engine: Engine, progress: Callable[[int], None] | None) -> pa.Table:
    """record_id, class_id, words (a count), signature (HASHES uint32), sorted by record_id. The text stays in Daft."""
    from daft.functions import minhash

    start(engine.ray_address)
    schema = pa.schema([("record_id", pa.string()), ("class_id", pa.string()), ("words", pa.int64())])
    schema = schema.append(pa.field("signature", pa.list_(pa.uint32(), HASHES)))
    if len(texts) == 0:
        return schema.empty_table()

    @daft.func.batch(return_dtype=daft.DataType.from_arrow_type(NORMAL), use_process=False, batch_size=1024)
    def normalise(column: daft.Series):
        return _normalise(column)

    if progress:
        _progress.append(progress)
    frame = daft.from_arrow(texts).select(daft.col("record_id"), normalise(daft.col("text")).alias("n"))
    normal = daft.col("n")["normal"]
    signature = minhash(normal, num_hashes=HASHES, ngram_size=SHINGLE_WORDS).alias("signature")
    parts = [daft.col("n")[name].alias(name) for name in ("class_id", "words")]
    try:
        signed = frame.select(daft.col("record_id"), *parts, signature).to_arrow()
    finally:
        _progress.clear()
    signed = signed.take(pc.sort_indices(signed["record_id"]))
    require_same_rows(texts, signed, "duplicates")
    return signed.cast(schema)


def _verify(
    proposed: np.ndarray, record_ids: pa.Array, class_ids: np.ndarray, texts: pa.Table, floor: float
) -> pa.Table:
    """The proposed pairs with exact Jaccard >= floor, between class ids."""
    involved = np.flatnonzero(np.bincount(proposed.ravel()))
    names = record_ids.take(pa.array(involved))
    rows = pc.index_in(names, texts["record_id"].combine_chunks().cast(pa.string()))
    sets = {
        row: shingles(text) for row, text in zip(involved.tolist(), texts["text"].take(rows).to_pylist(), strict=True)
    }
    similarity = np.zeros(len(proposed))
    for at, (a, b) in enumerate(proposed.tolist()):
        one, other = sets[a], sets[b]
        if min(len(one), len(other)) >= floor * max(len(one), len(other)):  # the Jaccard index cannot exceed that ratio
            similarity[at] = jaccard(one, other)
    found = similarity >= floor
    ends = class_ids[proposed[found]].reshape(-1, 2).astype(object)
    ends.sort(axis=1)
    columns = [pa.array(ends[:, 0], pa.string()), pa.array(ends[:, 1], pa.string()), pa.array(similarity[found])]
    table = pa.Table.from_arrays(columns, schema=PAIR_SCHEMA)
    return table.sort_by([("a", "ascending"), ("b", "ascending")]).combine_chunks()


def election_order(records: pa.Table) -> np.ndarray:
    """Row numbers in the total order: licence_rank up, quality down (no number: last), length down, record_id up."""
    quality = pc.if_else(pc.is_finite(records["quality"]).fill_null(False), records["quality"], -np.inf)
    keyed = records.select(["record_id", "licence_rank", "length"]).append_column("quality", quality)
    keys = [
        ("licence_rank", "ascending"),
        ("quality", "descending"),
        ("length", "descending"),
        ("record_id", "ascending"),
    ]
    return pc.sort_indices(keyed, sort_keys=keys).to_numpy()


def elect(records: pa.Table, similar: Similar, threshold: float) -> pa.Table:
    """The records that go: record_id, rule (duplicate.exact or duplicate.near), survivor_id, similarity; by record_id.

    `records`: the admissible ones: record_id, licence_rank (int), quality (double), length (int) and written_sha256 (of
    the text as written). They are taken in `election_order`; one is dropped when a record that is already kept has its
    words in order or its written bytes (exact, similarity 1), or a Jaccard >= threshold (near). The survivor is the
    most similar kept record; exact before near, then the earlier in the order. Nothing is closed over transitively.
    KeyError when a record is not in `similar`.
    """
    class_of = dict(zip(*(similar.classes[name].to_pylist() for name in CLASS_SCHEMA.names), strict=True))
    neighbours: dict[str, list[tuple[str, float]]] = {}
    for a, b, similarity in zip(*(similar.pairs[name].to_pylist() for name in PAIR_SCHEMA.names), strict=True):
        if similarity >= threshold:
            neighbours.setdefault(a, []).append((b, similarity))
            neighbours.setdefault(b, []).append((a, similarity))
    ids, written = records["record_id"].to_pylist(), records["written_sha256"].to_pylist()
    kept_class: dict[str, tuple[int, str]] = {}  # class -> (place in the order, record_id); one class keeps one record
    kept_written: dict[str, tuple[int, str]] = {}
    removals: list[tuple[str, str, str, float]] = []
    for place, row in enumerate(election_order(records).tolist()):
        name, digest = ids[row], written[row]
        group = class_of[name]
        exact = [found for found in (kept_class.get(group) if group else None, kept_written.get(digest)) if found]
        if exact:
            removals.append((name, "duplicate.exact", min(exact)[1], 1.0))
            continue
        near = [
            (-similarity, *kept_class[other]) for other, similarity in neighbours.get(group, ()) if other in kept_class
        ]
        if near:
            similarity, _, survivor = min(near)
            removals.append((name, "duplicate.near", survivor, -similarity))
            continue
        kept_written[digest] = (place, name)
        if group:
            kept_class[group] = (place, name)
    columns = list(zip(*sorted(removals), strict=True)) or [(), (), (), ()]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, REMOVAL_SCHEMA, strict=True)],
        schema=REMOVAL_SCHEMA,
    )
