import json
import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interface_corpora import write_corpus, write_run

from tasks.errors import UserError
from tasks.governance.ledger import LEDGER_SCHEMA, VERDICTS, write_ledger
from tasks.governance.lineage import lineage_mermaid, trace
from tasks.governance.manifest import Manifest, leaf, merkle_root
from tasks.governance.verification import verify
from tasks.home import Home
from tasks.stages import sha256_file

KINDS = {"missing", "changed", "extra", "root", "count"}
CONTRACT = {
    "record_id",
    "verdict",
    "rule",
    "rules",
    "policy_sha256",
    "survivor_id",
    "corpora",
    "runs",
    "near_duplicates",
}


def row_of(corpus, record_id):
    return next(row for row in corpus.rows if row["record_id"] == record_id)


def no_models(run_id):
    raise AssertionError(f"nobody asked for the models of {run_id}")


# trace


def test_a_kept_record_names_its_place_and_the_runs_that_read_it(home, corpus):
    write_run(home, corpus, encoder=False)
    record = next(row for row in corpus.rows if row["verdict"] == "keep" and row["split"] == "train")
    found = trace(
        home, record["record_id"], lambda run_id: [{"model": "tiny", "version": "3", "aliases": ["champion"]}]
    )
    assert set(found) >= CONTRACT
    place = {key: record[key] for key in ("shard", "offset", "length", "split")}
    assert found["corpora"] == [{"name": "tiny", "version": 1, **place}]
    steps = pq.read_table(home.run("tiny-0123456789ab") / "exposure.parquet").to_pylist()
    step = next(item["first_step"] for item in steps if item["record_id"] == record["record_id"])
    run = {"run_id": "tiny-0123456789ab", "first_step": step, "model": "tiny", "version": "3", "aliases": ["champion"]}
    assert found["runs"] == [run]
    json.dumps(found)


def test_every_record_is_told_as_its_ledger_row_says(home, corpus):
    for row in corpus.rows[::4] + [row_of(corpus, corpus.ids(verdict)[0]) for verdict in VERDICTS]:
        found = trace(home, row["record_id"], no_models)
        told = [key for key in found if key in row]
        assert {"licence", "uri", "value", "threshold", "similarity", "detail"} < set(told)
        assert {key: found[key] for key in told} == {key: row[key] for key in told}
        assert bool(found["corpora"]) == (row["verdict"] in ("keep", "redact"))
        assert found["decisions"] == [
            {"corpus": "tiny", "version": 1, **{key: row[key] for key in ("verdict", "rule", "policy_sha256")}}
        ]


def test_near_duplicates_lead_both_ways(home, corpus):
    dropped = corpus.ids("drop")
    survivor = row_of(corpus, dropped[0])["survivor_id"]
    assert trace(home, survivor)["near_duplicates"] == sorted(dropped)
    found = trace(home, dropped[0])
    assert found["near_duplicates"] == [found["survivor_id"]] == [survivor]
    assert found["near_duplicate_details"][0]["similarity"] == 0.9


def test_a_record_that_no_run_read_asks_for_no_model(home, corpus):
    write_run(home, corpus, encoder=False)
    for name in [*corpus.ids("drop"), *corpus.ids("quarantine")]:
        assert trace(home, name, no_models)["runs"] == []


def test_a_run_without_a_model_is_named_all_the_same(home, corpus):
    write_run(home, corpus, encoder=False)
    record = next(row["record_id"] for row in corpus.rows if row["split"] == "train")
    (run,) = trace(home, record)["runs"]
    assert (run["run_id"], run["model"], run["aliases"]) == ("tiny-0123456789ab", None, [])


def test_a_uri_or_the_start_of_an_id_will_do(home, corpus):
    row = corpus.rows[3]
    for question in (row["uri"], row["record_id"][:8], row["record_id"][:31]):
        assert trace(home, question)["record_id"] == row["record_id"]


