import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UserError, VerificationFailed
from tasks.governance.manifest import Counts, leaf, merkle_root, read_manifest, versions

# The inputs and roots of the Certificate Transparency reference tests (RFC 6962, section 2.1).
VECTOR = [bytes.fromhex(item) for item in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
VECTOR.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word: k is the largest power of two smaller than n."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_root_of_the_reference_vectors(size):
    assert merkle_root(VECTOR[:size]) == ROOTS[size]


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_root_equals_the_recursive_definition(leaves):
    assert merkle_root(iter(leaves)) == naive_root(leaves).hex()


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=20), st.data())
def test_root_notices_a_changed_dropped_or_moved_leaf(leaves, data):
    at = data.draw(st.integers(0, len(leaves) - 1))
    changed = [*leaves[:at], leaves[at] + b"!", *leaves[at + 1 :]]
    assert merkle_root(changed) != merkle_root(leaves)
    assert merkle_root(leaves[:at] + leaves[at + 1 :]) != merkle_root(leaves)
    if leaves[0] != leaves[at]:
        moved = [leaves[at], *leaves[1:at], leaves[0], *leaves[at + 1 :]]
        assert merkle_root(moved) != merkle_root(leaves)


def test_leaf_keeps_its_parts_apart():
    assert leaf("id", "hash", "MIT") == b"id\0hash\0MIT"
    assert leaf("a", "b", "c") != leaf("ab", "", "c")


def test_manifest_survives_the_file_and_holds_no_time_or_host(corpus):
    text = (corpus.folder / "manifest.json").read_text()
    assert read_manifest(corpus.folder) == corpus.manifest
    assert set(json.loads(text)) == {*type(corpus.manifest).model_fields, "manifest_sha256"}
    corpus.manifest.write(corpus.folder)
    assert (corpus.folder / "manifest.json").read_text() == text


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"read": 40', '"read": 41'),
        lambda text: text.replace('"recipe_sha256": "2', '"recipe_sha256": "3'),
        lambda text: text.replace('"format"', '"formaz"'),
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: text.replace("open", "\udcff", 1),
    ],
)
def test_a_manifest_that_is_not_as_written_is_refused(corpus, damage):
    path = corpus.folder / "manifest.json"
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_bytes(damaged.encode("utf-8", "surrogateescape"))
    with pytest.raises(VerificationFailed) as error:
        read_manifest(corpus.folder)
    assert error.value.where == str(path)


def test_a_folder_without_a_manifest_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="no corpus version"):
        read_manifest(tmp_path)


def test_versions_are_numbers_in_order_and_nothing_else(home):
    for name in ("v10", "v2", "v1", ".v3.tmp", "vx", "notes"):
        (home.corpus("c") / name).mkdir(parents=True)
    assert versions(home.corpus("c")) == [1, 2, 10]
    assert versions(home.corpus("none")) == []


@given(st.lists(st.integers(0, 10**9), min_size=5, max_size=5))
def test_the_ledger_is_closed_only_when_the_verdicts_add_up(numbers):
    names = ("read", "keep", "redact", "drop", "quarantine")
    assert Counts(**dict(zip(names, numbers, strict=True))).closed == (numbers[0] == sum(numbers[1:]))
