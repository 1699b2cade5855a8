import gzip
import io
import json
import logging

import fsspec
import pytest
import torch
from hostile_tars import END, GOOD, entry, header, plain_tar
from PIL import Image

from ssl_models.streaming import open_webdataset


def picture(value):
    file = io.BytesIO()
    Image.new("RGB", (4, 3), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def tars(tmp_path):
    for shard in range(2):
        rows = []
        for n in range(shard * 3, shard * 3 + 3):
            rows += [(f"{n}.png", picture(n)), (f"{n}.json", json.dumps({"n": n}).encode()), (f"{n}.cls", b"%d" % n)]
        (tmp_path / f"{shard}.tar").write_bytes(plain_tar([*rows, (f"{n}x.txt", b"text")]))
    return [tmp_path / "0.tar", tmp_path / "1.tar"]


def test_samples_stream_decoded_through_webdataset(tars):
    import webdataset as wds

    got = list(open_webdataset(tars))
    pictures = [sample for sample in got if "png" in sample]
    assert [s["cls"] for s in pictures] == [s["json"]["n"] for s in pictures] == list(range(6))
    assert all(torch.equal(s["png"][:, 0, 0], torch.tensor([s["cls"], 0, 0], dtype=torch.uint8)) for s in pictures)
    assert [s["txt"] for s in got if "txt" in s] == ["text", "text"]
    shuffled = [s["__key__"] for s in open_webdataset(tars, decode=False).compose(wds.shuffle(10, seed=1))]
    assert sorted(shuffled) == ["0", "1", "2", "2x", "3", "4", "5", "5x"] != shuffled


def test_webdataset_itself_is_made_safe(tars, tmp_path):
    import webdataset as wds

    open_webdataset(tars)
    sample = {"__key__": "a", "pyd": b"\x80\x04N."}
    with pytest.raises(wds.autodecode.DecodingError) as caught:
        list(wds.DataPipeline(lambda: iter([sample]), wds.decode(partial=False)))
    assert "not allowed for security" in str(caught.value.__cause__)
    with pytest.raises(ValueError):
        list(wds.WebDataset(f"pipe:touch {tmp_path}/ran", shardshuffle=False))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("url", ["pipe:touch ran", "-", "zip://a::file://b.tar", "ssh://a/b.tar"])
def test_urls_that_do_more_than_read_are_refused(url):
    with pytest.raises(ValueError, match="is refused"):
        open_webdataset([url])


def test_hostile_samples_are_left_out_and_told(tmp_path, caplog):
    tar = tmp_path / "a.tar"
    tar.write_bytes(GOOD + entry("p.txt") + entry("p.pyd", b"\x80\x04N.") + header("../l.txt", 0, b"2") + END)
    told = []
    assert [s["txt"] for s in open_webdataset([tar], refused=lambda url, s: told.append((s.key, s.reason)))] == ["good"]
    assert told == [("p", "tar.executable"), ("../l.txt", "tar.symlink")]
    with caplog.at_level(logging.WARNING):
        assert len(list(open_webdataset([tar]))) == 1
    assert "refused: tar.executable" in caplog.text


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (("a.xyz", b"?"), "no decoder is allowed for .xyz"),
        (("a.json", b"[" * 2_000_000), "a.json: is no such thing"),
        (("a.txt", b"\xff secret"), "a.txt: is no such thing"),
        (("a.cls", b"secret"), "a.cls: is no such thing"),
        (("a.jpg", b"secret"), "a.jpg: .*no image"),
    ],
)
def test_members_that_are_not_what_they_say_are_named_without_their_content(tmp_path, member, says):
    (tmp_path / "a.tar").write_bytes(plain_tar([member]))
    with pytest.raises(ValueError, match=says) as caught:
        list(open_webdataset([tmp_path / "a.tar"]))
    assert "secret" not in str(caught.value)


def test_a_gzip_and_a_remote_tar_stream_alike_and_a_broken_one_is_said(tars, tmp_path):
    data = tars[0].read_bytes()
    (tmp_path / "0.tar.gz").write_bytes(gzip.compress(data))
    fsspec.filesystem("memory").pipe("/streaming/0.tar", data)
    expected = [s["__key__"] for s in open_webdataset(tars[:1])]
    for url in (tmp_path / "0.tar.gz", "memory://streaming/0.tar"):
        assert [s["__key__"] for s in open_webdataset([url])] == expected
    fsspec.filesystem("memory").pipe("/streaming/0.tar", data[:2000])
    with pytest.raises(ValueError, match=r"the tar breaks at byte .*tar\.truncated"):
        list(open_webdataset(["memory://streaming/0.tar"]))
