"""No stale reuse, no needless work: what each change makes run again, and what it changes in the output."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chain import STEPS, chain, curated
from data_policies.load import load_policy
from data_policies.schema import Bounds, Duplicates, Licences, Substring
from tasks.curation import assemble as assembling
from tasks.curation.languages import Languages
from tasks.curation.pii import Pii
from tasks.curation.quality import Quality
from tasks.curation.sources import Files
from tasks.home import Home
from tests_support import corpus_lines

POLICY = dataclasses.replace(load_policy("open-definition"), toxicity=None)
NEAR = [{**row, "id": f"near-{n}", "text": row["text"] + " So it is."} for n, row in enumerate(corpus_lines(6)[:6])]
LINES = [*corpus_lines(40), *NEAR]

ROOT = Path(__file__).parents[3]


class Other:
    """A scorer with another model, or another version of its rule."""

    def __init__(self, inner, **changes):
        self.inner = inner
        self.name, self.VERSION, self.inputs, self.schema = inner.name, inner.VERSION, inner.inputs, inner.schema
        self.more = changes.pop("config", {})
        for name, value in changes.items():
            setattr(self, name, value)

    def config(self):
        return self.inner.config() | self.more

    def score(self, batch):
        return self.inner.score(batch)


def plain():
    return [Languages(), Quality(("basic",)), Pii(b"k" * 64)]


def write(folder, lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return [Files(name="x", path=str(folder / "x.jsonl"))]


def rows_of(home, stages, policy):
    return assembling.assemble(curated(home, stages), policy).drop_columns(["policy_sha256"])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    home = Home.at(folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        key = folder / "key"
        key.write_text("k" * 64)
        patch.setenv("GRISTMILL_KEY_FILE", str(key))
        sources = write(folder / "in", LINES)
        stages = chain(home, sources, POLICY, scorers=plain())
        yield home, sources, rows_of(home, stages, POLICY)


WORDS = dataclasses.replace(POLICY, quality={"basic": {**POLICY.quality["basic"], "words": Bounds(min=46)}})
HIGHER = dataclasses.replace(POLICY, duplicates=Duplicates(threshold=0.95))
LOWER = dataclasses.replace(POLICY, duplicates=Duplicates(threshold=0.6))
SPANS = dataclasses.replace(POLICY, duplicates=Duplicates(substring=Substring(words=10, share=0.1)))
ALLOWED = dataclasses.replace(POLICY, licences=Licences(allow=(*POLICY.licences.allow, "CC-BY-NC-4.0")))
QUALITY, PII, LANGUAGE = 1, 2, 0

#: what changes: (lines, policy, (index of a scorer, its changes), the steps that run again, does the ledger change?)
CHANGES = {
    "nothing": (LINES, POLICY, None, set(), False),
    "one byte of the input": (
        [{**LINES[0], "text": LINES[0]["text"] + "!"}, *LINES[1:]],
        POLICY,
        None,
        set(STEPS),
        True,
    ),
    "the order of the lines": (LINES[::-1], POLICY, None, set(STEPS), False),
    "a quality threshold": (LINES, WORDS, None, {"decide"}, True),
    "a higher duplicate threshold": (LINES, HIGHER, None, {"decide"}, True),
    "a lower duplicate threshold": (LINES, LOWER, None, {"decide", "duplicates"}, None),
    "repeated spans asked for": (LINES, SPANS, None, {"decide", "duplicates"}, True),
    "a licence more": (LINES, ALLOWED, None, {"decide"}, True),
    "a rule's version": (LINES, POLICY, (QUALITY, {"VERSION": 99}), {"quality", "decide"}, False),
    "a model's digest": (LINES, POLICY, (LANGUAGE, {"config": {"model": "0" * 64}}), {"languages", "decide"}, False),
    "the corpus key": (LINES, POLICY, (PII, {"config": {"key_id": "other"}}), {"pii", "decide"}, False),
    "the policy's wording": (LINES, dataclasses.replace(POLICY, reason="another"), None, {"decide"}, False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_exactly_what_depends_on_a_change_runs_again(change, base, tmp_path):
    home, sources, before = base
    lines, policy, other, expected, changed = CHANGES[change]
    if lines is not LINES:
        sources = write(tmp_path / "in", lines)
    scorers = plain()
    if other:
        scorers[other[0]] = Other(scorers[other[0]], **other[1])
    stages = chain(home, sources, policy, scorers=scorers)
    assert {name for name, stage in stages.items() if not stage.reused} == expected
    after = rows_of(home, stages, policy)
    if changed is not None:
        assert (not after.equals(before)) is changed
    assert all(stage.reused for stage in chain(home, sources, policy, scorers=scorers).values())


PROGRAM = """
import dataclasses, hashlib, json, sys
from pathlib import Path
from benchmarks.chain import chain
from data_policies.load import load_policy
from tasks.curation import blocks
from tasks.curation.sources import Files
from tasks.home import Home
folder, blocks.BLOCK_ROWS = sys.argv[1], int(sys.argv[2])
policy = dataclasses.replace(load_policy("open-definition"), toxicity=None)
stages = chain(Home.at(folder + "/home" + sys.argv[3]), [Files(name="x", path=folder + "/in/x.jsonl")], policy)
found = {}
for stage in stages.values():
    for path in sorted(Path(stage.path).iterdir()):
        found[f"{stage.name}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
print(json.dumps(found, sort_keys=True))
"""


def test_bytes_do_not_depend_on_hash_seed_workers_or_block_size(tmp_path):
    write(tmp_path / "in", LINES)
    (tmp_path / "key").write_text("k" * 64)
    found = []
    for seed, threads, block in (("0", "1", "20000"), ("12345", "4", "7")):
        environment = {
            "PYTHONPATH": str(ROOT),
            "PYTHONHASHSEED": seed,
            "DAFT_NUM_THREADS": threads,
            "RAYON_NUM_THREADS": threads,
        }
        environment |= {"GRISTMILL_KEY_FILE": str(tmp_path / "key")}
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), block, seed]
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert len(found[0]) >= 16
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_local_ray_cluster_makes_the_same_bytes(tmp_path):
    write(tmp_path / "in", LINES)
    (tmp_path / "key").write_text("k" * 64)
    on_ray = PROGRAM.replace("policy)\n", "policy, Engine(ray_address='local'))\n").replace(
        "import blocks\n", "import blocks\nfrom tasks.curation.records import Engine\n"
    )
    found = []
    for program, name in ((PROGRAM, "native"), (on_ray, "ray")):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRISTMILL_KEY_FILE": str(tmp_path / "key")}
        command = [sys.executable, "-c", program, str(tmp_path), "20000", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[0] == found[1]
