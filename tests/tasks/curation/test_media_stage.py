"""Images and clips through the steps of curation: every record decided, written, verified, traced, taken out again."""

import dataclasses
import hashlib
import io
import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_chain import POLICY, clip, media_chain, picture, write_files

from data_policies.load import load_policy
from data_policies.schema import Languages, Range
from tasks.curation.blocks import write_byte_blocks
from tasks.curation.media import AudioSettings, ImageSettings, MediaSettings, refused
from tasks.curation.records import PAYLOAD_SCHEMA, RECORD_SCHEMA, Engine
from tasks.curation.shards import read_index
from tasks.curation.sources.media import Audio, Images, Pairs, WebDataset
from tasks.errors import UserError
from tasks.governance.corpus import build_corpus, reopen
from tasks.governance.diff import diff
from tasks.governance.erasure import erase
from tasks.governance.ledger import read_ledger
from tasks.governance.lineage import trace
from tasks.governance.verification import verify
from tasks.home import Home

PICTURES = (
    {f"{'cat' if n % 2 else 'dog'}/{n}.png": picture(n) for n in range(12)}
    | {
        "cat/again.png": picture(1),
        "cat/lossless.bmp": picture(3, form="BMP"),  # other bytes, the same pixels: equal once made regular
        "dog/photo.jpg": picture(40, form="JPEG"),
        "dog/small.png": picture(41, 4, 4),
        "dog/broken.png": picture(42)[:200],
        "dog/nothing.png": b"",
        "dog/text.png": b"this is no image",
        "dog/notes.txt": b"passed over",
        ".hidden.png": picture(43),
    }
)
BOUNDED = dataclasses.replace(POLICY, images={"width": Range(min=8), "entropy": Range(min=1)})


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """(home, the folder of pictures, the corpus version, its ledger by file name)."""
    folder = tmp_path_factory.mktemp("images")
    home = Home.at(folder / "home")
    source = Images(name="pictures", path=str(write_files(folder / "in", PICTURES)), licence="CC0-1.0")
    version, _ = build_corpus(home, media_chain(home, [source], BOUNDED), BOUNDED, Engine())
    return home, source, version, {row["uri"]: row for row in read_ledger(version / "ledger").to_pylist()}


def test_every_file_is_a_record_and_went_where_its_rule_says(images):
    _, _, version, rows = images
    assert set(rows) == {name for name in PICTURES if not name.endswith(".txt") and not name.startswith(".")}
    fate = {name: (row["verdict"], row["rule"]) for name, row in rows.items()}
    assert fate["dog/nothing.png"] == ("quarantine", "ingest.empty")
    assert fate["dog/text.png"] == ("quarantine", "media.unsupported")
    assert fate["dog/broken.png"][0] == "quarantine"
    assert fate["dog/broken.png"][1].startswith("media.")
    assert fate["dog/small.png"] == ("drop", "image.width")
    assert (rows["dog/small.png"]["value"], rows["dog/small.png"]["threshold"]) == (4, 8)
    assert sorted([fate["cat/1.png"], fate["cat/again.png"]], key=str) == [("drop", "duplicate.exact"), ("keep", None)]
    assert ("drop", "duplicate.exact") in (fate["cat/3.png"], fate["cat/lossless.bmp"])
    assert fate["dog/photo.jpg"] == ("keep", None)
    for name, row in rows.items():
        assert row["content_sha256"] == hashlib.sha256(PICTURES[name]).hexdigest()
    gate = json.loads((version / "gate.json").read_text())
    assert gate["passed"]
    assert {"admitted.image.width.bounds", "admitted.image.entropy.bounds"} <= {
        item["expectation"] for item in gate["results"]
    }


