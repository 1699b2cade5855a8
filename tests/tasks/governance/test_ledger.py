import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.governance.ledger import LEDGER_SCHEMA, ROW_GROUP, VERDICTS, count_verdicts, read_ledger, write_ledger


def rows(ids, verdicts=None) -> pa.Table:
    verdicts = verdicts or ["keep"] * len(ids)
    span = {"type": "email", "start": 1, "end": 5, "action": "redact", "value_hmac": "ab"}
    lines = [
        {"record_id": name, "verdict": verdict, "rules": ["pii.email"], "spans": [span], "value": 0.5, "offset": number}
        for number, (name, verdict) in enumerate(zip(ids, verdicts, strict=True))
    ]
    return pa.Table.from_pylist(lines, schema=LEDGER_SCHEMA)


@settings(max_examples=25)
@given(ids=st.lists(st.text("0123456789abcdef", min_size=1, max_size=4), unique=True, max_size=30), seed=st.integers())
def test_the_bytes_do_not_depend_on_the_order_of_the_rows(tmp_path_factory, ids, seed):
    folder, table = tmp_path_factory.mktemp("ledger"), rows(ids)
    order = list(range(len(ids)))
    random.Random(seed).shuffle(order)
    pieces = pa.concat_tables([table.slice(number, 1) for number in order]) if ids else table
    one, two = (
        write_ledger(table, folder / "one"),
        write_ledger(pieces.select(reversed(pieces.column_names)), folder / "two"),
    )
    assert one.read_bytes() == two.read_bytes()
    blocks = [table.sort_by("record_id").slice(at, 1 + seed % 7) for at in range(0, len(ids), 1 + seed % 7)]
    assert write_ledger(iter(blocks), folder / "three").read_bytes() == one.read_bytes()
    again = read_ledger(folder / "two")
    assert again.schema == LEDGER_SCHEMA
    assert again["record_id"].to_pylist() == sorted(ids)
    assert again.to_pylist() == sorted(table.to_pylist(), key=lambda row: row["record_id"])


def test_row_groups_are_20_000_with_statistics_that_a_look_up_can_skip_by(tmp_path):
    ids = [f"{number:032x}" for number in range(ROW_GROUP + 1)]
    path = write_ledger(rows(ids), tmp_path)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [20_000, 1]
    column = metadata.row_group(1).column(0)
    assert (column.path_in_schema, column.compression) == ("record_id", "ZSTD")
    assert (column.statistics.min, column.statistics.max) == (ids[-1], ids[-1])


def test_two_rows_with_one_id_are_refused(tmp_path):
    with pytest.raises(ValueError, match="share a record_id"):
        write_ledger(rows(["b", "a", "b"]), tmp_path)
    for blocks in ("ab", "bc"), ("ab", "aa"), ("b", "a"):
        with pytest.raises(ValueError, match="share a record_id"):
            write_ledger(iter([rows(list(ids)) for ids in blocks]), tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


def test_a_missing_column_is_refused(tmp_path):
    with pytest.raises(KeyError):
        write_ledger(rows(["a"]).drop_columns(["policy_sha256"]), tmp_path)


@given(st.lists(st.sampled_from(VERDICTS), max_size=40))
def test_every_verdict_is_counted_also_when_there_is_none(verdicts):
    table = rows([str(number) for number in range(len(verdicts))], verdicts)
    assert count_verdicts(table) == {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def test_a_column_added_later_is_null_in_an_older_ledger(tmp_path):
    row = dict.fromkeys(LEDGER_SCHEMA.names) | {"record_id": "a", "verdict": "keep", "rules": [], "spans": []}
    write_ledger(pa.Table.from_pylist([row], schema=LEDGER_SCHEMA), tmp_path)
    old = pq.read_table(tmp_path / "part-00000.parquet").drop_columns(["bytes"])
    pq.write_table(old, tmp_path / "part-00000.parquet")
    assert read_ledger(tmp_path, ["record_id", "bytes"]).to_pylist() == [{"record_id": "a", "bytes": None}]
    assert read_ledger(tmp_path).schema.equals(LEDGER_SCHEMA)
