"""Contact sheets: who is on them, what their pixels are, and that an erased picture leaves them."""

import dataclasses
import hashlib
import io
import json
import re

import numpy as np
import pytest
from media_chain import POLICY, clip, media_chain, picture, write_files
from PIL import Image

from tasks.curation import audio_pictures
from tasks.curation.records import Engine
from tasks.curation.sources.media import Audio, Images
from tasks.governance import contact_sheets
from tasks.governance.contact_sheets import FOLDER, read_sheets, write_sheets
from tasks.governance.contact_tiles import COLUMNS, HEIGHT, WIDTH, Tile, draw_sheet, shrink
from tasks.governance.corpus import build_corpus
from tasks.governance.erasure import erase
from tasks.governance.ledger import read_ledger
from tasks.governance.report import write_report
from tasks.governance.verification import verify

NARROW = dataclasses.replace(POLICY, images={"width": {"min": 10}})


def sheet_pixels(folder, sheet):
    return np.asarray(Image.open(folder / FOLDER / sheet["file"]))


def place_of(number):
    """Left and top of the tile on a sheet; the numbers of the drawing, said once more."""
    return 10 + number % COLUMNS * (WIDTH + 10), 30 + number // COLUMNS * (HEIGHT + 38)


def shown(pixels, number, width=WIDTH, height=HEIGHT):
    left, top = place_of(number)
    left, top = left + (WIDTH - width) // 2, top + (HEIGHT - height) // 2
    return pixels[top : top + height, left : left + width]


def ids_on(folder):
    return {record["record_id"] for sheet in read_sheets(folder) for record in sheet["records"]}


def publish(home, files, tmp_path, source=Images, policy=POLICY, **changes):
    folder = write_files(tmp_path / "in", files)
    chain = media_chain(home, [source(name="s", path=str(folder), licence="MIT")], policy, **changes)
    place, _ = build_corpus(home, chain, policy, Engine())
    return place


def media_stage_of(home):
    return next(path for path in home.stages.glob("media-*") if "duplicates" not in path.name)


@pytest.fixture
def mixed(home, tmp_path):
    """50 good pictures, 15 too narrow, two that are broken."""
    files = {f"good-{n}.png": picture(n) for n in range(50)}
    files |= {f"narrow-{n}.png": picture(100 + n, width=6) for n in range(15)}
    files |= {"cut.png": picture(200)[:90], "none.jpg": b"no image"}
    return publish(home, files, tmp_path, policy=NARROW)


def test_each_rule_has_its_sheet_of_the_records_with_the_least_hashes(home, mixed):
    sheets = write_sheets(home, mixed)
    rows = {}
    for row in read_ledger(mixed / "ledger").to_pylist():
        rows.setdefault((row["verdict"], row["rule"] or ""), []).append(row["record_id"])
    assert {(sheet["verdict"], sheet["rule"]): sheet["of"] for sheet in sheets} == {k: len(v) for k, v in rows.items()}
    assert len(rows) == 4
    for sheet in sheets:
        everyone = sorted(rows[sheet["verdict"], sheet["rule"]], key=lambda one: hashlib.sha256(one.encode()).digest())
        limit = 36 if sheet["verdict"] == "keep" else 12
        assert [record["record_id"] for record in sheet["records"]] == everyone[:limit]
    names = {path.name for path in (mixed / FOLDER).iterdir()}
    assert names == {sheet["file"] for sheet in sheets} | {"sheets.json"}
    assert "drop-image.width.png" in names
    assert verify(mixed) == []


def test_the_tiles_hold_the_pictures_and_broken_ones_are_blank(home, mixed, tmp_path):
    rows = read_ledger(mixed / "ledger").to_pylist()
    names = {row["record_id"]: row["uri"].rpartition("/")[2] for row in rows}
    for sheet in write_sheets(home, mixed):
        pixels = sheet_pixels(mixed, sheet)
        for number, record in enumerate(sheet["records"]):
            name = names[record["record_id"]]
            if sheet["rule"].startswith("media."):
                tile = shown(pixels, number)
                assert (tile[:30] == [0xE4, 0xE0, 0xDA]).all()
                assert (tile != [0xE4, 0xE0, 0xDA]).any()  # the reason
            else:
                original = np.asarray(Image.open(tmp_path / "in" / name))
                expected = original.repeat(10, 0).repeat(10, 1)  # 16 x 12 and 6 x 12 by 10
                assert (shown(pixels, number, expected.shape[1], expected.shape[0]) == expected).all()


def test_they_are_drawn_once_and_the_same_again(home, mixed, monkeypatch):
    write_sheets(home, mixed)
    first = {path.name: path.read_bytes() for path in (mixed / FOLDER).iterdir()}
    with monkeypatch.context() as patched:
        patched.setattr(contact_sheets, "_draw", None)
        write_sheets(home, mixed)
    monkeypatch.setattr(contact_sheets, "VERSION", -1)
    write_sheets(home, mixed)
    again = {path.name: path.read_bytes() for path in (mixed / FOLDER).iterdir()}
    assert again.pop("sheets.json") != first.pop("sheets.json")  # the version stands in it
    assert again == first
    assert not list(mixed.parent.glob(".*"))


