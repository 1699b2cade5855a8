import pytest
from s3_server import put, s3_server
from small_corpora import keyed_texts, write_corpus

from ssl_models.reader import Index, Reader
from ssl_models.shard_cache import Cache
from ssl_models.streaming import open_webdataset

TEXTS = keyed_texts(40)


@pytest.fixture
def server(monkeypatch):
    with s3_server(monkeypatch):
        yield


def test_a_corpus_in_s3_is_read_as_a_local_one(server, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", TEXTS, shards=4)
    (corpus / "index" / "train-000002.idx").unlink()
    files = {f"small/{path.relative_to(corpus)}": path.read_bytes() for path in corpus.glob("*/*")}
    put("reader", files)
    cache = Cache(tmp_path / "cache", 10**7)
    index = Index("s3://reader/small", "train", cache=cache)
    for order in ("global", "blocked"):
        with (
            Reader(index, 1, order=order, group_shards=2) as remote,
            Reader(Index(corpus, "train"), 1, order=order, group_shards=2) as local,
        ):
            assert [next(remote) for _ in range(90)] == [next(local) for _ in range(90)]
    assert cache.fetched == 3 + 4  # indexes and shards, once each
    streamed = {s["__key__"]: s["txt"] for s in open_webdataset(["s3://reader/small/shards/train-000001.tar"])}
    assert streamed == {key: TEXTS[key] for key in sorted(TEXTS)[1::4]}


def test_a_bucket_without_shards_is_said(server, tmp_path):
    put("empty", {"a": b""})
    with pytest.raises(ValueError, match="there are no train"):
        Index("s3://empty/nothing", "train", cache=Cache(tmp_path))