def test_the_shards_hold_the_regular_images(images):
    from PIL import Image

    _, _, version, rows = images
    kept = {row["record_id"]: (name, row) for name, row in rows.items() if row["verdict"] == "keep"}
    found = {}
    for path in sorted((version / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        for row in read_index(version / "index" / f"{path.stem}.idx").to_pylist():
            data = path.read_bytes()[row["png.offset"] :][: row["png.length"]]
            assert data == members[f"{row['key']}.png"]
            assert set(members) >= {f"{row['key']}.json", f"{row['key']}.png"}
            found[row["key"]] = (data, json.loads(members[f"{row['key']}.json"]))
        assert len(members) == 2 * len(read_index(version / "index" / f"{path.stem}.idx"))
    assert set(found) == set(kept)
    for key, (data, about) in found.items():
        name, row = kept[key]
        assert hashlib.sha256(data).hexdigest() == row["sample_sha256"]
        assert about["label"] == name.partition("/")[0]
        assert about["licence"] == "CC0-1.0"
        original = np.asarray(Image.open(io.BytesIO(PICTURES[name])).convert("RGB"))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), original)
    assert verify(version) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # `datasets` leaves the tar open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_shards_open_for_everyone(images, tmp_path):
    import gc

    import datasets
    import webdataset

    from ssl_models.members import members

    _, _, version, rows = images
    kept = {row["record_id"] for row in rows.values() if row["verdict"] == "keep"}
    tars = sorted(str(path) for path in (version / "shards").glob("*.tar"))
    read = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode("rgb8"))
    assert {sample["__key__"] for sample in read} == kept
    assert {sample["png"].shape[2] for sample in read} == {3}
    loaded = datasets.load_dataset("webdataset", data_files={"train": tars}, split="train", cache_dir=str(tmp_path))
    assert {row["__key__"] for row in loaded} == kept
    assert {row["png"].mode for row in loaded} == {"RGB"}
    assert members(version) == {"json", "png"}
    gc.collect()  # here, where its warning is expected, and not in a later test


def test_what_another_policy_would_change_is_a_query(images):
    home, _, version, rows = images
    stricter = dataclasses.replace(BOUNDED, images={"width": Range(min=17)})
    found = diff(home, version, stricter)
    kept = sum(row["verdict"] == "keep" for row in rows.values())
    assert found["now"]["keep"] == kept
    assert found["then"]["keep"] == 0
    assert {change["then"] for change in found["changes"]} == {"drop image.width"}


