"""The records table: closed, with ids that faults, order and machines do not change."""

import json
import random
import tracemalloc

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.curation import collect
from tasks.curation import ingest as module
from tasks.curation.ingest import evidence_id, ingest, source_digests
from tasks.curation.records import EVIDENCE_SCHEMA, RECORD_SCHEMA, Raw, record_id
from tasks.curation.sources import Files
from tasks.errors import UserError


def run(folder, *sources, progress=None):
    folder.mkdir(exist_ok=True)
    ingest(sources, folder, progress)
    return pq.read_table(folder / "records.parquet").to_pylist()


def source(path, name="s", **config):
    return Files(name=name, path=str(path), **config)


def write(path, rows):
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path


def test_the_three_files(tmp_path):
    path = write(
        tmp_path / "x.jsonl", [{"id": "a", "text": "caf\u00e9", "licence": "MIT", "language": "fr"}, {"text": "b"}]
    )
    rows = run(tmp_path / "out", source(path))
    table = pq.read_table(tmp_path / "out" / "records.parquet")
    assert table.schema.remove_metadata() == RECORD_SCHEMA
    assert table["record_id"].to_pylist() == sorted(table["record_id"].to_pylist())
    first = next(row for row in rows if row["text"] == "caf\u00e9")
    sha256 = "850f7dc43910ff890f8879c0ed26fe697c93a067ad93a7d50f466a7028a9bf4e"
    assert first == {
        "record_id": record_id("s", "a", sha256, 0), "source": "s", "uri": "x.jsonl#a", "group": "", "label": "",
        "content_sha256": sha256, "bytes": 5, "text": "caf\u00e9", "evidence_id": evidence_id((("name", "MIT"),)),
        "language_declared": "fr", "ingest_rule": "", "ingest_detail": "",
    }  # fmt: skip
    evidence = pq.read_table(tmp_path / "out" / "evidence.parquet")
    assert evidence.schema.remove_metadata() == EVIDENCE_SCHEMA
    assert evidence.to_pylist() == sorted(
        [
            {"evidence_id": evidence_id((("name", "MIT"),)), "fields": [{"field": "name", "value": "MIT"}]},
            {"evidence_id": evidence_id(()), "fields": []},
        ],
        key=lambda row: row["evidence_id"],
    )
    (about,) = json.loads((tmp_path / "out" / "sources.json").read_text())
    digest = source_digests([source(path)])[0]["digest"]
    assert about == {"name": "s", "kind": "files", "digest": digest, "records": 2, "bytes": path.stat().st_size}


ROW = st.fixed_dictionaries(
    {"id": st.sampled_from("abc"), "text": st.sampled_from(["x", "y"])},
    optional={"licence": st.sampled_from(["MIT", "ISC"]), "label": st.sampled_from("pq")},
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_ids_and_what_they_stand_for_do_not_depend_on_the_order_of_the_lines(tmp_path, rows, chance):
    first = run(tmp_path / "a", source(write(tmp_path / "x.jsonl", rows)))
    chance.shuffle(rows)
    second = run(tmp_path / "a", source(write(tmp_path / "x.jsonl", rows)))
    assert first == second
    assert len({row["record_id"] for row in first}) == len(rows)
    for name in ("records.parquet", "evidence.parquet"):
        assert (tmp_path / "a" / name).exists()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.binary(max_size=30).filter(lambda row: b"\n" not in row and row.strip()), min_size=1, max_size=4),
    st.lists(st.integers(0, 5), min_size=4, max_size=4),
)
def test_faults_leave_the_ids_of_the_others_as_they_were(tmp_path, faults, places):
    good = [{"id": str(n), "text": f"text {n}"} for n in range(4)] + [{"text": "without id"}, {"text": "without id"}]
    clean = {row["record_id"]: row["text"] for row in run(tmp_path / "a", source(write(tmp_path / "x.jsonl", good)))}
    rows = list(good)
    for place, fault in zip(places, faults, strict=False):
        rows.insert(place, b"!" + fault)  # never JSON
    mixed = run(tmp_path / "a", source(write(tmp_path / "x.jsonl", rows)))
    assert {row["record_id"]: row["text"] for row in mixed if not row["ingest_rule"]} == clean
    assert len({row["record_id"] for row in mixed}) == len(rows)
    assert {row["text"] for row in mixed if row["ingest_rule"]} == {None}


def test_equal_rows_are_told_apart_by_rank(tmp_path):
    rows = [{"id": "a", "text": "x"}] * 3 + [{"id": "a", "text": "x", "licence": "MIT"}]
    found = run(tmp_path / "a", source(write(tmp_path / "x.jsonl", rows)))
    sha256 = found[0]["content_sha256"]
    assert sorted(row["record_id"] for row in found) == sorted(record_id("s", "a", sha256, rank) for rank in range(4))


