"""Sources of images and clips: what each finds, what it says of it, and what it refuses."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from media_chain import clip, picture, write_files

from tasks.curation.ingest import ingest
from tasks.curation.sources import open_source
from tasks.curation.sources.media import HuggingFaceMedia, Images, Pairs, WebDataset
from tasks.errors import UserError

PNG = [picture(n) for n in range(6)]


def found(config):
    """The records of a source by locator; as many came out as were found."""
    source = open_source(config)
    records = list(source)
    assert source.read_count == len(records)
    return {raw.locator: raw for raw in records}


def fates(records):
    return {name: raw.rule or "ok" for name, raw in records.items()}


def test_what_lies_beside_an_image_is_its_text_and_its_licence(tmp_path):
    files = {
        "a/1.png": PNG[1],
        "a/1.txt": b"A stone.\n",
        "a/2.png": PNG[2],
        "a/2.json": json.dumps({"caption": "Two.", "licence": "MIT", "group": "g", "label": "x"}).encode(),
        "a/3.png": PNG[3],
        "a/3.txt": "Three \xff".encode("latin-1"),
        "a/4.png": PNG[4],
        "a/4.json": b"{no json",
        "5.png": PNG[5],
        "alone.txt": b"of nothing",
    }
    records = found(Pairs(name="p", path=str(write_files(tmp_path, files)), licence="CC0-1.0"))
    assert fates(records) == {
        "5.png": "ok", "a/1.png": "ok", "a/2.png": "ok", "a/3.png": "ingest.utf8", "a/4.png": "ingest.json",
    }  # fmt: skip
    assert (records["a/1.png"].text, records["a/1.png"].label) == ("A stone.\n", "a")
    two = records["a/2.png"]
    assert (two.text, two.label, two.group, two.evidence) == ("Two.", "x", "g", (("name", "MIT"),))
    assert records["5.png"].text is None
    assert records["5.png"].evidence == (("expression", "CC0-1.0"),)
    assert records["a/1.png"].payload == PNG[1]
    assert not records["a/3.png"].text


def test_a_link_that_leads_out_is_not_followed(tmp_path):
    """Neither by an image nor by the text beside one: what it points to may be anyone's."""
    write_files(tmp_path, {"secret.txt": b"a secret", "secret.png": PNG[0], "in/1.png": PNG[1], "in/3.png": PNG[3]})
    (tmp_path / "in" / "1.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "in" / "2.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in" / "3.json").write_text("[" * 100_000)
    records = found(Pairs(name="p", path=str(tmp_path / "in")))
    assert sorted(raw.rule for raw in records.values()) == ["ingest.json"] * 3
    assert not any(raw.text or PNG[0] == raw.payload for raw in records.values())


ROWS = [
    {"media": "in/1.png", "caption": "One", "licence": "MIT"},
    {"media": "../out.png", "caption": "Escapes", "licence": "MIT"},
    {"media": "/etc/hosts", "caption": "Absolute", "licence": "MIT"},
    {"media": "pipe:id", "caption": "A command", "licence": "MIT"},
    {"media": "https://example.org/a.png", "caption": "A URL", "licence": "MIT"},
    {"media": "in/link.png", "caption": "A link that leads out", "licence": "MIT"},
    {"media": "in/none.png", "caption": "Not there", "licence": "MIT"},
    {"media": "", "caption": "Nothing", "licence": "MIT"},
]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_table_names_files_below_its_own_folder_only(tmp_path, form):
    folder = write_files(tmp_path / "in", {"in/1.png": PNG[1]})
    write_files(tmp_path, {"out.png": PNG[2]})
    (folder / "in" / "link.png").symlink_to(tmp_path / "out.png")
    path = folder / f"table.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        path.write_text("media,caption,licence\n" + "".join(f"{','.join(row.values())}\n" for row in ROWS))
    source = open_source(Pairs(name="p", path=str(path)))
    raws = list(source)
    assert source.read_count == len(raws) == len(ROWS)
    assert (raws[0].payload, raws[0].text, raws[0].label, raws[0].uri) == (PNG[1], "One", "in", "in/1.png")
    assert [raw.rule for raw in raws[1:]] == ["ingest.json"] * 5 + ["ingest.empty"] + ["ingest.json"]
    assert not any(PNG[2] == raw.payload for raw in raws)
    assert all(raw.media == "image" for raw in raws)
    ingest([Pairs(name="p", path=str(path))], tmp_path)  # it hangs together with what follows


def test_a_table_may_hold_the_bytes(tmp_path):
    rows = [
        {"id": "a", "image": {"bytes": PNG[1], "path": "a.png"}, "label": 3, "licence": "MIT"},
        {"id": "b", "image": {"bytes": None, "path": None}, "label": 4, "licence": "MIT"},
        {"id": "c", "image": {"bytes": b"", "path": None}, "label": 4, "licence": "MIT"},
        {"id": "d", "image": {"bytes": PNG[2] * 50, "path": None}, "label": 5, "licence": "MIT"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    config = Images(name="p", path=str(tmp_path), maximum_bytes=5000)
    records = found(config)
    assert [raw.rule for raw in open_source(config)] == ["", "ingest.empty", "ingest.empty", "ingest.too_large"]
    assert (records["a"].payload, records["a"].label) == (PNG[1], "3")
    assert records["d"].rule == "ingest.too_large"
    assert records["d"].payload == b""


def test_a_metadata_table_tells_of_a_folders_files(tmp_path):
    files = {"a/1.png": PNG[1], "a/2.png": PNG[2], "metadata.csv": b"file_name,licence,label\na/1.png,MIT,one\n"}
    records = found(Images(name="p", path=str(write_files(tmp_path, files)), licence="CC0-1.0"))
    assert {name: (raw.label, raw.evidence) for name, raw in records.items()} == {
        "a/1.png": ("one", (("name", "MIT"),)),
        "a/2.png": ("a", (("expression", "CC0-1.0"),)),
    }


def test_the_digest_is_of_all_that_decides(tmp_path):
    files = {"1.png": PNG[1], "1.txt": b"One"}
    config = Pairs(name="p", path=str(write_files(tmp_path, files)))
    digests = [open_source(config).digest()]
    for change in ({"1.txt": b"Uno"}, {"1.png": PNG[2]}, {"LICENSE": b"of all"}):
        write_files(tmp_path, change)
        digests.append(open_source(config).digest())
    assert len(set(digests)) == 4
    write_files(tmp_path, {"notes.md": b"not read"})
    assert open_source(config).digest() == digests[-1]


def test_the_digest_of_a_table_is_of_the_files_that_it_names(tmp_path):
    write_files(tmp_path, {"in/1.png": PNG[1], "t.csv": b"media,text\nin/1.png,One\n"})
    config = Pairs(name="p", path=str(tmp_path / "t.csv"))
    before = open_source(config).digest()
    write_files(tmp_path, {"in/1.png": PNG[2]})
    assert open_source(config).digest() != before


def tar_of(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/hosts"
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    return file.getvalue()


def test_samples_of_a_tar_are_records_and_hostile_ones_are_refused(tmp_path):
    members = [
        ("one.png", PNG[1]), ("one.txt", b" One "), ("one.json", b'{"licence": "MIT", "label": "x"}'),
        ("two.png", PNG[2]), ("two.cls", b"7"), ("two.json", b'{"id": "second", "licence": "MIT"}'),
        ("three.txt", b"no image"),
        ("four.png", PNG[3]), ("four.jpg", PNG[4]),
        ("five.png", PNG[3]), ("five.pkl", b"cos\nsystem\n"),
        ("six.png", None),
        ("../seven.png", PNG[3]),
        ("one.png", PNG[5]),
    ]  # fmt: skip
    write_files(tmp_path, {"x/a.tar": tar_of(members), "b.tar": tar_of([("z.png", PNG[5])])[:700]})
    config = WebDataset(name="w", path=str(tmp_path), captions=True, licence="CC0-1.0")
    source = open_source(config)
    raws = list(source)
    assert source.read_count == len(raws)
    fate = [(raw.uri.partition("#")[2], raw.rule, raw.detail) for raw in raws if raw.uri.startswith("x/")]
    assert [item[:2] for item in fate] == [
        ("one", ""), ("two", ""), ("three", "ingest.empty"), ("four", "ingest.json"), ("five", "ingest.refused"),
        ("six", "ingest.refused"), ("../seven.png", "ingest.refused"), ("one", "ingest.refused"),
    ]  # fmt: skip
    assert [item[2] for item in fate][4:] == ["tar.executable", "tar.symlink", "tar.parent", "tar.duplicate"]
    assert {raw.rule for raw in raws if raw.uri.startswith("b.tar")} == {"ingest.truncated"}
    one, two = (raw for raw in raws if not raw.rule)
    assert (one.text, one.label, one.locator, one.payload) == ("One", "x", "one", PNG[1])
    assert (two.label, two.locator, two.text) == ("7", "second", None)
    assert len({raw.sha256 for raw in raws if raw.rule == "ingest.refused"}) == 4
    ingest([config], tmp_path)


def test_a_local_data_set_of_images_gives_the_bytes_as_they_lie(tmp_path):
    files = {"train/cat/1.png": PNG[1], "train/dog/2.png": PNG[2], "README.md": b"---\nlicense: mit\n---\n"}
    write_files(tmp_path / "set", files)
    config = HuggingFaceMedia(name="h", path=str(tmp_path / "set"))
    raws = list(open_source(config))
    assert sorted((raw.label, raw.payload) for raw in raws) == [("cat", PNG[1]), ("dog", PNG[2])]
    assert {raw.evidence for raw in raws} == {(("name", "mit"),)}
    assert sorted(raw.uri for raw in raws) == ["train/cat/1.png", "train/dog/2.png"]


@pytest.mark.parametrize("config", [Images, Pairs, WebDataset])
def test_an_empty_folder_is_the_users_error(config, tmp_path):
    with pytest.raises(UserError, match="there is no"):
        open_source(config(name="p", path=str(tmp_path)))


def animation(frames: int, form: str = "GIF") -> bytes:
    import numpy as np
    from PIL import Image

    pictures = [Image.fromarray(np.full((10, 12, 3), 40 * n, np.uint8)) for n in range(frames)]
    file = io.BytesIO()
    pictures[0].save(
        file, form, save_all=True, append_images=pictures[1:], **({"lossless": True} if form != "GIF" else {})
    )
    return file.getvalue()


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_the_frames_of_an_animation_are_records_of_one_group(tmp_path, form):
    from PIL import Image

    name = f"a/x.{form.lower()}"
    files = {name: animation(4, form), "a/1.png": PNG[1], "a/2.png": PNG[2][:100]}
    config = Images(name="p", path=str(write_files(tmp_path, files)), split_frames=True)
    records = found(config)
    frames = [records[f"{name}#frame={n}"] for n in range(4)]
    assert set(records) == {"a/1.png", "a/2.png", *(raw.locator for raw in frames)}
    assert {raw.group for raw in frames} == {name}
    assert [Image.open(io.BytesIO(raw.payload)).convert("L").getpixel((5, 5)) for raw in frames] == [0, 40, 80, 120]
    assert records["a/2.png"].payload == files["a/2.png"]  # not to be split: as it was found
    whole = found(Images(name="p", path=str(tmp_path)))
    assert whole[name].payload == files[name]


def test_pieces_of_a_long_clip_are_records_without_its_transcript(tmp_path):
    import soundfile

    files = {"v/long.wav": clip(1, seconds=2.5), "v/long.txt": b"All of it.", "v/short.wav": clip(2, seconds=0.5)}
    files["v/short.txt"] = b"A word."
    config = Pairs(name="p", path=str(write_files(tmp_path, files)), media="audio", split_seconds=1.0)
    records = found(config)
    assert set(records) == {"v/short.wav", *(f"v/long.wav#seconds={n}" for n in ("0-1", "1-2", "2-2.5"))}
    assert records["v/short.wav"].text == "A word."
    assert {raw.text for name, raw in records.items() if "#" in name} == {None}
    whole = soundfile.read(io.BytesIO(files["v/long.wav"]), dtype="int16")[0].tolist()
    parts = [
        soundfile.read(io.BytesIO(records[f"v/long.wav#seconds={n}"].payload), dtype="int16")[0]
        for n in ("0-1", "1-2", "2-2.5")
    ]
    assert sum((part.tolist() for part in parts), []) == whole
    ingest([config], tmp_path)
