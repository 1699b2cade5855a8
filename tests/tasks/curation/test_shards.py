"""Shards: everyone's readers open them, every byte is where the index says, removing one document touches one."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.curation.shards import (
    INDEX_SCHEMA,
    JSON_KEYS,
    MTIME,
    OWNER,
    PLACE_SCHEMA,
    SAMPLE_SCHEMA,
    VERSION,
    _header_maker,
    estimate_bytes,
    read_index,
    shard_count,
    shard_of,
    write_shard,
    write_shards,
)
from tasks.governance.manifest import ShardRef

COUNTS = {"train": 4, "validation": 2}
TEXTS = [
    "",
    "a",
    "x" * 511,
    "y" * 512,
    "z" * 513,
    "Größe 一二三 \U0001f600",
    "line\r\nline\n\ttab\x00nul",
    "q" * 20_000,
]


def samples_of(count: int) -> pa.Table:
    rows = []
    for i in range(count):
        record_id = hashlib.sha256(f"sample {i}".encode()).hexdigest()[:32]
        row = {key: "" if i % 3 == 0 else f"{key} {i} é" for key in JSON_KEYS}
        row |= {"id": record_id, "label": None if i % 7 == 0 else "lab.el"}
        split = "validation" if i % 10 == 0 else "train"
        rows.append(row | {"record_id": record_id, "split": split, "text": f"{TEXTS[i % len(TEXTS)]} {i}"})
    return pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    samples = samples_of(200)
    return folder, samples, write_shards(samples, folder, COUNTS)


@given(st.text(max_size=40), st.integers(0, 12))
def test_shard_is_the_leading_bits_of_the_hash(record_id, bits):
    binary = f"{int(hashlib.sha256(record_id.encode()).hexdigest(), 16):0256b}"
    assert shard_of(record_id, 2**bits) == int(binary[:bits] or "0", 2)


@pytest.mark.parametrize("count", [0, -1, 3, 6, 2**33])
def test_only_powers_of_two(count):
    with pytest.raises(ValueError, match="power of two"):
        shard_of("a", count)


@given(st.integers(0, 10**13), st.integers(1, 10**9))
def test_shard_count_is_the_least_power_of_two(total, target):
    count = shard_count(total, target)
    assert count & (count - 1) == 0
    assert total <= count * target
    assert count == 1 or total > count // 2 * target


def test_estimate_is_near_the_truth(written):
    _, samples, shards = written
    true = sum(shards.places["length"].to_pylist())
    assert abs(estimate_bytes(samples["text"]) - true) <= 0.1 * true
    assert estimate_bytes(samples["text"].slice(0, 0)) == 0


def test_every_sample_is_where_the_index_and_the_places_say(written):
    folder, samples, shards = written
    expected = {row["record_id"]: row for row in samples.to_pylist()}
    assert shards.places.schema == PLACE_SCHEMA
    assert shards.places["record_id"].to_pylist() == sorted(expected)
    indexes = {path.stem: read_index(path) for path in (folder / "index").iterdir()}
    assert all(index.schema == INDEX_SCHEMA for index in indexes.values())
    by_key = {row["key"]: row | {"shard": name} for name, index in indexes.items() for row in index.to_pylist()}
    assert by_key.keys() == expected.keys()
    for place in shards.places.to_pylist():
        sample, at = expected[place["record_id"]], by_key[place["record_id"]]
        assert (
            place["shard"]
            == at["shard"]
            == f"{sample['split']}-{shard_of(place['record_id'], COUNTS[sample['split']]):06d}"
        )
        assert place["split"] == sample["split"]
        assert (place["offset"], place["length"], place["sample_sha256"]) == (at["offset"], at["length"], at["sha256"])
        text = sample["text"].encode()
        assert at["sha256"] == hashlib.sha256(text).hexdigest()
        with open(folder / "shards" / f"{place['shard']}.tar", "rb") as file:
            assert os.pread(file.fileno(), at["txt.length"], at["txt.offset"]) == text
            facts = json.loads(os.pread(file.fileno(), at["json.length"], at["json.offset"]))
            entries = os.pread(file.fileno(), place["length"], place["offset"])
        assert list(facts) == list(JSON_KEYS)
        assert facts == {key: sample[key] or "" for key in JSON_KEYS}
        # The slice alone is a tar of this sample, whole.
        with tarfile.open(fileobj=io.BytesIO(entries + bytes(1024))) as tar:
            assert tar.getnames() == [f"{place['record_id']}.json", f"{place['record_id']}.txt"]


def test_index_is_sorted_and_covers_the_tar(written):
    folder, _, shards = written
    for ref in shards.refs:
        index = read_index(folder / "index" / f"{ref.name}.idx")
        keys, offsets, lengths = (index[name].to_pylist() for name in ("key", "offset", "length"))
        assert keys == sorted(keys)
        assert offsets == [0, *np.cumsum(lengths)[:-1].tolist()]
        with tarfile.open(folder / "shards" / f"{ref.name}.tar") as tar:
            members = tar.getmembers()
        assert [member.name for member in members] == [f"{key}.{end}" for key in keys for end in ("json", "txt")]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
            (315_532_800, 0, 0, "gristmill", "gristmill", 0o444)
        }
        data = [offset for row in index.to_pylist() for offset in (row["json.offset"], row["txt.offset"])]
        assert [member.offset_data for member in members] == data


def test_refs_are_those_of_the_files(written):
    folder, samples, shards = written
    assert sorted(path.stem for path in (folder / "shards").iterdir()) == [ref.name for ref in shards.refs]
    assert sum(ref.samples for ref in shards.refs) == len(samples)
    for ref in shards.refs:
        content = (folder / "shards" / f"{ref.name}.tar").read_bytes()
        split = ref.name.rpartition("-")[0]
        digest = hashlib.sha256(content).hexdigest()
        samples_there = len(read_index(folder / "index" / f"{ref.name}.idx"))
        assert ref == ShardRef(name=ref.name, split=split, sha256=digest, bytes=len(content), samples=samples_there)


def test_same_bytes_for_another_order_of_rows(written, tmp_path):
    folder, samples, shards = written
    shuffled = samples.take(pa.array(np.random.default_rng(0).permutation(len(samples))))
    again = write_shards(shuffled, tmp_path, COUNTS)
    assert files_of(tmp_path) == files_of(folder)
    assert again.places.equals(shards.places)
    assert again.refs == shards.refs


def test_golden_output(written):
    """A change of a byte needs a new VERSION. (Of the index its rows: the file's bytes are pyarrow's affair.)"""
    folder, _, shards = written
    parts = [[ref.model_dump() for ref in shards.refs], shards.places.to_pydict()]
    parts += [read_index(folder / "index" / f"{ref.name}.idx").to_pydict() for ref in shards.refs]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    assert {VERSION: digest} == {1: "9a83f65a9e18b428251b8ab1044104595c417a85e024bdd0a110bf5159c1d90d"}


@pytest.mark.slow
def test_ray_writes_the_same_bytes(written, tmp_path):
    folder, samples, shards = written
    program = (
        "import sys, pyarrow.parquet as pq\n"
        "from pathlib import Path\n"
        "from tasks.curation.records import Engine\n"
        "from tasks.curation.shards import write_shards\n"
        "samples = pq.read_table(sys.argv[1])\n"
        f"write_shards(samples, Path(sys.argv[2]), {COUNTS}, Engine(ray_address='local'))\n"
    )
    pq.write_table(samples, tmp_path / "samples.parquet")
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", program, str(tmp_path / "samples.parquet"), str(tmp_path / "out")]
    subprocess.run(command, capture_output=True, text=True, check=True)
    assert files_of(tmp_path / "out") == files_of(folder)


@settings(max_examples=4, deadline=None)
@given(at=st.integers(0, 199))
def test_removing_a_document_changes_one_shard(written, tmp_path_factory, at):
    folder, samples, shards = written
    fewer = pa.concat_tables([samples.slice(0, at), samples.slice(at + 1)])
    target = tmp_path_factory.mktemp("fewer")
    write_shards(fewer, target, COUNTS)
    before, after = files_of(folder), files_of(target)
    gone = samples["record_id"][at].as_py()
    place = next(row for row in shards.places.to_pylist() if row["record_id"] == gone)
    assert {name for name in before if before[name] != after.get(name)} == {
        f"shards/{place['shard']}.tar",
        f"index/{place['shard']}.idx",
    }
    # What precedes it in its shard stays where it was.
    tar = f"shards/{place['shard']}.tar"
    assert before[tar][: place["offset"]] == after[tar][: place["offset"]]
    tail = slice(
        place["offset"] + place["length"],
        sum(read_index(folder / "index" / f"{place['shard']}.idx")["length"].to_pylist()),
    )
    assert before[tar][tail] == after[tar][place["offset"] :][: tail.stop - tail.start]


def test_a_shard_without_samples_is_not_written(tmp_path):
    shards = write_shards(samples_of(3), tmp_path, {"train": 1024, "validation": 1})
    assert len(shards.refs) <= 3
    assert len(list((tmp_path / "shards").iterdir())) == len(list((tmp_path / "index").iterdir())) == len(shards.refs)


def test_no_samples(tmp_path):
    shards = write_shards(samples_of(0), tmp_path, {})
    assert shards.refs == []
    assert shards.places.num_rows == 0


def test_a_split_without_a_count_and_a_sample_without_text(tmp_path):
    with pytest.raises(ValueError, match="split 'validation'"):
        write_shards(samples_of(20), tmp_path, {"train": 1})
    samples = samples_of(2)
    with pytest.raises(ValueError, match="no text"):
        write_shards(samples.set_column(2, "text", pa.nulls(2, pa.large_string())), tmp_path, COUNTS)


def test_a_layout_that_the_index_would_not_describe_is_refused(tmp_path):
    """A key too long for a plain header would need further blocks: the index must not lie."""
    samples = samples_of(1).set_column(0, "record_id", pa.array(["k" * 150]))
    (tmp_path / "shards").mkdir()
    (tmp_path / "index").mkdir()
    with pytest.raises(RuntimeError, match="a name of 155 bytes"):
        write_shard(samples, tmp_path, "train-000000")
    assert not list((tmp_path / "shards").glob("*.tar"))


def test_id_is_the_record_id_when_nothing_else_is_given(written, tmp_path):
    _, samples, shards = written
    assert write_shards(samples.drop_columns(["id"]), tmp_path, COUNTS).refs == shards.refs


def test_progress_counts_every_sample(tmp_path):
    done: list[int] = []
    write_shards(samples_of(50), tmp_path, COUNTS, progress=done.append)
    assert sum(done) == 50


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves each tar to be closed by its destructor
def test_webdataset_reads_them_under_wds_secure(written):
    import webdataset

    assert webdataset.utils.enforce_security
    folder, samples, _ = written
    text = webdataset.handle_extension("txt", lambda data: data.decode())
    facts = webdataset.handle_extension("json", json.loads)
    urls = sorted(str(path) for path in (folder / "shards").iterdir())
    data = webdataset.WebDataset(urls, shardshuffle=False).decode(text, facts, pre=[], post=[])
    found = {row["__key__"]: [row["txt"], row["json"], sorted(name for name in row if name[0] != "_")] for row in data}
    expected = {
        row["record_id"]: [row["text"], {key: row[key] or "" for key in JSON_KEYS}, ["json", "txt"]]
        for row in samples.to_pylist()
    }
    del data
    gc.collect()
    assert found == expected


def test_datasets_reads_them_offline(written, tmp_path):
    from datasets import load_dataset

    folder, samples, _ = written
    files = {split: sorted(str(path) for path in (folder / "shards").glob(f"{split}-*.tar")) for split in COUNTS}
    data = load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path))
    expected = {row["record_id"]: row for row in samples.to_pylist()}
    found = {}
    for split in COUNTS:
        for row in data[split]:
            assert expected[row["__key__"]]["split"] == split
            found[row["__key__"]] = row
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert row["txt"] == expected[key]["text"]
        assert row["json"] == {name: expected[key][name] or "" for name in JSON_KEYS}


def test_the_bytes_are_those_of_webdatasets_writer(tmp_path):
    """webdataset's own writer, given the same members, writes the same tar."""
    import webdataset

    for folder in ("shards", "index"):
        (tmp_path / folder).mkdir()
    samples = samples_of(60)
    samples = samples.filter(pa.compute.equal(samples["split"], "train"))
    write_shard(samples, tmp_path, "ours")
    with open(tmp_path / "theirs.tar", "wb") as file:
        tar = webdataset.TarWriter(
            file, user=OWNER, group=OWNER, mode=0o444, mtime=MTIME, compress=False, encoder=False
        )
        for sample in samples.sort_by("record_id").to_pylist():
            facts = json.dumps({key: sample[key] or "" for key in JSON_KEYS}, ensure_ascii=False, separators=(",", ":"))
            tar.write({"__key__": sample["record_id"], "json": facts.encode(), "txt": sample["text"].encode()})
        tar.close()
    assert (tmp_path / "shards" / "ours.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()


@given(st.integers(0, 8**11 - 1), st.text("abcdef0123456789.", min_size=1, max_size=99))
def test_headers_are_those_of_tarfile(size, name):
    info = tarfile.TarInfo(name)
    info.uname = info.gname = OWNER
    info.mode, info.mtime, info.size = 0o444, MTIME, size
    assert _header_maker()(name.encode(), size) == info.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize(("name", "size"), [(b"", 1), (b"x" * 100, 1), (b"x", 8**11)])
def test_what_a_header_cannot_hold_is_refused(name, size):
    with pytest.raises(RuntimeError, match="tar member"):
        _header_maker()(name, size)