@pytest.mark.parametrize(
    "question", ["f" * 32, "0" * 8, "", "x' OR 1=1 --", "mem://docs/doc-999", "*.parquet", "deadbeef" * 5]
)
def test_an_unknown_record_is_the_users_error(home, corpus, question):
    with pytest.raises(UserError, match="no ledger has the record"):
        trace(home, question)


def test_less_than_eight_digits_are_not_looked_up(home, corpus):
    with pytest.raises(UserError, match="no ledger"):
        trace(home, corpus.rows[0]["record_id"][:7])


def test_no_ledger_at_all_is_said(home):
    with pytest.raises(UserError, match="no ledger yet"):
        trace(home, "0" * 32)


def crafted(home: Home, lines: list[dict], corpus: str = "crafted", version: int = 1):
    rows = [
        dict.fromkeys(LEDGER_SCHEMA.names) | {"verdict": "keep", "rules": [], "policy_sha256": "p"} | line
        for line in lines
    ]
    write_ledger(pa.Table.from_pylist(rows, schema=LEDGER_SCHEMA), home.corpus(corpus) / f"v{version}" / "ledger")


def test_what_means_two_records_is_refused_with_both_named(home):
    ids = ["abcdef01" + "0" * 24, "abcdef01" + "1" * 24, "abcdef02" + "0" * 24]
    crafted(home, [{"record_id": name, "uri": "same"} for name in ids])
    with pytest.raises(UserError, match="means 2 records") as error:
        trace(home, "abcdef01")
    assert error.value.hint == f"give one of: {ids[0]}, {ids[1]}"
    with pytest.raises(UserError, match="means 3 records"):
        trace(home, "same")
    assert trace(home, "abcdef02")["record_id"] == ids[2]
    assert trace(home, ids[0])["record_id"] == ids[0]


def test_the_verdict_is_the_newest_and_every_version_is_listed(home):
    name = "a" * 32
    crafted(home, [{"record_id": name, "shard": "train-000000", "offset": 0, "length": 9}], version=1)
    crafted(home, [{"record_id": name, "shard": "train-000000", "offset": 512, "length": 9}], version=9)
    crafted(home, [{"record_id": name, "verdict": "drop", "rule": "override.erased"}], version=10)
    found = trace(home, name)
    assert (found["verdict"], found["rule"]) == ("drop", "override.erased")
    assert [(place["version"], place["offset"]) for place in found["corpora"]] == [(1, 0), (9, 512)]
    assert [item["version"] for item in found["decisions"]] == [10, 9, 1]


def test_a_corpus_that_admits_it_speaks_before_one_that_does_not(home):
    name = "b" * 32
    crafted(home, [{"record_id": name, "verdict": "quarantine", "rule": "licence.unknown"}], corpus="a-strict")
    crafted(home, [{"record_id": name, "shard": "train-000000", "offset": 0, "length": 9}], corpus="b-open")
    assert trace(home, name)["verdict"] == "keep"


def test_refused_corpora_are_searched_too_and_hold_nothing(home):
    name = "c" * 32
    crafted(home, [{"record_id": name, "verdict": "drop", "rule": "toxicity.threat"}])
    home.refused("crafted").mkdir(parents=True)
    shutil.move(home.corpus("crafted") / "v1", home.refused("crafted") / ("0" * 16))
    found = trace(home, name)
    assert (found["rule"], found["corpora"]) == ("toxicity.threat", [])
    assert found["decisions"][0]["version"] is None


def test_a_home_whose_path_is_a_glob_pattern(tmp_path, texts):
    home = Home.at(tmp_path / "a[1-2]*b? c'd")
    corpus = write_corpus(home, texts[:10])
    write_run(home, corpus, encoder=False)
    record = next(row["record_id"] for row in corpus.rows if row["split"] == "train")
    assert len(trace(home, record)["runs"]) == 1


