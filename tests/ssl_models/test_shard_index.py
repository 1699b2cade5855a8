import fcntl
import json
import logging
from contextlib import suppress

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hostile_tars import END, GOOD, entry, header, plain_tar
from hypothesis import given
from hypothesis import strategies as st
from small_corpora import keyed_texts, write_corpus

from ssl_models.index_files import build_index
from ssl_models.keys import sample_words
from ssl_models.reader import INDEX, SHARDS, Reader
from ssl_models.shard_cache import Cache, require_safe
from ssl_models.shard_index import Index, Keys, sort_keys

TEXTS = keyed_texts(40)


def read_all(index, **how):
    with Reader(index, 3, **how) as reader:
        return [next(reader) for _ in range(len(index) * 2)]


@given(keys=st.lists(st.text("abc", min_size=8, max_size=8) | st.text(min_size=8, max_size=12), unique=True))
def test_keys_are_sorted_by_their_bytes(keys):
    array = pa.array(keys, pa.large_string())
    assert [keys[i] for i in sort_keys(array)] == sorted(keys)
    same = [key for key in keys if len(key.encode()) == 8]
    array = pa.array(["0" * 8, *same], pa.large_string()).slice(1)  # an array that begins within its buffers
    assert [same[i] for i in sort_keys(array)] == sorted(same)


def test_keys_are_a_sequence():
    keys = Keys(pa.array(["a", "b", "c"], pa.large_string()))
    assert keys == ["a", "b", "c"]
    assert keys != ["a"]
    assert keys == Keys(keys.array)
    assert (keys[1], keys[-1], keys[1:], list(keys), keys.take(np.array([2, 0]))) == (
        "b",
        "c",
        ["b", "c"],
        [*"abc"],
        [*"ca"],
    )


@pytest.mark.parametrize("layout", ["tar", "tar in a folder without room for it"])
def test_a_missing_index_is_built_once_and_reads_the_same(tmp_path, layout, monkeypatch):
    corpus = write_corpus(tmp_path / "a", TEXTS, shards=3)
    other = write_corpus(tmp_path / "b", TEXTS, shards=3, index=False)
    if layout != "tar":
        (other / INDEX).rmdir()
        (other / INDEX).write_text("a file, so that nothing can be kept there")
    assert read_all(Index(other, "train")) == read_all(Index(corpus, "train"))
    if layout == "tar":
        built = sorted((other / INDEX).iterdir())
        assert [path.name for path in built] == [f"train-{n:06d}.idx" for n in range(3)]
        monkeypatch.setattr("ssl_models.index_files.build_index", None)  # a second time would fail
        assert read_all(Index(other, "train")) == read_all(Index(corpus, "train"))


def test_an_index_of_another_tar_is_built_anew(tmp_path):
    corpus = write_corpus(tmp_path, TEXTS, index=False)
    assert len(Index(corpus, "train")) == 40
    more = keyed_texts(60, seed=1)
    write_corpus(tmp_path, more, index=False)
    assert {d.key: d.text for d in read_all(Index(corpus, "train"))} == more


def test_words_come_from_the_index_or_from_the_keys(tmp_path):
    with_words, without = Index(write_corpus(tmp_path / "a", TEXTS, index=False), "train"), None
    without = Index(write_corpus(tmp_path / "b", TEXTS), "train")
    assert with_words.words.tolist() == without.words.tolist() == sample_words(sorted(TEXTS)).tolist()


def test_several_members_of_a_sample_are_read_and_incomplete_samples_stay_out(tmp_path):
    (tmp_path / "pairs.tar").write_bytes(
        plain_tar([("a.png", b"A"), ("a.txt", b"one"), ("b.png", b"B"), ("c.txt", b"three"), ("c.png", b"C")])
    )
    index = Index.of_tars([tmp_path / "pairs.tar"], tmp_path / "index", "png", "txt")
    assert index.keys == ["a", "c"]
    with Reader(index, 0) as reader:
        found = {reader.payload(p): reader.payload(p, "txt") for p in range(2)}
    assert found == {b"A": b"one", b"C": b"three"}
    with pytest.raises(ValueError, match=r"no column mp3\.offset"):
        Index.of_tars([tmp_path / "pairs.tar"], tmp_path / "index", "mp3")


def test_hostile_samples_are_no_part_of_an_index_and_are_counted(tmp_path, caplog):
    tar = tmp_path / "a.tar"
    tar.write_bytes(header("l.txt", 0, b"2") + GOOD + entry("p.txt") + entry("p.pkl") + entry("/x.txt") + END)
    with caplog.at_level(logging.WARNING):
        table = build_index(tar)
    assert table["key"].to_pylist() == ["good"]
    assert json.loads(table.schema.metadata[b"refused"]) == {
        "tar.absolute": 1,
        "tar.executable": 1,
        "tar.symlink": 1,
    }
    assert "3 samples are refused" in caplog.text


