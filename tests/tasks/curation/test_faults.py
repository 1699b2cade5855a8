"""The closed ledger under faults: a reason for every row, and the other rows' bytes as they are without the fault."""

import dataclasses
import gzip
import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from benchmarks.chain import chain, curated
from data_policies.load import load_policy
from tasks import engine
from tasks.curation.assemble import assemble
from tasks.curation.ingest import ingest
from tasks.curation.languages import Languages
from tasks.curation.pii import Pii
from tasks.curation.quality import Quality
from tasks.curation.sources import Files
from tasks.curation.written import write_in_rounds, written_texts
from tasks.governance.ledger import ADMITTED, count_verdicts
from tests_support import corpus_lines

GOOD = corpus_lines(30)[:30]
POLICY = dataclasses.replace(load_policy("open-definition"), toxicity=None)


def line(name, text, **more):
    return json.dumps({"id": name, "licence": "MIT", "text": text, **more}).encode() + b"\n"


def lines(count, salt):
    """Different valid rows, all admissible."""
    return b"".join(line(f"{salt}-{n}", f"{GOOD[n % 30]['text']} {salt} number {n} of many.") for n in range(count))


def parquet(rows):
    file = io.BytesIO()
    texts = [f"{GOOD[n % 30]['text']} p{n}" for n in range(rows)]
    table = pa.table({"id": [f"p{n}" for n in range(rows)], "text": texts})
    pq.write_table(table, file, row_group_size=10, use_dictionary=False, compression="none", write_page_checksum=True)
    return file.getvalue()


def broken_group(data):
    """Bytes of the second row group's texts overwritten; the headers and the footer whole."""
    column = pq.read_metadata(io.BytesIO(data)).row_group(1).column(1)
    end = column.data_page_offset + column.total_compressed_size
    return data[: end - 200] + b"x" * 100 + data[end - 100 :]


INCOMPRESSIBLE = b"".join(line(f"r{n}", os.urandom(9000).hex()) for n in range(40))  # several blocks of zstd

#: name: (file, its bytes, {ingest rule: rows}, rows that are good)
FAULTS = {
    "bad UTF-8": ("a.jsonl", lines(3, "a") + b'{"id": "x", "text": "one \xff byte"}\n' + lines(2, "b"), {"utf8": 1}, 5),
    "truncated JSON": ("b.jsonl", lines(2, "c") + b'{"id": "x", "text": "ends too ear', {"json": 1}, 2),
    "truncated gzip": ("c.jsonl.gz", gzip.compress(INCOMPRESSIBLE + lines(30, "d"))[:-9], {"truncated": 1}, None),
    "truncated zstd": ("d.jsonl.zst", zstandard.compress(INCOMPRESSIBLE + lines(30, "e"))[:-9], {"truncated": 1}, None),
    "no gzip at all": ("e.jsonl.gz", b"not gzip", {"truncated": 1}, 0),
    "truncated Parquet": ("f.parquet", parquet(30)[:-20], {"truncated": 1}, 0),
    "broken Parquet pages": ("g.parquet", broken_group(parquet(30)), {"truncated": 10}, 20),
    "empty text": ("h.jsonl", line("x", "") + line("y", " \n\t ") + line("z", None) + lines(1, "h"), {"empty": 3}, 1),
    "NUL bytes": (
        "i.jsonl",
        line("x", "a\0b") + b'{"id": "y", "text": "\0"}\n' + lines(1, "i"),
        {"utf8": 1, "json": 1},
        1,
    ),
    "lone surrogates": ("j.jsonl", b'{"id": "x", "text": "a \\ud800 b"}\n' + lines(1, "j"), {"utf8": 1}, 1),
    "one-byte rows": ("k.jsonl", b"x\n" * 10_000 + lines(1, "k"), {"json": 10_000}, 1),
    "one-byte texts": ("l.jsonl", line("l", "x") * 2_000, {}, 2_000),
    "duplicate ids": ("m.jsonl", line("same", GOOD[0]["text"]) * 3 + line("same", GOOD[1]["text"]), {}, 4),
    "not an object": ("n.jsonl", b'[1]\nnull\n"text"\n' + lines(1, "n"), {"json": 3}, 1),
    "bad CSV": ("o.csv", b'id,text\n1,"never closed\n2,fine words\n3,a,b\n', {"json": 2}, 1),
    "a large row": ("p.jsonl", line("x", "word " * 3_000_000) + lines(1, "p"), {"too_large": 1}, 1),
}