@settings(max_examples=12)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_trace_equals_a_plain_loop_over_the_rows(tmp_path_factory, seed, count):
    chance, home = random.Random(seed), Home.at(tmp_path_factory.mktemp("home"))
    ids = [f"{chance.getrandbits(128):032x}" for _ in range(count)]
    lines = [
        {"record_id": name, "uri": f"u/{n % 7}", "survivor_id": chance.choice([None, *ids])}
        for n, name in enumerate(ids)
    ]
    crafted(home, lines)
    for line in chance.sample(lines, min(3, count)):
        found = trace(home, line["record_id"][: chance.randint(12, 32)])
        similar = sorted(other["record_id"] for other in lines if other["survivor_id"] == line["record_id"])
        assert found["near_duplicates"] == ([line["survivor_id"]] if line["survivor_id"] else []) + similar
        assert (found["record_id"], found["uri"]) == (line["record_id"], line["uri"])


# verify


def test_a_whole_corpus_has_no_findings(corpus):
    assert verify(corpus.folder) == []


def guarded(corpus):
    """Every file whose every byte the manifest answers for."""
    names = ["manifest.json", "gate.json", "policy.json"]
    return (
        [corpus.folder / name for name in names]
        + sorted(corpus.folder.glob("shards/*"))
        + sorted(corpus.folder.glob("ledger/*"))
    )


@settings(max_examples=80)
@given(data=st.data())
def test_any_flipped_byte_is_found(shared_corpus, data):
    path = data.draw(st.sampled_from(guarded(shared_corpus)))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
    try:
        path.write_bytes(whole[:at] + flipped + whole[at + 1 :])
        findings = verify(shared_corpus.folder)
    finally:
        path.write_bytes(whole)
    assert {finding["kind"] for finding in findings} <= KINDS
    name = path.relative_to(shared_corpus.folder).as_posix()
    assert {"path": name, "record_id": "", "kind": "changed"} in findings


@pytest.fixture(scope="module")
def shared_corpus(tmp_path_factory):
    texts = [f"text number {number} grinds slowly but exceedingly fine" for number in range(40)]
    return write_corpus(Home.at(tmp_path_factory.mktemp("shared")), texts)


@settings(max_examples=25)
@given(data=st.data())
def test_a_flipped_byte_of_a_text_names_its_record(shared_corpus, data):
    row = data.draw(st.sampled_from([row for row in shared_corpus.rows if row["shard"]]))
    path = shared_corpus.folder / "shards" / f"{row['shard']}.tar"
    whole = path.read_bytes()
    at = whole.index(shared_corpus.texts[row["record_id"]].encode(), row["offset"], row["offset"] + row["length"])
    try:
        path.write_bytes(whole[:at] + b"#" + whole[at + 1 :])
        findings = verify(shared_corpus.folder)
    finally:
        path.write_bytes(whole)
    assert {finding["record_id"] for finding in findings} == {"", row["record_id"]}
    assert {finding["kind"] for finding in findings} == {"changed"}


def test_lost_and_unknown_files_are_named(corpus):
    (corpus.folder / "shards" / "train-000001.tar").unlink()
    (corpus.folder / "index" / "train-000000.idx").unlink()
    (corpus.folder / "gate.json").unlink()
    (corpus.folder / "shards" / "train-000007.tar").write_bytes(b"")
    (corpus.folder / "ledger" / "part-00000.parquet.tmp").write_bytes(b"")
    found = {(finding["path"], finding["kind"]) for finding in verify(corpus.folder)}
    assert found >= {
        ("shards/train-000001.tar", "missing"),
        ("index/train-000000.idx", "missing"),
        ("gate.json", "missing"),
        ("shards/train-000007.tar", "extra"),
        ("ledger/part-00000.parquet.tmp", "extra"),
    }


def test_a_lost_ledger_is_a_finding_and_no_traceback(corpus):
    shutil.rmtree(corpus.folder / "ledger")
    assert {"path": "ledger/part-00000.parquet", "record_id": "", "kind": "missing"} in verify(corpus.folder)


def test_no_manifest_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="no corpus version"):
        verify(tmp_path)


