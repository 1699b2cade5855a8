"""Take one out again, and ask what another policy would do: on a corpus of its own."""

import dataclasses
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_policies.load import load_policy
from data_policies.schema import Licences
from tasks.governance.diff import diff
from tasks.governance.erasure import erase
from tasks.governance.ledger import read_ledger
from tasks.governance.manifest import read_manifest
from tasks.governance.verification import verify
from tasks.home import Home
from tests_support import corpus_lines, write_recipe

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def curated(tmp_path_factory, prefect_server):
    from flows.curate import curate
    from flows.recipe import load_recipe

    folder = tmp_path_factory.mktemp("erase")
    path = write_recipe(folder, corpus_lines(80))
    return folder, load_recipe(str(path)), curate(load_recipe(str(path)), str(folder / "home"))


def rows(folder):
    return {row["uri"].rpartition("#")[2]: row for row in read_ledger(Path(folder) / "ledger").to_pylist()}


def test_erasing_gives_the_bytes_of_curating_without_the_record(curated, tmp_path):
    from flows.curate import curate

    folder, recipe, outcome = curated
    home = Home.at(folder / "home")
    before = rows(outcome["path"])
    record = before["doc-7"]["record_id"]
    tried = erase(home, [record], "", True, lambda run_id: [])
    assert tried["dry_run"]
    assert tried["records"] == [record]
    assert not (home.corpus("mini") / "v2").exists()

    done = erase(home, [record], "request 17", False, lambda run_id: [])
    version = home.corpus("mini") / "v2"
    after = rows(version)
    assert (after["doc-7"]["verdict"], after["doc-7"]["rule"]) == ("drop", "override.erased")
    assert after["doc-7"]["shard"] is None
    assert verify(version) == []
    assert json.loads(Path(done["certificate"]).read_text())["records"] == [record]

    lines = [line for line in corpus_lines(80) if line["id"] != "doc-7"]
    bare = write_recipe(tmp_path, lines)
    from flows.recipe import load_recipe

    anew = curate(load_recipe(str(bare)), str(tmp_path / "home"))
    fresh, erased = read_manifest(Path(anew["path"])), read_manifest(version)
    assert fresh.root == erased.root

    again = curate(recipe, str(folder / "home"))  # the source still has it; it must not come back
    assert again["version"] == 2
    assert again["root"] == erased.root
    assert all(stage["reused"] for stage in again["stages"])


def test_a_stricter_policy_is_tried_without_scoring(curated):
    folder, _, outcome = curated
    home = Home.at(folder / "home")
    policy = load_policy("open-definition")
    strict = dataclasses.replace(policy, licences=Licences(allow=("CC0-1.0",)))
    stages = {path.name for path in home.stages.iterdir()}
    result = diff(home, Path(outcome["path"]), strict)
    assert {path.name for path in home.stages.iterdir()} == stages
    mit = pq.read_table(
        Path(outcome["path"]) / "ledger", filters=[("licence", "=", "MIT"), ("verdict", "in", ["keep", "redact"])]
    )
    gone = sum(row["records"] for row in result["changes"] if row["then"] == "drop licence.not_allowed")
    assert gone >= len(mit) > 0
    assert diff(home, Path(outcome["path"]), policy)["changed"] == 0


def test_a_laxer_policy_says_what_it_cannot_know(curated):
    folder, _, outcome = curated
    policy = load_policy("open-definition")
    lax = dataclasses.replace(policy, licences=Licences(allow=(*policy.licences.allow, "CC-BY-NC-4.0")))
    result = diff(Home.at(folder / "home"), Path(outcome["path"]), lax)
    assert result["needs_scoring"] == 1  # `not-allowed` was refused before the model looked at it