def sources(folder, faults):
    (folder / "good.jsonl").write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in GOOD))
    found = [Files(name="good", path=str(folder / "good.jsonl"))]
    for number, fault in enumerate(faults):
        name, data, _, _ = FAULTS[fault]
        (folder / name).write_bytes(data)
        found.append(Files(name=f"fault-{number}", path=str(folder / name), licence="MIT"))
    return found


def rows_of(folder):
    return pq.read_table(folder / "records.parquet").to_pylist()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The records of the good rows alone, by id."""
    folder = tmp_path_factory.mktemp("clean")
    ingest(sources(folder, []), folder)
    return {row["record_id"]: row for row in rows_of(folder)}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_row_is_a_record_and_the_others_are_unharmed(fault, clean, tmp_path):
    _, _, rules, good = FAULTS[fault]
    ingest(sources(tmp_path, [fault]), tmp_path)
    rows = rows_of(tmp_path)
    read = {item["name"]: item["records"] for item in json.loads((tmp_path / "sources.json").read_text())}
    assert sum(read.values()) == len(rows) == len({row["record_id"] for row in rows})
    assert {row["record_id"]: row for row in rows if row["source"] == "good"} == clean
    others = [row for row in rows if row["source"] != "good"]
    assert Counter(row["ingest_rule"] for row in others if row["ingest_rule"]) == {
        f"ingest.{rule}": count for rule, count in rules.items()
    }
    assert all(row["text"] is None and row["ingest_detail"] for row in others if row["ingest_rule"])
    whole = sum(not row["ingest_rule"] for row in others)
    assert whole == good if good is not None else whole > 0


def outcome(folder, given, policy=POLICY, **more):
    """(the ledger's rows, the bytes of every shard, the stages)."""
    from tasks.home import Home

    home = Home.at(folder / "home")
    stages = chain(home, given, policy, **more)
    made = curated(home, stages)
    rows = assemble(made, policy)
    kept = rows.filter(pa.compute.is_in(rows["verdict"], pa.array(ADMITTED)))
    texts = written_texts(made.ingested, rows, policy)
    write_in_rounds(kept, texts, folder / "out", {"train": 1, "validation": 1}, engine.Engine())
    return rows, {path.name: path.read_bytes() for path in (folder / "out" / "shards").iterdir()}, stages


@pytest.fixture(scope="module", autouse=True)
def _one_key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_text("k" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRISTMILL_KEY_FILE", str(path))
        yield


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """The outcome of the good rows alone."""
    folder = tmp_path_factory.mktemp("without")
    return outcome(folder, sources(folder, []))


def test_all_faults_together_close_the_ledger_and_change_no_shard(without, tmp_path):
    """Faults that leave no admissible row: the shards are, byte for byte, those of the good rows."""
    chosen = ["no gzip at all", "truncated Parquet", "one-byte rows", "one-byte texts"]
    rows, shards, stages = outcome(tmp_path, sources(tmp_path, chosen))
    read = json.loads(
        (tmp_path / "home" / "stages" / f"ingest-{stages['ingest'].digest[:16]}" / "sources.json").read_text()
    )
    counts = count_verdicts(rows)
    assert sum(counts.values()) == sum(item["records"] for item in read) == len(rows) == 30 + 1 + 1 + 10_001 + 2_000
    assert all(row["rule"] for row in rows.select(["verdict", "rule"]).to_pylist() if row["verdict"] not in ADMITTED)
    ours = rows.filter(pa.compute.equal(rows["source"], "good"))
    assert ours.to_pylist() == without[0].to_pylist()
    assert shards == without[1]


class Faulty:
    """A scorer that does something else with one text."""

    def __init__(self, inner, victim, act):
        self.inner, self.victim, self.act = inner, victim, act
        self.name, self.VERSION, self.inputs, self.schema = inner.name, inner.VERSION, inner.inputs, inner.schema

    def config(self):
        return self.inner.config()

    def score(self, batch):
        if self.victim in batch["text"].to_pylist():
            self.act()
        return self.inner.score(batch)


def throw():
    raise KeyError("the text itself")


def hang():
    threading.Event().wait()


@pytest.mark.parametrize("name", ["languages", "quality", "pii"])
@pytest.mark.parametrize("act", [throw, hang])
def test_a_scorer_that_fails_on_a_row_costs_that_row(name, act, without, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "ROW_SECONDS", 0.3)
    monkeypatch.setattr(engine, "SLOWEST_BYTES", 1 << 30)
    victim = GOOD[4]["text"]
    plain = (Languages(), Quality(("basic",)), Pii(b"k" * 64))
    scorers = [Faulty(scorer, victim, act) if scorer.name == name else scorer for scorer in plain]
    for scorer in plain:  # what is loaded when it is first used is no part of the time
        scorer.score(pa.table({"text": ["warm"]}))
    rows, _, stages = outcome(tmp_path, sources(tmp_path, []), scorers=scorers)
    by_id = {row["record_id"]: row for row in rows.to_pylist()}
    (bad,) = [row for row in by_id.values() if row["rule"] == f"error.{name}"]
    assert bad["verdict"] == "quarantine"
    assert bad["detail"] == ("KeyError" if act is throw else "TimeoutError")
    assert bad["sample_sha256"] is None
    others = [row for row in without[0].to_pylist() if row["record_id"] != bad["record_id"]]
    assert [by_id[row["record_id"]] for row in others] == others
    # A time-out is no cache of anything; an exception is the row's own.
    from tasks.home import Home

    again = chain(Home.at(tmp_path / "home"), sources(tmp_path, []), POLICY, scorers=plain)
    assert again[name].reused is (act is throw)
    assert (again[name].digest == stages[name].digest) is (act is throw)


KILLED = """
import dataclasses, os, sys
from pathlib import Path
from benchmarks.chain import chain
from tasks.curation.quality import Quality
from tasks.curation.sources import Files
from tasks.home import Home
from data_policies.load import load_policy
inner = Quality._measure
def measure(self, text):
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), 9)
    return inner(self, text)
Quality._measure = measure
policy = dataclasses.replace(load_policy("open-definition"), toxicity=None)
stages = chain(Home.at(sys.argv[1] + "/home"), [Files(name="good", path=sys.argv[1] + "/good.jsonl")], policy)
print(*sorted(f"{name} {stage.digest}" for name, stage in stages.items()), sep="\\n")
"""


def test_a_worker_that_is_killed_loses_nothing(without, tmp_path):
    sources(tmp_path, [])
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run([*command, "kill"], capture_output=True, text=True, check=False)
    assert killed.returncode == -9
    left = {path.name.partition("-")[0] for path in (tmp_path / "home" / "stages").glob("[a-z]*")}
    assert left == {"ingest", "licences", "languages"}
    done = subprocess.run([*command, "live"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == sorted(f"{name} {stage.digest}" for name, stage in without[2].items())
    for name, stage in without[2].items():
        mine = tmp_path / "home" / "stages" / f"{name}-{stage.digest[:16]}"
        for file in sorted(mine.glob("*.parquet")):
            assert file.read_bytes() == (type(mine)(stage.path) / file.name).read_bytes(), name
    assert not list((tmp_path / "home" / "stages").glob(".*"))


@pytest.mark.slow
def test_a_row_of_a_hundred_megabytes(clean, tmp_path):
    given = sources(tmp_path, [])
    with (tmp_path / "huge.jsonl").open("wb") as file:
        file.write(b'{"id": "huge", "licence": "MIT", "text": "')
        for _ in range(100):
            file.write(b"words " * 166_667)
        file.write(b'"}\n' + lines(1, "after"))
    ingest([*given, Files(name="huge", path=str(tmp_path / "huge.jsonl"))], tmp_path)
    rows = rows_of(tmp_path)
    assert {row["record_id"]: row for row in rows if row["source"] == "good"} == clean
    assert Counter(row["ingest_rule"] for row in rows if row["source"] == "huge") == {"ingest.too_large": 1, "": 1}
