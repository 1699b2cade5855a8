"""What bad input gets, through the command line: a reason for every row, the rest unharmed, evidence kept."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.governance.ledger import read_ledger
from tests_support import corpus_lines, write_recipe

pytestmark = pytest.mark.flow


def curate(recipe, folder):
    """The real command in a real process: (exit code, the JSON envelope, standard error)."""
    command = [sys.executable, "-m", "flows.cli", "curate", str(recipe), "--home", str(folder / "h")]
    done = subprocess.run(
        [*command, "--json", str(folder / "o.json")], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads((folder / "o.json").read_text()), done.stderr


def test_bad_rows_are_quarantined_and_the_rest_is_unharmed(tmp_path):
    good = corpus_lines(30)[:30]
    recipe = write_recipe(tmp_path, good)
    with open(tmp_path / "texts.jsonl", "ab") as file:
        file.write(b'{"id": "broken-byte", "licence": "MIT", "text": "one \xff byte"}\n')
        file.write(b'{"id": "cut", "licence": "MIT", "text": "this line ends too ear\n')
        file.write(b'{"id": "no-text", "licence": "MIT"}\n')
        reserved = {
            **corpus_lines(90)[85],
            "id": "reserved",
            "tdm_reservation": 1,
        }  # the licence allows, the site does not
        file.write(json.dumps(reserved).encode() + b"\n")
        file.write(b'{"id": "huge", "licence": "MIT", "text": "' + b"word " * 10_000_000 + b'"}\n')
    whole = gzip.compress("".join(json.dumps(line) + "\n" for line in corpus_lines(80)[40:80]).encode())
    (tmp_path / "more.jsonl.gz").write_bytes(whole[: len(whole) * 2 // 3])
    value = yaml.safe_load(recipe.read_text())
    value["sources"].append({"kind": "files", "name": "more", "path": str(tmp_path / "more.jsonl.gz")})
    recipe.write_text(yaml.safe_dump(value))
    code, outcome, error = curate(recipe, tmp_path)
    assert code == 0, error
    ledger = read_ledger(Path(outcome["result"]["path"]) / "ledger").to_pylist()
    rules = sorted(row["rule"] for row in ledger if row["verdict"] == "quarantine")
    assert rules == ["ingest.empty", "ingest.json", "ingest.too_large", "ingest.truncated", "ingest.utf8"]
    assert [row["verdict"] for row in ledger if row["rule"] == "licence.opt_out"] == ["drop"]
    assert all(row["detail"] for row in ledger if row["rule"] == "ingest.truncated")
    assert outcome["result"]["counts"]["read"] == len(ledger) > 34
    first = [row for row in ledger if row["source"] == "texts" and row["rule"] is None]
    assert len(first) == len(good)
    assert "one " not in json.dumps(ledger)


def test_everything_refused_is_exit_3_with_the_evidence_kept(tmp_path):
    lines = [{**line, "licence": "CC-BY-NC-4.0"} for line in corpus_lines(20)[:20]]
    code, outcome, error = curate(write_recipe(tmp_path, lines), tmp_path)
    assert code == 3, error
    assert len([line for line in error.splitlines() if line.startswith("gristmill: ")]) == 1
    (folder,) = (tmp_path / "h" / "refused" / "mini").iterdir()
    assert {row["rule"] for row in read_ledger(folder / "ledger").to_pylist()} == {"licence.not_allowed"}
    assert json.loads((folder / "gate.json").read_text())["results"]
    assert not (tmp_path / "h" / "corpora" / "mini").exists() or not list(
        (tmp_path / "h" / "corpora" / "mini").iterdir()
    )
    assert outcome["result"]["counts"]["drop"] == 20
    assert outcome["result"]["gate"]["passed"] is False


def test_a_gate_that_says_no_names_the_expectation(tmp_path, prefect_server):
    from data_policies.load import shipped
    from flows.curate import curate as flow
    from flows.recipe import load_recipe
    from tasks.errors import Refused

    policy = yaml.safe_load(shipped()["open-definition"].read_text())
    policy["gates"]["minimum_kept"] = 1000
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(policy))
    recipe = load_recipe(str(write_recipe(tmp_path, corpus_lines(20), policy=str(tmp_path / "p.yaml"))))
    with pytest.raises(Refused, match="corpus.admitted.*1000") as caught:
        flow(recipe, str(tmp_path / "h"))
    assert not list((tmp_path / "h" / "corpora").rglob("*.tar"))
    assert [item["expectation"] for item in caught.value.result["gate"]["failed"]] == ["corpus.admitted.minimum"]
