"""Texts on their way to the shards: the same bytes in one round and in many."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data_policies.load import load_policy
from tasks.curation import blocks, written
from tasks.curation.pii_redaction import redact
from tasks.curation.records import RECORD_SCHEMA, Engine
from tasks.curation.shards import JSON_KEYS, write_shards
from tasks.curation.written import PLACED, write_in_rounds, written_facts, written_texts
from tasks.governance.ledger import SPAN
from tasks.stages import Stage

COUNT = 120
MAIL = "write to a@b.org, é"


@pytest.fixture
def case(tmp_path, monkeypatch):
    """(ingest stage, ledger rows, the texts as they are to be written): every third refused, every fifth redacted."""
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 17)
    ids = sorted(hashlib.sha256(f"{n}".encode()).hexdigest()[:32] for n in range(COUNT))
    texts = [f"{MAIL if n % 5 == 0 else 'plain'} {n} " * (1 + n % 40) for n in range(COUNT)]
    columns = {name: [""] * COUNT for name in RECORD_SCHEMA.names} | {"record_id": ids, "text": texts}
    table = pa.table({**columns, "bytes": [0] * COUNT}).cast(RECORD_SCHEMA)
    blocks.write_blocks(iter([table]), tmp_path / "records.parquet", RECORD_SCHEMA, 10)
    span = {"type": "email", "start": 9, "end": 16, "action": "redact", "value_hmac": "0" * 32}
    rows = pa.table(
        {
            "record_id": ids,
            "verdict": ["drop" if n % 3 == 0 else "keep" for n in range(COUNT)],
            "spans": pa.array([[span] if n % 5 == 0 else [] for n in range(COUNT)], pa.list_(SPAN)),
            "split": ["validation" if n % 7 == 0 else "train" for n in range(COUNT)],
            **{key: [f"{key} {n}" for n in range(COUNT)] for key in JSON_KEYS},
        }
    )
    actions = {"email": "redact"}
    expected = [redact(text, [span], actions) if n % 5 == 0 else text for n, text in enumerate(texts)]
    assert "a@b.org" not in expected[0]
    return Stage("ingest", "0" * 64, False, 0.0, str(tmp_path)), rows, expected


def test_facts_are_those_of_the_texts_as_written(case):
    stage, rows, expected = case
    policy = load_policy("open-definition")
    facts = written_facts(stage, rows, policy).to_pylist()
    found = {row["record_id"]: row["text"] for block in written_texts(stage, rows, policy) for row in block.to_pylist()}
    for n, (row, name) in enumerate(zip(facts, rows["record_id"].to_pylist(), strict=True)):
        if n % 3 == 0:
            assert name not in found
            assert row == {"sample_sha256": None, "written_length": None, "written_bytes": None}
            continue
        text = found[name]
        assert text == expected[n]
        data = text.encode()
        assert row["sample_sha256"] == hashlib.sha256(data).hexdigest()
        assert (row["written_length"], row["written_bytes"]) == (len(text), len(data))


def test_one_round_or_many_are_the_same_bytes(case, tmp_path, monkeypatch):
    stage, rows, _ = case
    policy = load_policy("open-definition")
    facts = written_facts(stage, rows, policy)
    for name in ("written_bytes", "sample_sha256"):
        rows = rows.append_column(name, facts[name])
    kept = rows.filter(pc.equal(rows["verdict"], "keep"))
    counts = {"train": 8, "validation": 2}
    whole = pa.concat_tables(written_texts(stage, rows, policy))
    once = write_shards(kept.append_column("text", whole["text"]), tmp_path / "once", counts)
    rounds = []
    monkeypatch.setattr(written, "ROUND_BYTES", 20_000)
    monkeypatch.setattr(written, "write_shards", lambda *given: rounds.append(len(given[0])) or write_shards(*given))

    def blocks():
        return (kept.slice(at, 13) for at in range(0, len(kept), 13))

    many = write_in_rounds(blocks, written_texts(stage, rows, policy), tmp_path / "many", counts, Engine())
    assert len(rounds) > 3
    assert sum(rounds) == len(kept)
    assert many.places.to_pylist() == once.places.select(PLACED.names).to_pylist()
    assert many.refs == once.refs
    files = {path.relative_to(tmp_path / "once"): path.read_bytes() for path in (tmp_path / "once").rglob("*.*")}
    assert len(files) > 10
    assert files == {
        path.relative_to(tmp_path / "many"): path.read_bytes() for path in Path(tmp_path / "many").rglob("*.*")
    }


def test_other_texts_or_other_bytes_are_not_published(case, tmp_path):
    stage, rows, _ = case
    policy = load_policy("open-definition")
    facts = written_facts(stage, rows, policy)
    rows = rows.append_column("written_bytes", facts["written_bytes"])
    kept = rows.filter(pc.equal(rows["verdict"], "keep"))
    counts = {"train": 1, "validation": 1}
    texts = pa.concat_tables(written_texts(stage, rows, policy))
    for wrong in (texts.slice(1), texts.slice(0, 40), texts.slice(0, 0)):
        with pytest.raises(RuntimeError, match="not those that are kept"):
            write_in_rounds(kept, iter([wrong]), tmp_path / "other", counts, Engine())
    kept = kept.append_column("sample_sha256", pa.array(["0" * 64] * len(kept)))
    with pytest.raises(RuntimeError, match="other bytes"):
        write_in_rounds(kept, iter([texts]), tmp_path / "bytes", counts, Engine())
