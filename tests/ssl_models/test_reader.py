import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpora import keyed_texts, write_corpus

from ssl_models.reader import INDEX, SHARDS, Index, Reader, scan_tar


@pytest.fixture(scope="module")
def texts():
    return keyed_texts(60)


@pytest.fixture(scope="module")
def corpus(texts, tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), texts, shards=3)


def test_each_epoch_has_every_document_once_with_its_own_text(corpus, texts):
    with Reader(Index(corpus, "train"), seed=5) as reader:
        epochs = [[next(reader) for _ in texts] for _ in range(3)]
    for number, documents in enumerate(epochs):
        assert {d.key: d.text for d in documents} == texts
        assert {d.epoch for d in documents} == {number}
    assert [d.position for epoch in epochs for d in epoch] == list(range(180))
    orders = [[d.key for d in epoch] for epoch in epochs]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_reader_at_a_position_goes_on_as_the_first_would_have(corpus):
    index = Index(corpus, "train")
    with Reader(index, seed=1) as whole, Reader(index, seed=1, position=97) as late:
        expected = [next(whole) for _ in range(130)][97:]
        assert [next(late) for _ in range(33)] == expected
        assert late.read(3) == whole.read(3)
        assert late.position == 130


def test_the_order_depends_on_the_seed_and_not_on_shards_or_index(texts, corpus, tmp_path):
    other = Index(write_corpus(tmp_path, texts, shards=1, index=False), "train")
    index = Index(corpus, "train")
    assert index.keys == other.keys
    assert np.array_equal(index.order(3, 2), other.order(3, 2))
    assert not np.array_equal(index.order(3, 2), index.order(4, 2))
    with Reader(index, 0) as one, Reader(other, 0) as two:
        assert [next(one).text for _ in range(60)] == [next(two).text for _ in range(60)]


@settings(max_examples=30, deadline=None)
@given(removed=st.sets(st.integers(0, 59), min_size=1, max_size=20), epoch=st.integers(0, 3), seed=st.integers(0, 9))
def test_removing_documents_moves_no_other(corpus, removed, epoch, seed):
    whole = Index(corpus, "train")
    left = object.__new__(Index)
    kept = [i for i in range(60) if i not in removed]
    left.keys, left.words = [whole.keys[i] for i in kept], whole.words[kept]
    before = [whole.keys[i] for i in whole.order(seed, epoch) if i not in removed]
    assert [left.keys[i] for i in left.order(seed, epoch)] == before


def test_the_order_is_a_fair_shuffle(corpus):
    index = Index(corpus, "train")
    ranks = np.array([np.argsort(index.order(seed, 0)) for seed in range(400)])
    assert abs(ranks.mean(0) - 29.5).max() < 4.5  # 5 standard errors of a uniform rank's mean
    correlation = np.corrcoef(ranks.T)
    assert abs(correlation[~np.eye(60, dtype=bool)]).max() < 0.27


def test_other_splits_and_other_members_stay_out(corpus, texts, tmp_path):
    write_corpus(tmp_path, texts, "train")
    write_corpus(tmp_path, {"f" * 32: "held out"}, "validation")
    assert len(Index(tmp_path, "train")) == 60
    assert Index(tmp_path, "validation").keys == ["f" * 32]
    assert scan_tar(tmp_path / SHARDS / "train-000000.tar", "png").num_rows == 0


@pytest.mark.parametrize("broken", ["no shards", "column", "short", "utf8", "twice", "empty"])
def test_a_broken_corpus_is_named(tmp_path, texts, broken):
    says = {"no shards": "there are no", "column": "no column txt.offset", "short": "shorter than its index"}
    says |= {"utf8": "is no UTF-8", "twice": "two samples", "empty": "are empty"}
    if broken == "no shards":
        (tmp_path / SHARDS).mkdir()
    elif broken == "empty":
        write_corpus(tmp_path, {})
    else:
        write_corpus(tmp_path, texts)
    tar = tmp_path / SHARDS / "train-000000.tar"
    if broken == "column":
        table = pa.table({"key": ["a"]})
        with pa.ipc.new_file(tmp_path / INDEX / "train-000000.idx", table.schema) as writer:
            writer.write_table(table)
    if broken == "short":
        tar.write_bytes(tar.read_bytes()[:4096])
    if broken == "utf8":
        key = min(texts)
        payload = texts[key].encode()
        tar.write_bytes(tar.read_bytes().replace(payload, b"\xff" + payload[1:]))
    if broken == "twice":
        write_corpus(tmp_path / "more", texts)
        (tmp_path / "more" / SHARDS / tar.name).rename(tmp_path / SHARDS / "train-000001.tar")

    def read_all():
        with Reader(Index(tmp_path, "train"), seed=0) as reader:
            return [next(reader) for _ in texts]

    with pytest.raises(ValueError, match=says[broken]):
        read_all()
    if broken == "short":
        with Reader(Index(tmp_path, "train"), seed=0) as reader, pytest.raises(ValueError, match=says[broken]):
            reader.take(0, 60)


@pytest.mark.parametrize("group", [1, 2, 8])
def test_the_blocked_order_reads_each_shard_once_from_front_to_back(texts, tmp_path, group, monkeypatch):
    corpus = write_corpus(tmp_path, texts, shards=5)
    index = Index(corpus, "train")
    read = []
    whole = type(index.files).whole
    monkeypatch.setattr(type(index.files), "whole", lambda files, number: read.append(number) or whole(files, number))
    monkeypatch.setattr(type(index.files), "pread", None)
    memory = group * max(path.stat().st_size for path in index.files.locations)
    with Reader(index, 4, order="blocked", group_shards=group, memory_bytes=memory) as reader:
        epochs = [[next(reader) for _ in texts] for _ in range(2)]
        for documents in epochs:
            assert {d.key: d.text for d in documents} == texts
        if group < 5:
            assert sorted(read[:5]) == sorted(set(read))  # within an epoch each one once
            assert reader._held_bytes <= memory
        else:
            assert sorted(read) == [0, 1, 2, 3, 4]  # they all stay
    with Reader(index, 4, 75, order="blocked", group_shards=group, memory_bytes=memory) as late:
        assert [next(late) for _ in range(45)] == [*epochs[0], *epochs[1]][75:]


@pytest.mark.parametrize("order", ["global", "blocked"])
def test_samples_come_together_as_they_come_one_by_one(corpus, order):
    index = Index(corpus, "train")
    with Reader(index, 2, order=order, group_shards=2) as reader:
        got = reader.take(50, 130)
        each = [reader.read(position) for position in range(50, 130)]
        assert got.position == 50
        assert got.keys == [d.key for d in each]
        assert got.words.tolist() == [d.word for d in each]
        assert got.epochs.tolist() == [d.epoch for d in each]
        assert [payload.decode() for payload in got.payloads] == [d.text for d in each]
        assert reader.position == 0


def test_more_shards_than_open_files(texts, tmp_path):
    index = Index(write_corpus(tmp_path, texts, shards=30), "train")
    index.files._limit = 4
    with Reader(index, 0) as reader:
        assert {d.key: d.text for d in (next(reader) for _ in texts)} == texts
        assert len(index.files._open) <= 4
