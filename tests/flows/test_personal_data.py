"""Actions on personal data through the real command, and a scan of everything that it left behind."""

import hashlib
import hmac
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tasks.governance.ledger import read_ledger
from tests_support import pieces, text, write_recipe

pytestmark = pytest.mark.flow

ACTIONS = {
    "email": "pseudonymise",
    "phone": "pseudonymise",
    "national_id": "redact",
    "ssn": "redact",
    "passport": "redact",
    "ip": "keep",
    "card": "drop",
}
MAIL, PHONE, IP, CARD = "jane.doe@kornmuehle.de", "+49 30 901820", "81.2.69.142", "4111 1111 1111 1111"
SSN, PESEL, PASSPORT, IMEI = "536-90-4399", "44051401359", "C01X00T47", "490154203237518"
TOKEN = "".join(("gh", "p_", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0xR6uI3"))
PLANTED = {
    "mail": f"Write to {MAIL} or call {PHONE} soon.",
    "again": "Write to Jane.Doe [at] kornmuehle [dot] de instead, not to joe@kornmuehle.de today.",
    "address": f"The server at host {IP} grinds all night.",
    "card": f"Pay with the card {CARD} at the mill.",
    "numbers": f"Her SSN is {SSN}, her PESEL {PESEL}, her passport number {PASSPORT}.",
    "unnamed": f"The telephone has the IMEI {IMEI} and the token {TOKEN} in it.",
}
RAW = [MAIL, PHONE, CARD, SSN, PESEL, PASSPORT, IMEI, TOKEN, "Jane.Doe [at]", "kornmuehle", "901820"]


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """(HOME, the JSON envelope, everything printed): one run of the command in a process of its own."""
    folder = tmp_path_factory.mktemp("personal")
    lines = [{"id": f"doc-{i}", "text": text(i), "licence": "MIT"} for i in range(12)]
    lines += [
        {"id": f"x-{n}", "text": f"{text(900 + n)} {said}", "licence": "MIT"} for n, said in enumerate(PLANTED.values())
    ]
    policy = {"name": "mine", "version": 1, "owner": "the tests", "reason": "every action", "pii": ACTIONS}
    (folder / "policy.yaml").write_text(yaml.safe_dump({**policy, "licences": {"allow": ["MIT"]}}))
    recipe = write_recipe(folder, lines, policy=str(folder / "policy.yaml"))
    command = [sys.executable, "-m", "flows.cli", "curate", str(recipe), "--home", str(folder / "home")]
    done = subprocess.run(
        [*command, "--json", str(folder / "outcome.json")], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome = (folder / "outcome.json").read_text()
    return folder / "home", json.loads(outcome), done.stdout + done.stderr + outcome


def kept_texts(home):
    texts = {}
    for tar in sorted((home / "corpora" / "mini" / "v1" / "shards").glob("*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                if member.name.endswith(".txt"):
                    texts[member.name.removesuffix(".txt")] = archive.extractfile(member).read().decode()
    return texts


def rows(home):
    ledger = read_ledger(home / "corpora" / "mini" / "v1" / "ledger").to_pylist()
    return {row["uri"].rpartition("#x-")[2]: row for row in ledger}


def test_every_action_does_what_it_says(curated):
    home, outcome, _ = curated
    texts = kept_texts(home)
    fate = {name: rows(home)[str(n)] for n, name in enumerate(PLANTED)}
    verdicts = {name: (row["verdict"], row["rule"]) for name, row in fate.items()}
    assert verdicts == {
        "mail": ("redact", "pii.email"),
        "again": ("redact", "pii.email"),
        "address": ("keep", None),
        "card": ("drop", "pii.card"),
        "numbers": ("redact", "pii.ssn"),
        "unnamed": ("redact", "pii.imei"),
    }
    actions = {name: {(span["type"], span["action"]) for span in row["spans"]} for name, row in fate.items()}
    assert actions["mail"] == {("email", "pseudonymise"), ("phone", "pseudonymise")}
    assert actions["address"] == {("ip", "keep")}
    assert actions["card"] == {("card", "drop")}
    assert actions["unnamed"] == {("imei", "redact"), ("secret", "redact")}  # a type that the policy does not name
    assert texts[fate["address"]["record_id"]].endswith(PLANTED["address"])
    assert texts[fate["numbers"]["record_id"]].endswith(
        "Her SSN is <SSN>, her PESEL <NATIONAL_ID>, her passport number <PASSPORT>."
    )
    assert fate["card"]["record_id"] not in texts
    assert outcome["result"]["gate"]["passed"]


def test_one_value_has_one_pseudonym_over_the_corpus_and_only_the_key_tells_whose(curated):
    home, _, _ = curated
    texts = kept_texts(home)
    key = (home / "keys" / "hmac.key").read_bytes().strip()
    keyed = [
        hmac.new(key, b"email\0" + value, hashlib.sha256).hexdigest() for value in (MAIL.encode(), b"joe@kornmuehle.de")
    ]
    jane, joe = (f"<EMAIL_{value[:8]}>" for value in keyed)
    first, second = (texts[rows(home)[str(n)]["record_id"]] for n in (0, 1))
    assert re.search(rf"Write to {jane} or call <PHONE_[0-9a-f]{{8}}> soon\.$", first)
    assert second.endswith(f"Write to {jane} instead, not to {joe} today.")
    assert jane != joe


def test_no_raw_value_is_left_anywhere_but_in_the_text_as_read(curated):
    """Every file under HOME and all that was printed. By design text lies in two places: the stage ``ingest-*`` has it
    as read, the shards as written; a value that the policy keeps may stand in both, and no other in the shards.
    """
    home, _, printed = curated
    found = {value: set() for value in (*RAW, IP)}
    for path in (path for path in home.rglob("*") if path.is_file()):
        place = path.relative_to(home)
        for piece in pieces(path):
            for value in found:
                if value.encode() in piece:
                    found[value].add("ingest" if place.parts[1].startswith("ingest-") else f"{place}")
    assert all(found[value] <= {"ingest"} for value in RAW), found
    assert all(found[value] for value in (*RAW, IP)), "the scan must be able to see what is there"
    assert {place for place in found[IP] if "shards" not in place} == {"ingest"}
    assert not [value for value in (*RAW, IP) if value in printed]
    assert any(path.suffix == ".db" for path in home.rglob("*")), "Prefect's database is among what was scanned"


def test_the_key_is_in_no_artifact(curated):
    home, _, printed = curated
    stored = (home / "keys" / "hmac.key").read_bytes().strip()
    forms = (stored, bytes.fromhex(stored.decode()))
    for path in home.rglob("*"):
        if path.is_file() and path.parent.name != "keys":
            assert not any(form in piece for piece in pieces(path) for form in forms), path
    assert stored.decode() not in printed


def test_the_scan_sees_into_tables(tmp_path):
    pq.write_table(pa.table({"x": [MAIL * 50]}), tmp_path / "x.parquet", compression="zstd")
    assert any(MAIL.encode() in piece for piece in pieces(Path(tmp_path / "x.parquet")))