def test_an_erased_picture_leaves_the_sheets_of_every_version_and_corpus(home, tmp_path):
    files = {f"{n}.png": picture(n) for n in range(8)}
    first = publish(home, files, tmp_path)
    refusing = dataclasses.replace(POLICY, images={"width": {"min": 10}, "height": {"min": 13}})
    files |= {"tall.png": picture(50, height=20)}
    other = publish(home, files, tmp_path, policy=refusing, name="other")  # refuses what the first keeps
    gone = read_ledger(first / "ledger")["record_id"][0].as_py()
    for folder in (first, other):
        write_sheets(home, folder)
        assert gone in ids_on(folder)
    erase(home, [gone], "asked to", False, lambda run_id: [])
    second = first.with_name("v2")
    assert not (first / FOLDER).exists()
    assert not (other / FOLDER).exists()
    assert len(ids_on(second)) == 7
    for folder in (first, other):  # the page of an old version draws them again, without it
        write_report(home, folder)
        assert (folder / FOLDER).is_dir()
    for folder in (first, other, second):
        assert gone not in ids_on(folder)
        assert verify(folder) == []
    assert "override.erased" not in json.dumps(read_sheets(second))


def test_a_copy_of_the_erased_bytes_is_not_drawn_either(home, tmp_path):
    files = {f"{n}.png": picture(n) for n in range(4)} | {"copy.png": picture(0)}
    folder = publish(home, files, tmp_path)
    rows = {row["uri"].rpartition("/")[2]: row for row in read_ledger(folder / "ledger").to_pylist()}
    one = next(rows[name] for name in ("0.png", "copy.png") if rows[name]["verdict"] == "keep")
    write_sheets(home, folder)
    assert {"keep.png", "drop-duplicate.exact.png"} <= {sheet["file"] for sheet in read_sheets(folder)}
    erase(home, [one["record_id"]], "asked to", False, lambda run_id: [])
    assert ids_on(folder.with_name("v2")) == {rows[f"{n}.png"]["record_id"] for n in range(1, 4)}


def test_clips_are_spectrograms(home, tmp_path):
    folder = publish(home, {f"{n}.wav": clip(n) for n in range(3)} | {"x.wav": b"RIFF"}, tmp_path, Audio)
    sheets = write_sheets(home, folder)
    assert [sheet["of"] for sheet in sheets] == [3, 1]
    import pyarrow.parquet as pq

    stage = media_stage_of(home)
    regular = {row["record_id"]: row["regular"] for row in pq.read_table(stage / "regular.parquet").to_pylist()}
    pixels = sheet_pixels(folder, sheets[0])
    for number, record in enumerate(sheets[0]["records"]):
        expected = np.asarray(audio_pictures.thumbnail(regular[record["record_id"]]))
        assert (shown(pixels, number, *expected.shape[1::-1]) == expected).all()


def test_a_regular_picture_that_cannot_be_read_costs_one_tile(home, mixed, monkeypatch):
    def broken(data):
        raise OSError("broken data stream")

    monkeypatch.setattr("tasks.governance.contact_tiles.shrink", broken)
    kept = write_sheets(home, mixed)[0]
    assert (shown(sheet_pixels(mixed, kept), 0)[:30] == [0xE4, 0xE0, 0xDA]).all()


def test_the_page_links_them_and_embeds_none(home, mixed):
    path, values = write_report(home, mixed)
    text = path.read_text()
    linked = re.findall(r'<img src="([^"]+)"', text)
    assert len(linked) == len(values["sheets"]) == 4
    for target in linked:
        assert (path.parent / target).resolve().parent == (mixed / FOLDER).resolve()
        assert (path.parent / target).is_file()
    assert "base64" not in text


def test_without_the_media_stage_there_are_none(home, mixed):
    import shutil

    shutil.rmtree(media_stage_of(home))
    assert write_sheets(home, mixed) == []
    path, _ = write_report(home, mixed)
    assert "What it looks like" not in path.read_text()


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (160, 120), (161, 120), (500, 30)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_of_any_shape_fits_its_tile(size, mode):
    file = io.BytesIO()
    Image.new(mode, size, 200).save(file, "PNG")
    small = shrink(file.getvalue())
    assert 1 <= small.width <= WIDTH
    assert 1 <= small.height <= HEIGHT
    assert small.mode == "RGB"
    sheet = np.asarray(Image.open(io.BytesIO(draw_sheet("t", [Tile(small, ["a", "b"])]))))
    assert (shown(sheet, 0, *small.size) == np.asarray(small)).all()


def test_long_words_stay_within_their_tile():
    long = "W" * 500
    grey = Image.new("RGB", (WIDTH, HEIGHT))
    one = draw_sheet(long, [Tile(grey, [long, long]), Tile(None, ["", ""], [long] * 3), Tile(grey, ["", ""])])
    pixels = np.asarray(Image.open(io.BytesIO(one))).astype(int)
    left, top = place_of(1)
    assert (pixels[30:, left - 10 : left] == 255).all()
    assert (pixels[30:, left + WIDTH : left + WIDTH + 10] == 255).all()
    assert (pixels[:30, -10:] == 255).all()
