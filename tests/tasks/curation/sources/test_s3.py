"""Sources by s3:// URLs, from a server on loopback: what a local folder gives, digests included."""

import tarfile

import pytest
from media_chain import picture, write_files
from s3_server import put, s3_server

from tasks.curation.sources import Files, open_source
from tasks.curation.sources.media import Images, Pairs, WebDataset
from tasks.errors import UserError

PNG = [picture(n) for n in range(4)]
FILES = {
    "pictures/cat/1.png": PNG[0],
    "pictures/cat/1.txt": b"A cat.",
    "pictures/dog/2.png": PNG[1],
    "pictures/LICENSE": b"A licence.",
    "table/in/3.png": PNG[2],
    "table/t.csv": b"media,text,licence\nin/3.png,Three,MIT\n../pictures/dog/2.png,Out,MIT\n",
    "texts/a.jsonl": b'{"id": "a", "text": "words", "licence": "MIT"}\n',
}
CONFIGS = {
    "images": (Images, "pictures", {}),
    "pairs": (Pairs, "pictures", {}),
    "table": (Pairs, "table/t.csv", {}),
    "tars": (WebDataset, "tars", {"captions": True, "licence": "MIT"}),
    "texts": (Files, "texts", {}),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    local = write_files(folder / "local", FILES)
    (local / "tars").mkdir()
    with tarfile.open(local / "tars" / "x.tar", "w") as tar:
        for name in ("cat/1.png", "cat/1.txt"):
            tar.add(local / "pictures" / name, arcname=f"one{name[-4:]}")
    with pytest.MonkeyPatch.context() as patch, s3_server(patch):
        put("bucket", FILES | {"tars/x.tar": (local / "tars" / "x.tar").read_bytes()})
        yield local


@pytest.mark.parametrize("case", CONFIGS)
def test_a_bucket_gives_what_a_folder_gives(places, case):
    make, path, more = CONFIGS[case]
    here = open_source(make(name="x", path=str(places / path), **more))
    there = open_source(make(name="x", path=f"s3://bucket/{path}", **more))
    assert list(there) == list(here)
    assert there.read_count == here.read_count > 0
    assert (there.digest(), there.total_bytes()) == (here.digest(), here.total_bytes())


def test_a_bucket_that_is_not_there_is_the_users_error(places):
    with pytest.raises(UserError):
        open_source(Images(name="x", path="s3://nowhere/pictures"))
