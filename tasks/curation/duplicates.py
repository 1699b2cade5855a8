"""Exact and near duplicates: verified pairs first, then one survivor elected for each (contract 10).

Similarity is the Jaccard index of the sets of word 5-grams (`shingles`). MinHash (Broder 1997) with banding (Leskovec,
Rajaraman, Ullman: Mining of Massive Datasets, chapter 3) only proposes pairs; each is verified on the sets themselves.
Texts whose words are the same, in the same order, form one class, so that ten thousand copies of one text cost ten
thousand hashes and not their pairs. Boilerplate, a shingle in more than 5 % of a source's texts, neither proposes a
pair nor condemns a record: one goes only if its similarity reaches the threshold with the boilerplate and without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_policies.schema import Substring
from tasks.curation.blocks import Blocks, TableBlocks
from tasks.curation.comparison import compare
from tasks.curation.minhash import candidates
from tasks.curation.records import Engine
from tasks.curation.shingles import SHINGLE_WORDS, jaccard, shingles, words
from tasks.curation.signing import CLASS_SCHEMA, class_ids, class_table, sign
from tasks.curation.substrings import SPAN_SCHEMA, find_spans
from tasks.governance.ledger import write_parquet
from tasks.memory import release

__all__ = [
    "Similar",
    "elect",
    "election_order",
    "find_pairs",
    "jaccard",
    "near_pairs",
    "read_pairs",
    "shingles",
    "words",
]

VERSION = 3

STORED_FROM = 0.5  # pairs from here on are stored, so that a policy with a higher threshold needs no signing

PAIR_SCHEMA = pa.schema(
    [("a", pa.string()), ("b", pa.string()), ("similarity", pa.float64()), ("distinctive", pa.float64())]
)
REMOVAL_SCHEMA = pa.schema(
    [("record_id", pa.string()), ("rule", pa.string()), ("survivor_id", pa.string()), ("similarity", pa.float64())]
)


@dataclass(frozen=True)
class Similar:
    """What resembles what, whatever a policy makes of it.

    `classes`: record_id, class_id; one row per record, sorted by record_id; class_id = the first 32 hex of the SHA-256
    of the words, "" for a text without words (it resembles nothing).
    `pairs`: a, b (class ids, a < b), similarity, and distinctive, the Jaccard index of the shingles that are no
    boilerplate (the same as similarity where neither text holds others); sorted by (a, b).
    `spans`: class_id, other, share: of the words of the class, those in long spans that the other has; sorted.
    """

    classes: pa.Table
    pairs: pa.Table
    spans: pa.Table = field(default_factory=SPAN_SCHEMA.empty_table)

    def write(self, folder: Path) -> None:
        """Write ``classes.parquet``, ``pairs.parquet`` and ``spans.parquet``."""
        write_parquet(self.classes, folder / "classes.parquet")
        write_parquet(self.pairs, folder / "pairs.parquet")
        write_parquet(self.spans, folder / "spans.parquet")


def read_pairs(folder: Path, classes: bool = True) -> Similar:
    """What `Similar.write` wrote into `folder`; `classes`, the largest part, may be left out."""
    return Similar(
        pq.read_table(folder / "classes.parquet", schema=CLASS_SCHEMA) if classes else CLASS_SCHEMA.empty_table(),
        pq.read_table(folder / "pairs.parquet", schema=PAIR_SCHEMA),
        pq.read_table(folder / "spans.parquet", schema=SPAN_SCHEMA),
    )


def find_pairs(
    texts: pa.Table | Blocks,
    threshold: float,
    engine: Engine = Engine(),
    progress: Callable[[int], None] | None = None,
    order: np.ndarray | None = None,
    substring: Substring | None = None,
) -> Similar:
    """Classes of equal texts, and every verified pair of classes with Jaccard >= min(threshold, 0.5).

    `texts`: record_id, source, text; of a table without ``source`` all are of one. They are read a block at a time, up
    to four times; in memory stay 140 bytes of each, 120 of them of its signature. `order`: the rows (by record_id),
    those that an election is likely to keep first; it matters in very large buckets only (`minhash.candidates`). A pair
    at `threshold` is found with probability >= minhash.RECALL; there are no false pairs. `progress` is called with the
    number of texts just signed. `substring`: find repeated spans, too (`substrings`).
    RuntimeError when the engine loses rows.
    """
    given = TableBlocks(texts) if isinstance(texts, pa.Table) else texts
    signed = sign(given, threshold, engine, progress)
    floor = min(threshold, STORED_FROM)
    with contextlib.closing(signed.signatures):
        position = np.arange(len(given)) if order is None else order
        # One representative per class with a full shingle or more: shorter texts are equal or have nothing in common.
        position = position[signed.words[position] >= SHINGLE_WORDS]
        _, firsts = np.unique(signed.codes[position], return_index=True)
        members = position[np.sort(firsts)]
        del position, firsts
        release()
        proposed = candidates(signed.signatures, members, floor)
    digests, lengths, boilerplate = signed.digests, signed.words, signed.boilerplate
    del signed  # the signatures' memory goes to the comparison
    rows = np.sort(members[proposed], axis=1)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    similarity, distinctive = compare(given, rows, boilerplate, floor)
    found = np.minimum(similarity, distinctive) >= floor
    ends = class_ids(digests[rows[found].ravel()], lengths[rows[found].ravel()])
    first, second = ends.take(pa.array(np.arange(0, len(ends), 2))), ends.take(pa.array(np.arange(1, len(ends), 2)))
    columns = [pc.min_element_wise(first, second), pc.max_element_wise(first, second)]
    columns += [pa.array(similarity[found]), pa.array(distinctive[found])]
    table = pa.Table.from_arrays(columns, schema=PAIR_SCHEMA)
    table = table.sort_by([("a", "ascending"), ("b", "ascending")]).combine_chunks()
    if substring is None:
        return Similar(class_table(given, digests, lengths), table)
    rows, shares = find_spans(given, members, substring.words, substring.share)
    ends = [class_ids(digests[rows[:, side]], lengths[rows[:, side]]) for side in (0, 1)]
    spans = pa.table([*ends, pa.array(shares)], names=SPAN_SCHEMA.names)
    spans = spans.cast(SPAN_SCHEMA).sort_by([("class_id", "ascending"), ("other", "ascending")])
    return Similar(class_table(given, digests, lengths), table, spans.combine_chunks())


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


def elect(records: pa.Table, similar: Similar, threshold: float, share: float | None = None) -> pa.Table:
    """The records that go: record_id, rule (duplicate.exact, .near or .substring), survivor_id, similarity; sorted.

    `records`: the admissible ones: record_id, licence_rank (int), quality (double), length (int) and written_sha256 (of
    the text as written). They are taken in `election_order`; one is dropped when a record that is already kept has its
    words in order or its written bytes (exact, similarity 1), or a Jaccard >= threshold with the boilerplate and
    without it (near). The survivor is the most similar kept record; exact before near, then the earlier in the order.
    Nothing is closed over transitively. With `share`, one is also dropped when that share of its words stands in long
    spans of a record that is kept (substring); the share is its similarity.
    KeyError when a record is not in `similar`.
    """
    if len(records) == 0:
        return REMOVAL_SCHEMA.empty_table()
    by_id = pc.index_in(records["record_id"], similar.classes["record_id"].combine_chunks())
    if by_id.null_count:
        raise KeyError(f"{by_id.null_count} records were never compared with the others")
    class_ids = similar.classes["class_id"].take(by_id.combine_chunks())
    near = near_pairs(similar, threshold)
    place = np.empty(len(records), np.int64)
    place[election_order(records)] = np.arange(len(records))
    # Most records resemble nothing: only the others are worth Python objects.
    inside = similar.spans if share is not None else similar.spans.slice(0, 0)
    inside = inside.filter(pc.greater_equal(inside["share"], share or 0.0))
    columns = [near["a"], near["b"], inside["class_id"], inside["other"]]
    met = pa.concat_arrays([pa.array([], pa.string()), *(chunk for each in columns for chunk in each.chunks)]).unique()
    entangled = _repeated(class_ids) | _repeated(records["written_sha256"]) | np.asarray(pc.is_in(class_ids, met))
    rows = np.flatnonzero(entangled)
    rows = rows[np.argsort(place[rows], kind="stable")]  # from here on a record is its rank among these
    chosen = pa.array(rows)
    numbers = pa.concat_arrays([met, class_ids.take(chosen).combine_chunks()]).unique()
    group_of = pc.index_in(class_ids.take(chosen), numbers).to_pylist()
    digest_of = records["written_sha256"].take(chosen).combine_chunks().dictionary_encode().indices.to_pylist()
    without = pc.index_in(pa.scalar(""), numbers).as_py()  # texts without words form no class
    neighbours: dict[int, list[tuple[int, float]]] = {}
    ends = (pc.index_in(near[name], numbers).to_pylist() for name in ("a", "b"))
    for a, b, similarity in zip(*ends, near["similarity"].to_pylist(), strict=True):
        neighbours.setdefault(a, []).append((b, similarity))
        neighbours.setdefault(b, []).append((a, similarity))
    holders: dict[int, list[tuple[int, float]]] = {}
    ends = (pc.index_in(inside[name], numbers).to_pylist() for name in ("class_id", "other"))
    for group, other, part in zip(*ends, inside["share"].to_pylist(), strict=True):
        holders.setdefault(group, []).append((other, part))
    kept_class: dict[int, int] = {}  # class -> the record that was kept of it, one at most
    kept_written: dict[int, int] = {}
    removals: list[tuple[int, str, int, float]] = []
    for rank, (digest, group) in enumerate(zip(digest_of, group_of, strict=True)):
        exact = [kept[key] for kept, key in ((kept_class, group), (kept_written, digest)) if key in kept]
        if exact:
            removals.append((rank, "duplicate.exact", min(exact), 1.0))
            continue
        for rule, others in (("duplicate.near", neighbours), ("duplicate.substring", holders)):
            alike = [(-part, kept_class[other]) for other, part in others.get(group, ()) if other in kept_class]
            if alike:
                similarity, survivor = min(alike)
                removals.append((rank, rule, survivor, -similarity))
                break
        if alike:
            continue
        kept_written[digest] = rank
        if group != without:
            kept_class[group] = rank
    columns = list(zip(*removals, strict=True)) or [(), (), (), ()]
    names = records["record_id"].take(chosen)
    gone, survivors = (names.take(pa.array(columns[at], pa.int64())) for at in (0, 2))
    arrays = [gone, pa.array(columns[1], pa.string()), survivors, pa.array(columns[3], pa.float64())]
    return pa.Table.from_arrays(arrays, schema=REMOVAL_SCHEMA).sort_by("record_id")


def near_pairs(similar: Similar, threshold: float) -> pa.Table:
    """The pairs that reach `threshold` with the boilerplate and without it."""
    reached = [pc.greater_equal(similar.pairs[name], threshold) for name in ("similarity", "distinctive")]
    return similar.pairs.filter(pc.and_(*reached))


def _repeated(values: pa.ChunkedArray) -> np.ndarray:
    """For each value: does it occur more than once? ("" does not: it stands for no words.)"""
    codes = values.combine_chunks().dictionary_encode()
    indices = codes.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(indices, minlength=len(codes.dictionary))
    return (counts[indices] > 1) & np.asarray(pc.not_equal(values, ""))
