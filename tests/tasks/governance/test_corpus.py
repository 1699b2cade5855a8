"""A corpus version is the same, byte for byte, however few rows, frames and shards are in memory at once."""

import dataclasses
import hashlib
import json

import pyarrow.parquet as pq
import pytest

from benchmarks.chain import chain, curated
from data_policies.load import load_policy
from data_policies.schema import Duplicates, Gates, Substring
from tasks.curation import blocks, gate_frames, written
from tasks.curation.languages import Languages
from tasks.curation.pii import Pii
from tasks.curation.quality import Quality
from tasks.curation.records import Engine
from tasks.curation.sources import Files
from tasks.errors import Refused
from tasks.governance.corpus import build_corpus
from tasks.home import Home
from tests_support import corpus_lines

DUPLICATES = Duplicates(threshold=0.8, substring=Substring(words=10, share=0.5))
POLICY = dataclasses.replace(load_policy("open-definition"), toxicity=None, duplicates=DUPLICATES)
STRICT = dataclasses.replace(POLICY, gates=Gates(minimum_kept=10_000))
LINES = corpus_lines(60)
LINES += [{**row, "id": f"copy-{n}"} for n, row in enumerate(LINES[:8])]
LINES += [{**row, "id": f"near-{n}", "text": row["text"] + " So it is."} for n, row in enumerate(LINES[8:20])]
LINES += [{**row, "id": f"mail-{n}", "text": f"{row['text']} To a{n}@b.org."} for n, row in enumerate(LINES[:5])]


def published(folder, source):
    """(digests of every file of two versions and of a refusal, the ledgers' rows)."""
    home = Home.at(folder / "home")
    stages = chain(home, source, POLICY, scorers=[Languages(), Quality(("basic",)), Pii(b"k" * 64)])
    given = curated(home, stages)
    first, _ = build_corpus(home, given, POLICY, Engine())
    rows = pq.read_table(first / "ledger").to_pylist()
    gone = [row["record_id"] for row in rows if row["verdict"] == "keep"][:2]
    erased = dataclasses.replace(given, suppressed=tuple(sorted([*gone, rows[5]["content_sha256"]])))
    build_corpus(home, erased, POLICY, Engine())
    with pytest.raises(Refused):
        build_corpus(home, dataclasses.replace(given, name="refused"), STRICT, Engine())
    files = [path for part in ("corpora", "refused", "stages") for path in (folder / "home" / part).rglob("*.*")]
    files = [path for path in files if path.is_file() and path.name not in ("created.json", "sources.json")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}, rows


def test_every_file_is_the_same_whatever_the_sizes_of_the_blocks(tmp_path, monkeypatch):
    path, key = tmp_path / "x.jsonl", tmp_path / "key"
    path.write_text("".join(json.dumps(row) + "\n" for row in LINES))
    key.write_text("k" * 64)
    monkeypatch.setenv("GRISTMILL_KEY_FILE", str(key))
    source = [Files(name="x", path=str(path))]
    whole, rows = published(tmp_path / "whole", source)
    rules = {row["rule"] for row in rows}
    assert {"duplicate.exact", "duplicate.near", "pii.email"} <= rules
    assert len(whole) > 30
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 7)
    monkeypatch.setattr(gate_frames, "BLOCK_ROWS", 40)
    monkeypatch.setattr(written, "ROUND_BYTES", 30_000)
    parts, again = published(tmp_path / "parts", source)
    assert again == rows
    assert parts == whole
