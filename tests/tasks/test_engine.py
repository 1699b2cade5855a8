"""The data plane: no row lost, none changed by its neighbours, whatever a scorer does."""

import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import engine
from tasks.curation import blocks
from tasks.engine import require_same_rows, safe_score, score_table


class Length:
    """A scorer that raises on the rows it is told to, and returns nested columns too."""

    name, VERSION, inputs = "length", 1, ("text",)
    schema = pa.schema([("n", pa.int64()), ("words", pa.list_(pa.struct([("w", pa.string())])))])

    def __init__(self, bad=(), short=False):
        self.bad, self.short = set(bad), short

    def config(self):
        return {}

    def score(self, batch):
        texts = batch["text"].to_pylist()
        if self.bad & set(texts):
            raise KeyError("a secret text")
        if self.short:
            texts = texts[:1]
        return pa.table(
            [[len(text) for text in texts], [[{"w": w} for w in text.split()] for text in texts]], schema=self.schema
        )


def table(count):
    return pa.table(
        {
            "record_id": [f"{i:06d}" for i in range(count)],
            "text": pa.array([f"text {i}" for i in range(count)], pa.large_string()),
        }
    )


def test_every_row_comes_back_sorted():
    given = table(5000)
    shuffled = given.take(pa.array(list(reversed(range(5000)))))
    scored = score_table(shuffled, Length(), batch_size=100)
    assert scored["record_id"].equals(given["record_id"])
    assert scored["n"].to_pylist() == [len(text) for text in given["text"].to_pylist()]
    assert scored["words"][7].as_py() == [{"w": "text"}, {"w": "7"}]
    assert set(scored["error"].to_pylist()) == {""}


def test_a_row_that_raises_stands_alone_and_its_message_stays_out():
    scored = score_table(table(300), Length(bad=["text 7", "text 250"]), batch_size=100)
    bad = {row["record_id"]: row for row in scored.to_pylist() if row["error"]}
    assert set(bad) == {"000007", "000250"}
    assert all(row["error"] == "KeyError" and row["n"] is None for row in bad.values())
    assert "secret" not in str(scored.to_pylist())


def test_a_scorer_that_returns_too_few_rows_is_not_broadcast():
    scores = safe_score(Length(short=True), table(4).drop_columns(["record_id"]))
    assert len(scores) == 4  # each row alone is one row: the halving finds the right answer
    assert scores["n"].to_pylist() == [6, 6, 6, 6]


class Hangs(Length):
    """A scorer that never comes back from some rows."""

    def score(self, batch):
        if self.bad & set(batch["text"].to_pylist()):
            threading.Event().wait()
        return super().score(batch)


def test_a_row_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr(engine, "ROW_SECONDS", 0.2)
    monkeypatch.setattr(engine, "SLOWEST_BYTES", 1 << 30)
    given = table(120)
    hanging = Hangs(bad=["text 7", "text 70"])
    scored = score_table(given, hanging, batch_size=50)
    hung = {row["record_id"]: row for row in scored.to_pylist() if row["error"]}
    assert {name: row["error"] for name, row in hung.items()} == {"000007": "TimeoutError", "000070": "TimeoutError"}
    assert all(row["n"] is None for row in hung.values())
    others = [row for row in scored.to_pylist() if not row["error"]]
    assert others == [row for row in score_table(given, Length()).to_pylist() if row["record_id"] not in hung]
    assert engine.transient(scored["error"], scored["record_id"]) is not None
    assert engine.transient(pa.chunked_array([["", "KeyError"]]), pa.chunked_array([["a", "b"]])) is None


def test_the_time_that_is_allowed_grows_with_the_text(monkeypatch):
    short = pa.table({"text": ["a"]})
    long = pa.table({"text": ["a" * 1_000_000]})
    assert engine.allowed_seconds(short) < 61
    assert engine.allowed_seconds(long) > 200
    assert engine.allowed_seconds(pa.table({"text": ["a", "b"]})) > 120
    monkeypatch.setenv("GRISTMILL_ROW_SECONDS", "5")
    assert engine.allowed_seconds(short) < 6


def test_blocks_are_scored_as_the_whole_is(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 70)
    given = table(500)
    pq.write_table(given, tmp_path / "t.parquet", row_group_size=30)
    found = blocks.FileBlocks(tmp_path / "t.parquet")
    scorer = Length(bad=["text 3"])
    schema = engine.output_schema(scorer)
    blocks.write_blocks(engine.score_blocks(found, scorer), tmp_path / "a.parquet", schema, 100)
    blocks.write_blocks(iter([score_table(given, scorer)]), tmp_path / "b.parquet", schema, 100)
    assert pq.read_table(tmp_path / "a.parquet").equals(score_table(given, scorer))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    footer = pq.read_metadata(tmp_path / "a.parquet")
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [100] * 5


def test_no_rows():
    assert len(score_table(table(0), Length())) == 0


def test_progress_adds_up():
    done, lock = [], threading.Lock()

    def advance(rows):
        with lock:
            done.append(rows)

    score_table(table(1000), Length(), progress=advance, batch_size=100)
    assert sum(done) == 1000


def test_lost_rows_are_an_error():
    with pytest.raises(RuntimeError, match="3 rows went in and 2 came out"):
        require_same_rows(table(3), table(2), "step")


def test_in_a_thread_it_is_the_same():
    results = []
    thread = threading.Thread(target=lambda: results.append(score_table(table(500), Length())))
    thread.start()
    thread.join()
    assert results[0].equals(score_table(table(500), Length()))
