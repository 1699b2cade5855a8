"""Samples by position equal samples by name; a shard that does not fit its index is refused."""

import json
import tarfile

import pytest
from evaluation_run import make_corpus
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError, VerificationFailed
from tasks.learning.samples import SAMPLE_SCHEMA, groups_of, keyed_order, read_labels, read_samples


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def by_name(corpus, split):
    """What the tars hold, read by member name."""
    found = {}
    for path in (corpus / "shards").glob(f"{split}-*.tar"):
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                key, extension = name.split(".")
                found.setdefault(key, {})[extension] = tar.extractfile(name).read()
    return [
        {"record_id": key, "text": members["txt"].decode(), "label": fields["label"], "group": fields["group"]}
        for key, members in sorted(found.items())
        for fields in [json.loads(members["json"])]
    ]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_samples_are_the_members(corpus, split):
    table = read_samples(corpus, split)
    assert table.schema == SAMPLE_SCHEMA
    assert table.to_pylist() == by_name(corpus, split)
    assert read_labels(corpus, split).equals(table.select(["record_id", "label", "group"]))


def test_only_the_wanted_ones_are_read(corpus):
    rows = by_name(corpus, "train")
    wanted = {row["record_id"] for row in rows[::7]}
    assert read_samples(corpus, "train", wanted).to_pylist() == rows[::7]
    assert len(read_samples(corpus, "train", {"nobody"})) == 0


def test_a_split_that_is_not_there_is_the_users_error(corpus):
    with pytest.raises(UserError, match="no test samples"):
        read_samples(corpus, "test")


def test_a_short_shard_is_found_out(tmp_path):
    corpus = make_corpus(tmp_path, documents=60, shards=1)
    shard = corpus / "shards" / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.raises(VerificationFailed, match="shorter than its index says"):
        read_samples(corpus, "train")
    shard.unlink()
    with pytest.raises(VerificationFailed, match="cannot be read"):
        read_labels(corpus, "train")


@given(st.sets(st.text(max_size=5), min_size=1), st.integers(0, 3), st.data())
def test_a_removed_key_moves_no_other(keys, seed, data):
    keys = sorted(keys)
    gone = data.draw(st.sampled_from(keys))
    before = [keys[i] for i in keyed_order(keys, "p", seed)]
    rest = [key for key in keys if key != gone]
    assert sorted(before) == keys
    assert [rest[i] for i in keyed_order(rest, "p", seed)] == [key for key in before if key != gone]


def test_purpose_and_seed_give_other_orders():
    keys = [str(number) for number in range(50)]
    orders = {tuple(keyed_order(keys, purpose, seed)) for purpose in ("a", "b") for seed in (0, 1)}
    assert len(orders) == 4


def test_a_document_without_a_group_is_its_own(corpus):
    table = read_samples(corpus, "train")
    for row, group in zip(table.to_pylist(), groups_of(table), strict=True):
        assert group == (f"group:{row['group']}" if row["group"] else f"record:{row['record_id']}")