def test_a_changed_pixel_is_found(images, tmp_path):
    import shutil

    _, _, version, _ = images
    copy = shutil.copytree(version, tmp_path / "v1")
    shard = sorted((copy / "shards").glob("*.tar"))[0]
    row = read_index(copy / "index" / f"{shard.stem}.idx").to_pylist()[0]
    data = bytearray(shard.read_bytes())
    data[row["png.offset"] + row["png.length"] // 2] ^= 1
    shard.write_bytes(data)
    assert {(item["record_id"], item["kind"]) for item in verify(copy)} >= {(row["key"], "changed")}


def test_everything_is_known_of_one_image_and_it_can_be_taken_out(images, tmp_path):
    home, source, version, rows = images
    one = rows["dog/4.png"]
    assert trace(home, one["record_id"])["corpora"][0]["shard"] == one["shard"]
    erase(home, [one["record_id"]], "asked to", False, lambda run_id: [])
    after = version.parent / "v2"
    assert verify(after) == []
    ledger = {row["uri"]: row for row in read_ledger(after / "ledger").to_pylist()}
    assert (ledger["dog/4.png"]["verdict"], ledger["dog/4.png"]["rule"]) == ("drop", "override.erased")
    # The same bytes as of the folder without it, under the counts of shards that are inherited.
    bare = {name: data for name, data in PICTURES.items() if name != "dog/4.png"}
    other = Home.at(tmp_path / "home")
    config = dataclasses.replace(source, path=str(write_files(tmp_path / "in", bare)))
    anew, _ = build_corpus(other, media_chain(other, [config], BOUNDED), BOUNDED, Engine())
    for path in sorted((after / "shards").glob("*.tar")):
        assert path.read_bytes() == (anew / "shards" / path.name).read_bytes()
    curated, policy = reopen(home, after)
    assert policy == BOUNDED
    assert curated.extensions == ("png",)


CLIPS = {f"voice{n % 3}/{n}.wav": clip(n) for n in range(8)} | {
    "voice0/again.flac": clip(0, form="FLAC"),
    "voice1/stereo.ogg": clip(20, channels=2, rate=16_000, form="OGG"),
    "voice2/long.wav": clip(21, seconds=3),
    "voice2/cut.flac": clip(22, form="FLAC")[:2000],
    "voice2/noise.mp3": b"\0" * 500,
}


def test_clips_become_flac_of_one_rate(tmp_path):
    import soundfile

    home = Home.at(tmp_path / "home")
    source = Audio(name="clips", path=str(write_files(tmp_path / "in", CLIPS)), licence="CC0-1.0")
    policy = dataclasses.replace(POLICY, audio={"seconds": Range(min=0.1), "clipped_share": Range(max=0.1)})
    settings = MediaSettings(audio=AudioSettings(sample_rate=4000, maximum_seconds=2))
    curated = media_chain(home, [source], policy, settings)
    version, _ = build_corpus(home, curated, policy, Engine())
    assert verify(version) == []
    rows = {row["uri"]: row for row in read_ledger(version / "ledger").to_pylist()}
    fate = {name: (row["verdict"], row["rule"]) for name, row in rows.items()}
    assert fate["voice2/long.wav"] == ("quarantine", "media.too_long")
    assert fate["voice2/noise.mp3"][0] == fate["voice2/cut.flac"][0] == "quarantine"
    assert ("drop", "duplicate.exact") in (fate["voice0/0.wav"], fate["voice0/again.flac"])
    assert fate["voice1/stereo.ogg"] == ("keep", None)
    for path in sorted((version / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".flac"):
                    samples, rate = soundfile.read(io.BytesIO(tar.extractfile(member).read()))
                    assert (rate, samples.ndim, len(samples)) == (4000, 1, 2000)


def test_the_settings_decide_the_form(tmp_path):
    home = Home.at(tmp_path / "home")
    source = Images(name="p", path=str(write_files(tmp_path / "in", {"a/1.png": picture(1)})), licence="MIT")
    forms = {}
    for form in ("png", "jpeg", "webp"):
        settings = MediaSettings(image=ImageSettings(format=form))
        curated = media_chain(home, [source], settings=settings, name=form)
        version, _ = build_corpus(home, curated, POLICY, Engine())
        assert verify(version) == []
        (path,) = (version / "shards").glob("*.tar")
        with tarfile.open(path) as tar:
            forms[form] = tar.getnames()[1].partition(".")[2]
    assert forms == {"png": "png", "jpeg": "jpg", "webp": "webp"}


def test_a_corpus_of_texts_has_no_payloads(tmp_path):
    from tasks.curation.ingest import ingest
    from tasks.curation.sources import Files

    (tmp_path / "a.txt").write_text("words")
    ingest([Files(name="texts", path=str(tmp_path / "a.txt"))], tmp_path)
    assert not (tmp_path / "payloads.parquet").exists()
    assert pq.read_schema(tmp_path / "records.parquet").remove_metadata() == RECORD_SCHEMA


def test_a_folder_without_media_is_the_users_error(tmp_path):
    from tasks.curation.ingest import source_digests

    write_files(tmp_path, {"readme.txt": b"x"})
    with pytest.raises(UserError, match="no image file"):
        source_digests([Images(name="p", path=str(tmp_path))])


def test_a_licence_file_at_the_top_is_evidence(tmp_path):
    from tasks.curation.sources import open_source

    files = {"LICENSE": b"some text", "a/1.png": picture(1), "a/COPYING": b"of a part"}
    (raw,) = open_source(Images(name="p", path=str(write_files(tmp_path, files))))
    assert raw.evidence == (("file", "some text"),)


def test_a_rule_that_does_not_exist_cannot_be_given():
    with pytest.raises(ValueError, match=r"media\.odd"):
        refused("odd", "")


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 30), st.integers(1, 60))
def test_row_groups_of_payloads_do_not_depend_on_how_they_came(sizes, cut, limit):
    import pyarrow as pa

    rows = [{"record_id": str(n), "media": "image", "payload": bytes(size)} for n, size in enumerate(sizes)]
    whole = pa.Table.from_pylist(rows, schema=PAYLOAD_SCHEMA)
    files = []
    for step in (cut, max(1, len(rows))):
        file = io.BytesIO()
        tables = (whole.slice(start, step) for start in range(0, len(rows), step))
        write_byte_blocks(tables, file, PAYLOAD_SCHEMA, limit, rows=7)
        files.append(file.getvalue())
    assert files[0] == files[1]
    read = pq.ParquetFile(io.BytesIO(files[0]))
    assert read.read().equals(whole.combine_chunks()) or not rows
    for group in range(read.num_row_groups):
        held = [len(value) for value in read.read_row_group(group)["payload"].to_pylist()]
        assert len(held) <= 7
        assert sum(held[:-1]) < limit  # it ended with the row that reached the limit, or before


