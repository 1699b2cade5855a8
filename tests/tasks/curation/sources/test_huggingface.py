"""Data sets through `datasets`, offline: local copies, what `save_to_disk` wrote, and the hub's cache."""

import json
import os
import shutil

import datasets
import pytest

from tasks.curation.sources import HuggingFace, open_source
from tasks.errors import UserError

ROWS = [{"id": f"r{n}", "text": f"text {n}", "label": n % 2, "licence": "MIT" if n else None} for n in range(600)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")


def write(folder, rows=ROWS, card=""):
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if card:
        (folder / "README.md").write_text(f"---\n{card}\n---\n# Card\n")
    return folder


def opened(path, **config):
    return open_source(HuggingFace(name="s", path=str(path), **config))


def read(path, **config):
    source = opened(path, **config)
    found = list(source)
    assert source.read_count == len(found)
    return found


def test_a_local_copy(tmp_path):
    found = read(write(tmp_path / "copy", card="license: cc-by-4.0"))
    assert [(raw.locator, raw.text) for raw in found] == [(row["id"], row["text"]) for row in ROWS]
    assert (found[1].uri, found[1].label, found[1].evidence) == ("copy/train#r1", "1", (("name", "MIT"),))
    assert found[0].evidence == (("name", "cc-by-4.0"),)  # the card speaks where the row does not
    assert not list((tmp_path / "hf-cache").rglob("*.arrow"))


def test_the_recipe_speaks_before_the_card(tmp_path):
    found = read(write(tmp_path / "copy", card="license: [mit, other]"), licence="CC0-1.0")
    assert found[0].evidence == (("expression", "CC0-1.0"),)
    assert read(tmp_path / "copy")[0].evidence == (("name", "mit"), ("name", "other"))


def test_saved_to_disk_with_class_labels_and_rows_without_text(tmp_path):
    features = datasets.Features({"body": datasets.Value("string"), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"body": ["a", None, "", "d"], "label": [0, 1, 1, -1]}
    data = datasets.Dataset.from_dict(rows, features=features)
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "both")
    columns = {"text": "body"}
    found = read(tmp_path / "one", columns=columns)
    assert [(raw.text, raw.label, raw.rule) for raw in found] == [
        ("a", "cat", ""), (None, "dog", "ingest.empty"), (None, "dog", "ingest.empty"), ("d", "", ""),
    ]  # fmt: skip
    assert {(raw.locator) for raw in found} == {"one/train"}
    assert len(read(tmp_path / "both", columns=columns, split="test")) == 1
    with pytest.raises(UserError, match="no split 'other'") as caught:
        opened(tmp_path / "both", columns=columns, split="other")
    assert "train, test" in caught.value.hint


@pytest.fixture
def hub_cache(tmp_path):
    """A hub data set `org/name` as an earlier download has left it."""
    cache = tmp_path / "hf-cache"
    builder = datasets.load_dataset_builder(str(write(tmp_path / "made")), cache_dir=str(cache))
    builder.download_and_prepare()
    (made,) = (path for path in (cache / "made" / "default" / "0.0.0").iterdir() if path.is_dir())
    target = cache / "org___name" / "default" / "0.0.0" / ("a" * 40)
    shutil.copytree(made, target)
    for path in list(target.iterdir()):
        path.rename(target / path.name.replace("made-", "name-"))
    shutil.rmtree(cache / "made")
    return target


@pytest.mark.parametrize("streaming", [False, True])
def test_a_hub_data_set_out_of_the_cache(hub_cache, streaming):
    found = read("org/name", streaming=streaming)
    assert [(raw.locator, raw.text) for raw in found] == [(row["id"], row["text"]) for row in ROWS]
    assert found[0].uri == "org/name/train#r0"
    assert opened("org/name", streaming=streaming).total_bytes() > 0


def test_the_digest_of_a_hub_data_set_is_of_its_rows(hub_cache, tmp_path):
    first = opened("org/name").digest()
    assert opened("org/name").digest() == first
    assert opened("org/name", split="train[:10]").digest() != first
    changed = datasets.Dataset.from_list([*ROWS[:-1], {**ROWS[-1], "text": "changed"}])
    (arrow,) = hub_cache.glob("*.arrow")
    changed.save_to_disk(tmp_path / "changed")
    shutil.copy(next((tmp_path / "changed").glob("*.arrow")), arrow)
    assert opened("org/name").digest() != first


def test_the_digest_of_a_local_copy_is_of_its_bytes(tmp_path):
    folder = write(tmp_path / "copy")
    first = opened(folder).digest()
    assert opened(folder).digest() == first
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("x")
    assert opened(folder).digest() == first
    assert opened(folder, licence="MIT").digest() != first
    (folder / "train.jsonl").write_text((folder / "train.jsonl").read_text().replace("text 5", "text V"))
    assert opened(folder).digest() != first


def test_a_changed_copy_is_not_read_from_a_cache(tmp_path):
    folder = write(tmp_path / "copy")
    assert read(folder)[5].text == "text 5"
    stamp = (folder / "train.jsonl").stat()
    (folder / "train.jsonl").write_text((folder / "train.jsonl").read_text().replace("text 5", "text V"))
    os.utime(folder / "train.jsonl", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert read(folder)[5].text == "text V"


def test_a_broken_file_leaves_a_tail(tmp_path, capfd):
    folder = write(tmp_path / "copy")
    (folder / "train_z.jsonl").write_bytes(b'{"id": "z", "text": "secretword\n{"id": "y"\n')
    *whole, tail = read(folder)
    assert (tail.locator, tail.rule) == ("copy/train#tail", "ingest.truncated")
    assert tail.detail.startswith("after 600 rows")
    assert [raw.text for raw in whole] == [row["text"] for row in ROWS]
    assert "secretword" not in tail.detail + "".join(capfd.readouterr())


def test_a_value_that_is_not_utf8_costs_its_row(tmp_path):
    folder = write(tmp_path / "copy", [{"id": "a", "text": "one"}])
    (folder / "train_z.jsonl").write_bytes(b'{"id": "b", "text": "\xff"}\n{"id": "c", "text": "three"}\n')
    assert [(raw.text, raw.rule) for raw in read(folder)] == [("one", ""), (None, "ingest.utf8"), ("three", "")]


def test_what_is_missing_is_said_with_the_way_to_get_it(tmp_path):
    (tmp_path / "empty").mkdir()
    copy = write(tmp_path / "copy")
    for path, config, message, hint in [
        ("nobody/nothing", {}, "hub cannot be reached", "hf download --repo-type dataset nobody/nothing"),
        (tmp_path / "none", {}, "no such folder", "hub name"),
        (tmp_path / "empty", {}, "doesn't contain any data files", "split"),
        (copy, {"split": "nope"}, "nope", "split"),
        (copy, {"subset": "nope"}, "nope", "subset"),
        (copy, {"columns": {"text": "body"}}, "no column 'body'", "text"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            opened(path, **config)
        assert hint in caught.value.hint
        assert caught.value.where
