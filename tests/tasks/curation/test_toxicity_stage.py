"""The toxicity stage behind a screen: who scores whom, what may change its bytes, and what the page and a diff say."""

import dataclasses
import json
import random
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from data_policies.load import load_policy
from data_policies.schema import Screen as Pin
from tasks.curation import steps, toxicity_cascade
from tasks.curation.assemble import Curated
from tasks.curation.ingest import source_digests
from tasks.curation.languages import Languages
from tasks.curation.pii import Pii
from tasks.curation.quality import Quality
from tasks.curation.records import Engine
from tasks.curation.sources import Files
from tasks.curation.toxicity import load
from tasks.curation.toxicity_calibrate import calibrate
from tasks.curation.toxicity_screen import COLUMN, Features
from tasks.curation.toxicity_stage import NAMES, toxicity_stage
from tasks.errors import UserError
from tasks.governance.corpus import build_corpus
from tasks.governance.diff import diff
from tasks.governance.report import facts, render
from tasks.governance.verification import verified
from tasks.home import Home
from tests_support import text

ENGINE = Engine()
HOSTILE = ["You are a stupid idiot and nobody likes you.", "Shut up, you worthless moron!", "I will kill you, idiot."]


def document(row, hostile):
    draw = random.Random(row)
    if hostile:
        return f"{text(row, 1)} {draw.choice(HOSTILE)} {draw.choice(HOSTILE)}"
    return text(row, draw.randint(3, 6))


@pytest.fixture(scope="module")
def stand_in():
    return load("stand-in", stand_in=True)


@pytest.fixture(scope="module")
def policy(stand_in, tmp_path_factory):
    """open-definition with a screen that was calibrated on other texts of the same kind."""
    base = load_policy("open-definition")
    thresholds = {"toxicity": 0.5, "insult": 0.6}
    base = dataclasses.replace(base, toxicity=dataclasses.replace(base.toxicity, thresholds=thresholds))
    texts = [document(row, row % 10 == 0) for row in range(50_000, 51_100)]
    folder = tmp_path_factory.mktemp("screen")
    scores_NL = stand_in.score_texts(texts)
    screen, found = calibrate(texts, scores_NL, thresholds, stand_in.digest, 0.0, folder, Features(bits=12))
    assert found.cleared_share > 0.9
    pin = Pin(model=str(folder), sha256=screen.sha256, threshold=found.threshold, maximum_missed=0.05)
    return with_screen(base, pin)


def with_screen(policy, pin):
    return dataclasses.replace(policy, toxicity=dataclasses.replace(policy.toxicity, screen=pin))


def changed(policy, **changes):
    return with_screen(policy, dataclasses.replace(policy.toxicity.screen, **changes))