def resealed(corpus, **changes) -> Manifest:
    """The manifest with changed claims, and all digests right again: what someone who covers his tracks would write."""
    values = corpus.manifest.model_dump() | changes
    values["ledger"] = {path.name: sha256_file(path) for path in (corpus.folder / "ledger").iterdir()}
    for shard in values["shards"]:
        path = corpus.folder / "shards" / f"{shard['name']}.tar"
        shard |= {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    manifest = Manifest.model_validate(values)
    manifest.write(corpus.folder)
    return manifest


def rewrite(corpus, change):
    for row in corpus.rows:
        change(row)
    shutil.rmtree(corpus.folder / "ledger")
    write_ledger(pa.Table.from_pylist(corpus.rows, schema=LEDGER_SCHEMA), corpus.folder / "ledger")


def kinds(corpus):
    return {(finding["path"], finding["kind"]) for finding in verify(corpus.folder)}


def test_resealing_an_untouched_corpus_leaves_it_whole(corpus):
    rewrite(corpus, lambda row: None)
    assert resealed(corpus) == corpus.manifest
    assert verify(corpus.folder) == []


def test_a_licence_changed_in_ledger_and_digests_breaks_root_and_sample(corpus):
    victim = corpus.ids("keep")[0]
    rewrite(corpus, lambda row: row.update(licence="CC0-1.0") if row["record_id"] == victim else None)
    resealed(corpus)
    shard = f"shards/{row_of(corpus, victim)['shard']}.tar"
    assert verify(corpus.folder) == [
        {"path": "manifest.json", "record_id": "", "kind": "root"},
        {"path": shard, "record_id": victim, "kind": "changed"},
    ]


def test_a_text_changed_in_shard_and_digests_breaks_its_record(corpus):
    row = row_of(corpus, corpus.ids("redact")[0])
    path = corpus.folder / "shards" / f"{row['shard']}.tar"
    whole, text = path.read_bytes(), corpus.texts[row["record_id"]].encode()
    path.write_bytes(whole.replace(text, text[::-1]))
    resealed(corpus)
    assert verify(corpus.folder) == [
        {"path": f"shards/{row['shard']}.tar", "record_id": row["record_id"], "kind": "changed"}
    ]


def test_a_root_over_other_documents_is_found(corpus):
    kept = [row for row in corpus.rows if row["shard"]][1:]
    leaves = [leaf(row["record_id"], row["sample_sha256"], row["licence"]) for row in kept]
    resealed(corpus, root=merkle_root(leaves))
    assert kinds(corpus) == {("manifest.json", "root")}


def test_counts_that_do_not_add_up_are_found(corpus):
    counts = corpus.manifest.counts.model_dump()
    resealed(corpus, counts=counts | {"read": counts["read"] + 1, "drop": counts["drop"] + 1})
    assert kinds(corpus) == {("manifest.json", "count")}
    resealed(corpus, splits={"train": 1, "validation": 31})
    assert kinds(corpus) == {("manifest.json", "count")}
    source = corpus.manifest.sources[0].model_dump()
    resealed(corpus, sources=[source | {"records": 41}])
    assert kinds(corpus) == {("manifest.json", "count")}


def test_a_record_that_is_dropped_in_the_ledger_alone_leaves_its_bytes_behind(corpus):
    """The half-done erasure: the row says dropped, the root and counts agree, and the text is still in the shard."""
    victim = row_of(corpus, corpus.ids("keep")[0])
    shard, split = victim["shard"], victim["split"]
    gone = {"verdict": "drop", "rule": "override.erased", "shard": None, "offset": None, "length": None, "split": None}
    rewrite(corpus, lambda row: row.update(gone) if row is victim else None)
    kept = [row for row in corpus.rows if row["shard"]]
    counts, splits = corpus.manifest.counts.model_dump(), dict(corpus.manifest.splits)
    splits[split] -= 1
    shards = [item.model_dump() for item in corpus.manifest.shards]
    for item in shards:
        item["samples"] -= item["name"] == shard
    resealed(
        corpus,
        root=merkle_root(leaf(row["record_id"], row["sample_sha256"], row["licence"]) for row in kept),
        counts=counts | {"keep": counts["keep"] - 1, "drop": counts["drop"] + 1},
        splits=splits,
        shards=shards,
    )
    assert kinds(corpus) == {(f"shards/{shard}.tar", "extra"), (f"index/{shard}.idx", "changed")}


def test_a_cut_shard_names_the_records_that_are_gone(corpus):
    rows = sorted((row for row in corpus.rows if row["shard"] == "train-000001"), key=lambda row: row["offset"])
    path = corpus.folder / "shards" / "train-000001.tar"
    path.write_bytes(path.read_bytes()[: rows[-2]["offset"]])
    found = [finding["record_id"] for finding in verify(corpus.folder) if finding["kind"] == "missing"]
    assert sorted(found) == sorted(row["record_id"] for row in rows[-2:])


def test_a_shard_that_no_manifest_lists_leaves_its_records_missing(corpus):
    shards = [shard.model_dump() for shard in corpus.manifest.shards if shard.name != "validation-000000"]
    resealed(corpus, shards=shards)
    lost = {row["record_id"] for row in corpus.rows if row["shard"] == "validation-000000"}
    findings = verify(corpus.folder)
    assert {finding["record_id"] for finding in findings if finding["kind"] == "missing"} == lost
    assert ("shards/validation-000000.tar", "extra") in {(finding["path"], finding["kind"]) for finding in findings}


def test_an_index_that_points_elsewhere_is_found(corpus):
    path = corpus.folder / "index" / "train-000000.idx"
    with pa.ipc.open_file(path) as reader:
        table = reader.read_all()
    moved = pa.array([value.as_py() + 1 for value in table["txt.offset"]])
    table = table.set_column(table.column_names.index("txt.offset"), "txt.offset", moved)
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    assert kinds(corpus) == {("index/train-000000.idx", "changed")}
    path.write_bytes(b"not an index")
    assert kinds(corpus) == {("index/train-000000.idx", "changed")}


def test_rows_out_of_order_or_under_another_policy_are_found(corpus):
    path = corpus.folder / "ledger" / "part-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(list(reversed(range(len(table))))), path)
    resealed(corpus)
    assert ("ledger", "changed") in kinds(corpus)
    rewrite(corpus, lambda row: row.update(policy_sha256="8" * 64))
    resealed(corpus)
    assert kinds(corpus) == {("ledger", "changed")}


# lineage_mermaid


def test_the_graph_names_sources_version_verdicts_run_figures_and_model(corpus):
    metrics = [
        {"name": "eval/linear_top1", "value": 0.5, "low": 0.4, "high": 0.6},
        {"name": "eval/cross_entropy", "value": 6.0},
        {"name": "eval/something_else", "value": 1.0},
    ]
    graph = lineage_mermaid(
        corpus.manifest, {"run_id": "tiny-01", "steps": 1200, "loss": 4.25}, {"metrics": metrics},
        {"model": "tiny", "version": "2", "aliases": ["champion"]},
    )  # fmt: skip
    lines = graph.splitlines()
    assert (lines[0], lines[1], lines[-1]) == ("```mermaid", "graph LR", "```")
    corpus_label = f"tiny@v1<br/>root {corpus.manifest.root[:16]}<br/>policy open"
    run_label, figure = (
        "run tiny-01<br/>1,200 steps<br/>loss 4.250",
        '"cross_entropy 6.000<br/>linear_top1 0.500 (0.400 to 0.600)"',
    )
    labels = (
        "docs<br/>40 records",
        corpus_label,
        "redact 4",
        "quarantine 4",
        run_label,
        figure,
        "model tiny v2 @champion",
    )
    for text in labels:
        assert graph.count(text) == 1
    assert "run" not in lineage_mermaid(corpus.manifest).replace("graph", "")


@given(st.text(max_size=30))
def test_no_name_breaks_out_of_its_label(shared_corpus, name):
    source = shared_corpus.manifest.sources[0].model_copy(update={"name": name})
    manifest = shared_corpus.manifest.model_copy(update={"sources": [source]})
    plain, graph = lineage_mermaid(shared_corpus.manifest), lineage_mermaid(manifest)
    assert graph.count("\n") == plain.count("\n")
    for mark in '"<>`':
        assert graph.count(mark) == plain.count(mark)