ENGLISH = "The miller carries a heavy sack of grain to the village before sunrise"
CAPTIONED = {
    "1.png": picture(1), "1.txt": f"{ENGLISH}.".encode(),
    "2.png": picture(2), "2.txt": f"{ENGLISH}, ask jane.doe@kornmuehle.de about it.".encode(),
    "3.png": picture(3), "3.txt": "Der Müller trägt vor Sonnenaufgang einen schweren Sack Korn ins Dorf.".encode(),
    "4.png": picture(4), "4.txt": b"  ",
    "5.png": picture(5), "5.json": b'{"caption": "Grain", "licence": "CC-BY-NC-4.0"}',
    "6.png": picture(1), "6.txt": f"{ENGLISH}. This is another text beside the same picture.".encode(),
    "7.png": picture(1), "7.txt": f"{ENGLISH}.".encode(),
}  # fmt: skip


def test_a_caption_is_asked_what_a_text_is_asked(tmp_path):
    home = Home.at(tmp_path / "home")
    source = Pairs(name="pairs", path=str(write_files(tmp_path / "in", CAPTIONED)), licence="CC0-1.0")
    policy = dataclasses.replace(POLICY, languages=Languages(allow=("en",)), pairs={"characters": Range(max=200)})
    version, _ = build_corpus(home, media_chain(home, [source], policy), policy, Engine())
    assert verify(version) == []
    rows = {row["uri"]: row for row in read_ledger(version / "ledger").to_pylist()}
    fate = {name: (row["verdict"], row["rule"]) for name, row in rows.items()}
    assert fate["2.png"] == ("redact", "pii.email")
    assert fate["3.png"] == ("drop", "language.not_allowed")
    assert fate["4.png"] == ("keep", None)  # no text, nothing to ask
    assert fate["5.png"] == ("drop", "licence.not_allowed")
    assert fate["6.png"] == ("keep", None)  # the same picture, another text
    assert sorted([fate["1.png"], fate["7.png"]], key=str) == [("drop", "duplicate.exact"), ("keep", None)]
    texts = {}
    for path in sorted((version / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            assert [name.partition(".")[2] for name in names] == ["json", "png", "txt"] * (len(names) // 3)
            for name in names[2::3]:
                texts[name.partition(".")[0]] = tar.extractfile(name).read().decode()
    assert texts[rows["4.png"]["record_id"]] == ""
    redacted = texts[rows["2.png"]["record_id"]]
    assert "jane.doe" not in redacted
    assert redacted.startswith(ENGLISH)
    for name, row in rows.items():
        if row["shard"]:
            whole = picture_written(CAPTIONED[name]) + texts[row["record_id"]].encode()
            assert row["sample_sha256"] == hashlib.sha256(whole).hexdigest()


def test_a_caption_from_an_evaluation_set_goes_and_a_picture_without_one_stays(tmp_path):
    from tasks.curation.contamination import Contamination, Items

    home = Home.at(tmp_path / "home")
    files = {name: data for name, data in CAPTIONED.items() if name[0] in "14"} | {"8.png": picture(8)}
    source = Pairs(name="pairs", path=str(write_files(tmp_path / "in", files)), licence="CC0-1.0")
    protected = Contamination([Items("eval", ("a",), (f"{ENGLISH}.",))])
    version, _ = build_corpus(home, media_chain(home, [source], more=[protected]), POLICY, Engine())
    fate = {row["uri"]: (row["verdict"], row["rule"]) for row in read_ledger(version / "ledger").to_pylist()}
    assert fate == {"1.png": ("drop", "contamination.eval"), "4.png": ("keep", None), "8.png": ("keep", None)}


def picture_written(data: bytes) -> bytes:
    from tasks.curation.images import regularise_image

    return regularise_image(data, ImageSettings()).data


def test_captions_are_scored_for_toxicity_by_their_text(tmp_path):
    """Two texts beside one picture: the content is equal, the scores are not."""
    from tasks.curation.toxicity_stage import toxicity_stage

    files = {"1.png": picture(1), "1.txt": b"You are a stupid idiot and I hate you, you moron", "2.png": picture(1)}
    files |= {"2.txt": f"{ENGLISH}.".encode(), "3.png": picture(3)}
    home = Home.at(tmp_path / "home")
    source = Pairs(name="pairs", path=str(write_files(tmp_path / "in", files)), licence="CC0-1.0")
    policy = dataclasses.replace(POLICY, toxicity=load_policy("open-definition").toxicity)
    curated = media_chain(home, [source], POLICY)
    stage = toxicity_stage(home, curated.ingested, curated.scored, policy, Engine())
    scores = pq.read_table(f"{stage.path}/scores.parquet").to_pylist()
    uris = pq.read_table(f"{curated.ingested.path}/records.parquet", columns=["uri"])["uri"].to_pylist()
    by_name = dict(zip(uris, scores, strict=True))
    assert by_name["1.png"]["toxicity.toxicity"] > 0.5 > by_name["2.png"]["toxicity.toxicity"]
    assert by_name["3.png"]["scored_by"] == "not_needed"


def test_a_corpus_can_be_read_back_from_its_tars_beside_hostile_ones(images, tmp_path):
    """Its images are regular already and go through with the same bytes; what is refused is a row of the ledger."""
    _, _, version, rows = images
    kept = {row["sample_sha256"]: row for row in rows.values() if row["verdict"] == "keep"}
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (version / "shards").glob("*.tar"):
        (folder / path.name).write_bytes(path.read_bytes())
    with tarfile.open(folder / "zz.tar", "w") as tar:
        for name in ("../up.png", "a.png", "b.pkl"):
            info, photo = tarfile.TarInfo(name), PICTURES["dog/photo.jpg"]
            if name == "a.png":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/hosts"
            else:
                info.size = len(photo)
            tar.addfile(info, io.BytesIO(photo) if info.size else None)
    home = Home.at(tmp_path / "home")
    curated = media_chain(home, [WebDataset(name="back", path=str(folder))], name="back")
    again, manifest = build_corpus(home, curated, POLICY, Engine())
    assert verify(again) == []
    ledger = read_ledger(again / "ledger").to_pylist()
    assert manifest.counts.read == len(ledger) == len(kept) + 3
    refused = sorted(row["detail"] for row in ledger if row["verdict"] == "quarantine")
    assert refused == ["tar.executable", "tar.parent", "tar.symlink"]
    assert {row["rule"] for row in ledger if row["verdict"] == "quarantine"} == {"ingest.refused"}
    found = {row["sample_sha256"]: row for row in ledger if row["verdict"] == "keep"}
    assert set(found) == set(kept)
    for digest, row in found.items():  # where it came from is still known
        assert (row["source"], row["uri"], row["licence"]) == ("pictures", kept[digest]["uri"], "CC0-1.0")