@pytest.mark.parametrize("broken", ["truncated", "trailing", "gzip"])
def test_a_broken_tar_has_no_index(tmp_path, broken):
    import gzip

    data = GOOD + entry("b.txt", b"y" * 5000) + END
    data = {"truncated": data[:2000], "trailing": data + b"x" * 600, "gzip": gzip.compress(data)}[broken]
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(ValueError, match="breaks at byte 1,024" if broken == "truncated" else "byte|compressed"):
        Index.of_tars([tmp_path / "a.tar"], tmp_path / "index", "txt")
    assert not (tmp_path / "index").exists()


def test_a_file_that_is_no_index_is_named(tmp_path):
    corpus = write_corpus(tmp_path, TEXTS)
    (corpus / INDEX / "train-000000.idx").write_bytes(b"no index")
    with pytest.raises(ValueError, match="no index; delete it"):
        Index(corpus, "train")


@pytest.mark.parametrize("url", ["pipe:cat /etc/passwd", "zip://a::s3://b/c", "simplecache::s3://b", "s3:b", "x"])
def test_other_urls_are_refused(url, tmp_path):
    with pytest.raises(ValueError, match="is refused"):
        require_safe(url)
    if ":" in url and "//" in url:
        with pytest.raises(ValueError, match="is refused"):
            Index.of_tars([url], tmp_path, "txt", cache=Cache(tmp_path))


@pytest.fixture
def bucket(tmp_path):
    """A corpus in fsspec's memory, as it would lie in a bucket."""
    corpus = write_corpus(tmp_path / "corpus", TEXTS, shards=4)
    system = fsspec.filesystem("memory")
    system.put(str(corpus), "/bucket", recursive=True)
    yield corpus
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("order", ["global", "blocked"])
@pytest.mark.parametrize("indexed", [True, False])
def test_remote_shards_are_read_as_local_ones(bucket, tmp_path, order, indexed):
    if not indexed:
        fsspec.filesystem("memory").rm("/bucket/index", recursive=True)
    cache = Cache(tmp_path / "cache", 10**7)
    index = Index("memory://bucket", "train", cache=cache)
    assert read_all(index, order=order, group_shards=2) == read_all(Index(bucket, "train"), order=order, group_shards=2)
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 10**7
    fetched = cache.fetched
    assert fetched == (8 if indexed else 4)  # each shard once
    again = Index("memory://bucket", "train", cache=cache)
    assert read_all(again, order=order, group_shards=2)
    assert cache.fetched == fetched
    assert not [path for path in cache.folder.iterdir() if path.name.endswith((".part", ".tmp"))]


def test_a_small_cache_streams_the_blocked_order_within_its_bound(bucket, tmp_path):
    size = (bucket / SHARDS / "train-000000.tar").stat().st_size
    cache = Cache(tmp_path / "cache", int(2.9 * size))
    seen = []
    index = Index("memory://bucket", "train", cache=cache)
    with Reader(index, 3, order="blocked", group_shards=1, memory_bytes=size) as reader:
        for _ in range(3 * len(index)):
            next(reader)
            with open(cache.folder / ".lock", "ab") as lock:  # or another shard comes while this one is counted
                fcntl.flock(lock, fcntl.LOCK_EX)
                sizes = {}
                for path in cache.folder.iterdir():
                    with suppress(FileNotFoundError):  # renamed in this moment: one file under two names
                        sizes[path.stat().st_ino] = path.stat().st_size
                seen.append(sum(sizes.values()))
    assert max(seen) <= cache.maximum_bytes
    assert cache.fetched > 8
    with pytest.raises(ValueError, match="read in the blocked order"):
        Reader(index, 0)
    with pytest.raises(ValueError, match="fewer shards a group"):
        Reader(index, 0, order="blocked", group_shards=2, memory_bytes=size)
    with pytest.raises(ValueError, match="the cache holds"):
        Reader(index, 0, order="blocked", group_shards=4)


def test_a_changed_object_is_fetched_anew_and_a_killed_part_taken_over(bucket, tmp_path):
    cache = Cache(tmp_path / "cache", 10**7)
    url = "memory://bucket/shards/train-000000.tar"
    first = cache.fetch(url)
    assert first.read_bytes() == (bucket / SHARDS / "train-000000.tar").read_bytes()
    fsspec.filesystem("memory").pipe("/bucket/shards/train-000000.tar", b"new content")
    name = cache.name(url)
    (cache.folder / f".{name}.part").write_bytes(b"left by a process that was killed")
    assert cache.fetch(url).read_bytes() == b"new content"
    assert not list(cache.folder.glob(".*.part"))
    with pytest.raises(ValueError, match="do not fit into a cache"):
        Cache(tmp_path / "tiny", 5).fetch(url)
    with pytest.raises(ValueError, match="no such object"):
        cache.fetch("memory://bucket/none.tar")


def test_what_was_used_last_stays(bucket, tmp_path):
    import os

    urls = [f"memory://bucket/shards/train-{n:06d}.tar" for n in range(4)]
    size = max((bucket / SHARDS / f"train-{n:06d}.tar").stat().st_size for n in range(4))
    cache = Cache(tmp_path / "cache", 3 * size)
    paths = [cache.fetch(url) for url in urls[:3]]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.fetch(urls[0]) == paths[0]
    cache.fetch(urls[3])
    assert [path.exists() for path in paths] == [True, False, True]
