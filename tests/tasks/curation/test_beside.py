"""Files side by side: the same table whatever the row groups and the blocks are, and no row beside another's."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.curation.beside import Part, side_by_side


def table(count, name, order=1):
    ids = pa.array([f"{n:04d}" for n in range(count)][::order], pa.string())
    return pa.table({"record_id": ids, name: pa.array(range(count), pa.int64()), "error": pa.array([""] * count)})


@given(st.integers(0, 40), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_blocks_of_any_size_are_the_whole(tmp_path_factory, count, rows, one, other):
    folder = tmp_path_factory.mktemp("parts")
    pq.write_table(table(count, "a"), folder / "a.parquet", row_group_size=one)
    pq.write_table(table(count, "b"), folder / "b.parquet", row_group_size=other)
    parts = [Part(folder / "a.parquet", "first", ["a"]), Part(folder / "b.parquet", "second")]
    blocks = list(side_by_side(parts, rows))
    assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert len(blocks) == max(1, -(-count // rows))
    whole = pa.concat_tables(blocks)
    assert whole.column_names == ["record_id", "a", "b", "error.second"]
    assert whole.select(["record_id", "a", "b"]).equals(
        table(count, "a").select(["record_id", "a"]).append_column("b", whole["a"])
    )


@pytest.mark.parametrize("other", [table(6, "b", -1), table(5, "b"), table(7, "b"), table(0, "b")])
def test_other_records_or_another_order_are_refused(tmp_path, other):
    pq.write_table(table(6, "a"), tmp_path / "a.parquet")
    pq.write_table(other, tmp_path / "b.parquet")
    parts = [Part(tmp_path / "a.parquet", "first"), Part(tmp_path / "b.parquet", "second")]
    with pytest.raises(RuntimeError, match="second"):
        list(side_by_side(parts, 3))