def test_a_row_may_name_its_own_source(tmp_path):
    rows = [{"id": "a", "text": "x", "source": "theirs"}, {"id": "a", "text": "x"}]
    found = run(tmp_path / "a", source(write(tmp_path / "x.jsonl", rows)))
    assert {row["source"] for row in found} == {"theirs", "s"}
    assert {row["record_id"] for row in found} == {
        record_id(name, "a", found[0]["content_sha256"], 0) for name in ("theirs", "s")
    }


def test_same_bytes_for_the_same_input_under_another_folder(tmp_path):
    rows = [{"id": str(n), "text": f"text {n % 7}", "label": str(n % 3)} for n in range(12_000)]
    random.Random(0).shuffle(rows)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(tmp_path / f"out-{name}", source(write(tmp_path / name / "x.jsonl", rows)))
    for name in ("records.parquet", "evidence.parquet", "sources.json"):
        assert (tmp_path / "out-one" / name).read_bytes() == (tmp_path / "out-two" / name).read_bytes()
    footer = pq.ParquetFile(tmp_path / "out-one" / "records.parquet").metadata
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [5000, 5000, 2000]
    assert pc.min_max(pq.read_table(tmp_path / "out-one" / "records.parquet")["bytes"])["min"].as_py() == 6


def test_sorted_in_parts_it_is_the_same_file(tmp_path, monkeypatch):
    rows = [{"id": str(n % 900), "text": f"text {n % 700} " * (n % 40), "label": str(n % 3)} for n in range(3_000)]
    path = write(tmp_path / "x.jsonl", [*rows, {"text": "same"}, {"text": "same"}, {"text": "\ud800"}])
    run(tmp_path / "whole", source(path))
    monkeypatch.setattr(collect, "ROWS", 170)
    monkeypatch.setattr(collect, "_FLUSH_BYTES", 20_000)
    monkeypatch.setattr(collect, "SORTED_BYTES", 100_000)
    run(tmp_path / "parts", source(path))
    whole, parts = (pq.read_table(tmp_path / name / "records.parquet") for name in ("whole", "parts"))
    assert parts.equals(whole)
    assert len(set(whole["record_id"].to_pylist())) == 3_003


def test_an_empty_or_missing_source_writes_nothing(tmp_path):
    full = source(write(tmp_path / "x.jsonl", [{"text": "a"}]), "full")
    empty = source(write(tmp_path / "y.jsonl", [b"", b"  "]), "empty")
    for sources, message in [
        ([full, empty], "'empty' holds no records"),
        ([full, source(tmp_path / "none.jsonl", "gone")], "no such file"),
        ([full, full], "two sources are called 'full'"),
    ]:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        with pytest.raises(UserError, match=message) as caught:
            ingest(sources, out)
        assert caught.value.exit_code == 2
        assert list(out.iterdir()) == []
    with pytest.raises(UserError):
        source_digests([source(tmp_path / "none.jsonl")])


class Lossy:
    """A source that finds two records and yields one."""

    name, read_count = "lossy", 0

    def __iter__(self):
        self.read_count += 2
        yield Raw("a", "a", "text")

    def digest(self):
        return "0" * 64

    def total_bytes(self):
        return 1


def test_a_lost_record_stops_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "open_source", lambda config: Lossy())
    with pytest.raises(RuntimeError, match="2 records were found and 1 came out"):
        ingest([source("x")], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_text_of_fifty_megabytes_is_held_back_in_bounded_memory(tmp_path):
    with (tmp_path / "x.jsonl").open("wb") as file:
        file.write(b'{"id":"a","text":"a"}\n{"id":"huge","text":"')
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n{"id":"b","text":"b"}\n')
    tracemalloc.start()
    found = run(tmp_path / "out", source(tmp_path / "x.jsonl", maximum_text_bytes=100_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    assert {row["text"]: row["ingest_rule"] for row in found} == {"a": "", "b": "", None: "ingest.too_large"}
    assert sum(row["bytes"] for row in found) == 50_000_000 + len('{"id":"huge","text":""}') + 2


def test_progress_counts_every_record(tmp_path):
    steps = []
    run(
        tmp_path / "a",
        source(write(tmp_path / "x.jsonl", [{"text": str(n)} for n in range(1234)])),
        progress=steps.append,
    )
    assert sum(steps) == 1234
    assert len(steps) > 1


def test_odd_file_names_are_storable(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    with open(bytes(folder) + b"/caf\xe9.txt", "w") as file:
        file.write("text")
    (row,) = run(tmp_path / "a", source(folder))
    assert row["uri"] == "caf\\udce9.txt"
