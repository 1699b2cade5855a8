"""The election over blocks of a ledger: the same removals as over the whole in memory, whatever the blocks are."""

import dataclasses
import hashlib
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_policies.load import load_policy
from data_policies.schema import Duplicates, Substring
from data_policies.spdx import rank
from tasks.curation.duplicates import PAIR_SCHEMA, Similar, elect
from tasks.curation.election import QUALITY, Election, _bits, _repeated
from tasks.curation.signing import CLASS_SCHEMA
from tasks.curation.substrings import SPAN_SCHEMA

DUPLICATES = Duplicates(threshold=0.8, substring=Substring(words=10, share=0.5))
POLICY = dataclasses.replace(load_policy("open-definition"), duplicates=DUPLICATES)


def digest(value, length=64):
    return hashlib.sha256(str(value).encode()).hexdigest()[:length]


RECORD = st.tuples(
    st.integers(0, 12),  # class; 0: a text without words
    st.integers(0, 20),  # written bytes
    st.sampled_from(["MIT", "CC0-1.0"]),
    st.sampled_from([0.81, 0.84, 0.9, None]),
    st.integers(1, 3),  # length
    st.booleans(),  # admitted
)
PAIR = st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([0.6, 0.8, 0.95]), st.sampled_from([0.7, 0.9]))


def case(records, pairs, spans):
    ids = sorted(digest(f"record {n}", 32) for n in range(len(records)))
    class_of = [digest(f"class {c}", 32) if c else "" for c, *_ in records]
    table = pa.table(
        {
            "record_id": pa.array(ids, pa.string()),
            "licence": pa.array([r[2] for r in records], pa.string()),
            "sample_sha256": pa.array([digest(r[1]) if r[5] else None for r in records], pa.string()),
            "written_length": pa.array([r[4] if r[5] else None for r in records], pa.int64()),
            QUALITY: pa.array([r[3] for r in records], pa.float64()),
            "verdict": pa.array(["keep" if r[5] else "drop" for r in records], pa.string()),
            "rules": pa.array([[] for _ in records], pa.list_(pa.string())),
        }
    )
    ends = {tuple(sorted((digest(f"class {a}", 32), digest(f"class {b}", 32)))): p for a, b, *p in pairs if a != b}
    rows = [(*key, *values) for key, values in sorted(ends.items())]
    holds = sorted({(digest(f"class {a}", 32), digest(f"class {b}", 32), s) for a, b, s, _ in spans if a != b})
    similar = Similar(
        pa.table([ids, class_of], schema=CLASS_SCHEMA),
        pa.table([list(c) for c in zip(*rows, strict=True)] or [[]] * 4, schema=PAIR_SCHEMA),
        pa.table([list(c) for c in zip(*holds, strict=True)] or [[]] * 3, schema=SPAN_SCHEMA),
    )
    return table, similar


@given(st.lists(RECORD, max_size=40), st.lists(PAIR, max_size=15), st.lists(PAIR, max_size=4), st.integers(1, 50))
def test_in_blocks_as_in_memory(tmp_path_factory, records, pairs, spans, size):
    table, similar = case(records, pairs, spans)
    folder = tmp_path_factory.mktemp("pairs")
    similar.write(folder)
    admitted = np.array([r[5] for r in records], bool)
    candidates = table.filter(pa.array(admitted))
    whole = elect(
        pa.table(
            {
                "record_id": candidates["record_id"],
                "licence_rank": [rank(name, POLICY.licences.allow) for name in candidates["licence"].to_pylist()],
                "quality": pc.round(pc.fill_null(candidates[QUALITY], 0.0), 1),
                "length": candidates["written_length"],
                "written_sha256": candidates["sample_sha256"],
            }
        ),
        similar,
        0.8,
        0.5,
    )
    curated = SimpleNamespace(
        pairs=SimpleNamespace(path=str(folder)), media=None, duplicate_threshold=lambda policy: 0.8
    )
    election = Election(curated, POLICY, len(table))
    starts = range(0, max(len(table), 1), size)
    seen = [election.see(table.slice(at, size), admitted[at : at + size]) for at in starts]
    election.hold(lambda columns: (block.select(columns) for block in seen))
    after = pa.concat_tables(
        election.without_duplicates(block, at) for at, block in zip(starts, seen, strict=True)
    ).to_pylist()
    gone = [row for row in after if row["survivor_id"]]
    found = [{key: row[key] for key in ("record_id", "survivor_id", "similarity")} for row in gone]
    assert found == whole.select(["record_id", "survivor_id", "similarity"]).to_pylist()
    assert [row["rules"] for row in gone] == [[rule] for rule in whole["rule"].to_pylist()]
    assert all(row["verdict"] == "drop" for row in gone)
    before = table["verdict"].to_pylist()
    assert all(row["verdict"] == old for row, old in zip(after, before, strict=True) if not row["survivor_id"])


def test_a_record_that_was_never_compared_is_no_candidate(tmp_path):
    table, similar = case([(1, 1, "MIT", 0.9, 1, True), (2, 2, "MIT", 0.9, 1, True)], [], [])
    Similar(similar.classes.slice(1), similar.pairs).write(tmp_path)
    curated = SimpleNamespace(
        pairs=SimpleNamespace(path=str(tmp_path)), media=None, duplicate_threshold=lambda policy: 0.8
    )
    with pytest.raises(KeyError, match="1 records were never compared"):
        Election(curated, POLICY, 2).see(table, np.array([True, True]))


@given(st.lists(st.none() | st.just("") | st.integers(0, 5).map(digest), max_size=20), st.integers(0, 5))
def test_bits_are_the_first_64_of_each_digest(values, start):
    bits = _bits(pa.array(values, pa.string()).slice(start))
    assert bits.tolist() == [int(value[:16], 16) if value else 0 for value in values[start:]]
    assert _repeated(bits).tolist() == [bool(bit) and bits.tolist().count(bit) > 1 for bit in bits.tolist()]