@pytest.fixture(autouse=True)
def small_minimum(monkeypatch):
    monkeypatch.setattr(toxicity_cascade, "MINIMUM_DOCUMENTS", 150)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A HOME with 206 records: 7 hostile, 2 copies of one text, 4 that a cheaper rule refuses."""
    home = Home.at(tmp_path_factory.mktemp("home"))
    lines = [{"id": f"doc-{row}", "text": document(row, row % 33 == 0), "licence": "MIT"} for row in range(200)]
    lines += [{"id": f"copy-{n}", "text": lines[1]["text"], "licence": "MIT"} for n in range(2)]
    lines += [{"id": f"bad-{n}", "text": document(900 + n, False), "licence": "CC-BY-NC-4.0"} for n in range(4)]
    path = home.root / "texts.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = Files(name="texts", path=str(path))
    ingested = steps.ingest_stage(home, [source], source_digests([source]))
    cheap = [steps.licence_stage(home, ingested, ENGINE)]
    scorers = (Languages(), Quality(("basic",)), Pii(b"k" * 32))
    cheap += [steps.score_stage(home, ingested, scorer, ENGINE) for scorer in scorers]
    return home, ingested, cheap


def scores_of(stage):
    return pq.read_table(Path(stage.path) / "scores.parquet")


def report_of(stage):
    return json.loads((Path(stage.path) / toxicity_cascade.REPORT).read_text())


def test_the_screen_clears_and_the_sample_and_the_rest_are_the_models(scored, policy, stand_in):
    home, ingested, cheap = scored
    plain = scores_of(toxicity_stage(home, ingested, cheap, with_screen(policy, None), ENGINE))
    assert COLUMN not in plain.column_names
    stage = toxicity_stage(home, ingested, cheap, policy, ENGINE)
    table, report = scores_of(stage), report_of(stage)
    assert report["applied"]
    assert report["documents"] == 202
    by = table["scored_by"].to_pylist()
    assert by.count("not_needed") == 4
    assert set(by) == {"not_needed", "screen", stand_in.digest}
    screened = pc.equal(table["scored_by"], "screen")
    assert pc.max(table[COLUMN].filter(screened)).as_py() < policy.toxicity.screen.threshold
    for name in NAMES:
        assert table[name].filter(screened).null_count == by.count("screen")
        scored_rows = pc.equal(table["scored_by"], stand_in.digest)
        assert table[name].filter(scored_rows).equals(plain[name].filter(scored_rows))  # the model's own scores
    above = pc.greater_equal(table[COLUMN], policy.toxicity.screen.threshold)
    assert set(table["scored_by"].filter(above).to_pylist()) == {stand_in.digest}
    cleared = 202 - pc.sum(above).as_py()
    assert report["screen_cleared"] == cleared
    assert cleared - by.count("screen") >= report["sampled"]  # copies of a sampled text are scored with it
    copies = steps.records(ingested, ["content_sha256"])["content_sha256"].to_pylist()
    pairs = {content: by[row] for row, content in enumerate(copies)}
    assert all(by[row] == pairs[content] for row, content in enumerate(copies))


def test_the_bytes_are_the_same_without_earlier_scores(scored, policy, tmp_path):
    import shutil

    home, ingested, cheap = scored
    stage = toxicity_stage(home, ingested, cheap, policy, ENGINE)
    fresh = Home.at(tmp_path / "fresh")
    shutil.copytree(home.stages, fresh.stages, ignore=shutil.ignore_patterns("toxicity-*"))
    moved = [dataclasses.replace(s, path=str(fresh.stages / Path(s.path).name)) for s in (ingested, *cheap)]
    again = toxicity_stage(fresh, moved[0], moved[1:], policy, ENGINE)
    assert again.digest == stage.digest
    for name in ("scores.parquet", toxicity_cascade.REPORT):
        assert (Path(again.path) / name).read_bytes() == (Path(stage.path) / name).read_bytes()


def test_everything_that_decides_who_is_scored_is_in_the_digest(scored, policy):
    home, ingested, cheap = scored
    pin = policy.toxicity.screen
    variants = [policy, with_screen(policy, None), changed(policy, maximum_missed=0.06)]
    variants.append(changed(policy, threshold=pin.threshold / 2))
    lower = {**policy.toxicity.thresholds, "insult": 0.9}
    variants.append(dataclasses.replace(policy, toxicity=dataclasses.replace(policy.toxicity, thresholds=lower)))
    stages = [toxicity_stage(home, ingested, cheap, variant, ENGINE) for variant in variants]
    assert len({stage.digest for stage in stages}) == len(stages)


def test_a_screen_that_misses_too_much_clears_nothing(scored, policy):
    home, ingested, cheap = scored
    plain = scores_of(toxicity_stage(home, ingested, cheap, with_screen(policy, None), ENGINE))
    # Everything is below 1: every toxic document is cleared, 7 of 202.
    stage = toxicity_stage(home, ingested, cheap, changed(policy, threshold=1.0, maximum_missed=0.02), ENGINE)
    report = report_of(stage)
    assert not report["applied"]
    assert "bound was not met" in report["reason"]
    assert report["missed_per_cleared_upper"] > 0.02
    assert report["missed_share_of_toxic"]["value"] == 1.0
    assert scores_of(stage).drop_columns([COLUMN]).equals(plain)


def test_few_documents_are_all_scored(scored, policy, monkeypatch):
    home, ingested, cheap = scored
    monkeypatch.setattr(toxicity_cascade, "MINIMUM_DOCUMENTS", 203)
    stage = toxicity_stage(home, ingested, cheap, changed(policy, maximum_missed=0.051), ENGINE)
    assert "fewer than 203 documents" in report_of(stage)["reason"]
    assert "screen" not in scores_of(stage)["scored_by"].to_pylist()


def test_a_screen_for_something_else_is_refused(scored, policy):
    home, ingested, cheap = scored
    stricter = {**policy.toxicity.thresholds, "insult": 0.2}
    strict = dataclasses.replace(policy, toxicity=dataclasses.replace(policy.toxicity, thresholds=stricter))
    with pytest.raises(UserError, match="higher threshold of insult than 0.2"):
        toxicity_stage(home, ingested, cheap, strict, ENGINE)
    with pytest.raises(UserError, match="SHA-256"):
        toxicity_stage(home, ingested, cheap, changed(policy, sha256="0" * 64), ENGINE)
    folder = Path(policy.toxicity.screen.model)
    about = json.loads((folder / "screen.json").read_text())
    from tasks.curation.toxicity_screen import _weights, digest, write_screen

    other = home.root / "other-screen"
    extra = {key: about[key] for key in ("thresholds",)}
    made = write_screen(other, Features(bits=12), *_weights(folder, digest(folder)), {**extra, "model": "0" * 16})
    with pytest.raises(UserError, match="another toxicity model"):
        toxicity_stage(home, ingested, cheap, changed(policy, model=str(other), sha256=made.sha256), ENGINE)


def test_a_corpus_behind_a_screen(scored, policy):
    """The gate passes, the evidence is the corpus's own, the page shows it; a diff knows what a screen cannot say."""
    home, ingested, cheap = scored
    stages = [*cheap, toxicity_stage(home, ingested, cheap, policy, ENGINE)]
    decided = steps.decide_stage(home, ingested, stages, policy)
    pairs = steps.pairs_stage(home, ingested, policy, ENGINE)
    curated = Curated(
        name="screened", curation_sha256="0" * 64, validation=0.1, group_by="group", ingested=ingested,
        scored=stages, decided=decided, pairs=pairs, key_id="k",
    )  # fmt: skip
    folder, manifest = build_corpus(home, curated, policy, ENGINE)
    assert manifest.gate.passed
    checked = {item["expectation"] for item in json.loads((folder / "gate.json").read_text())["results"]}
    assert {"admitted.toxicity.screen.threshold", "ledger.toxicity.screen.range"} <= checked
    assert toxicity_cascade.REPORT in manifest.evidence
    assert verified(folder)["verified"]
    assert manifest.counts.drop >= 4 + 2 + 5  # not allowed, copies, hostile
    values = facts(home, folder)
    assert values["cascade"] == report_of(stages[-1])
    assert "The toxicity screen" in render(values)
    by_screen = scores_of(stages[-1])["scored_by"].to_pylist().count("screen")
    same = diff(home, folder, policy)
    assert (same["changed"], same["needs_scoring"]) == (0, 0)
    assert diff(home, folder, with_screen(policy, None))["needs_scoring"] == by_screen
    nothing_cleared = diff(home, folder, changed(policy, threshold=0.0))
    assert nothing_cleared["needs_scoring"] == by_screen
    lower = dataclasses.replace(policy.toxicity, thresholds={**policy.toxicity.thresholds, "threat": 0.3})
    assert diff(home, folder, dataclasses.replace(policy, toxicity=lower))["needs_scoring"] == by_screen
