"""Verification: does every byte of a corpus version still say what its manifest says?"""

from __future__ import annotations

import hashlib
import json
import mmap
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.errors import VerificationFailed
from tasks.governance.ledger import ADMITTED, LEDGER_SCHEMA, count_verdicts
from tasks.governance.manifest import Manifest, ShardRef, leaf, merkle_root, read_manifest
from tasks.progress import progress
from tasks.stages import sha256_file

Finding = dict[str, str]
COLUMNS = [
    "record_id",
    "source",
    "uri",
    "split",
    "sample_sha256",
    "licence",
    "verdict",
    "policy_sha256",
    "shard",
    "offset",
    "length",
]
BLOCK = tarfile.BLOCKSIZE


def verify(corpus: Path) -> list[Finding]:
    """Recompute everything that the manifest of the version in `corpus` claims; [] when it is whole.

    A finding is {path, record_id, kind}: `path` relative to `corpus`, `record_id` "" unless one record is to blame,
    `kind` missing, changed, extra, root (the Merkle root) or count. Checked: the manifest's own digest; digest, size,
    samples and layout of every shard; every sample's payload, origin and licence against its ledger row; the ledger's
    digest, order and counts; the root; gate, policy and recipe as decided; the indexes. UserError when there is no
    manifest.
    """
    try:
        manifest = read_manifest(corpus)
    except VerificationFailed:  # nothing else can be judged by it
        return [_finding("manifest.json", "changed")]
    findings = []
    if (corpus / "manifest.json").read_bytes() != manifest.text().encode():
        findings.append(_finding("manifest.json", "changed"))
    digests = {f"ledger/{name}": digest for name, digest in manifest.ledger.items()}
    digests |= {"gate.json": manifest.gate.sha256, **manifest.evidence}
    findings += [found for path, digest in sorted(digests.items()) for found in _digest(corpus, path, digest)]
    findings += _unknown_files(corpus, manifest)
    try:
        ledger = [corpus / "ledger" / name for name in sorted(manifest.ledger)]
        rows = pq.read_table(ledger, schema=LEDGER_SCHEMA, columns=COLUMNS)
    except (OSError, pa.ArrowException):  # the digests above have already said so
        return findings or [_finding("ledger", "changed")]
    kept = rows.filter(pc.is_in(rows["verdict"], pa.array(ADMITTED)))
    findings += _ledger(rows, kept, manifest)
    listed = {shard.name for shard in manifest.shards}
    for name in sorted(set(kept["shard"].to_pylist()) - listed, key=str):
        lost = kept.filter(pc.equal(kept["shard"], name) if name else pc.is_null(kept["shard"]))
        findings += [_finding(_tar(name or ""), "missing", record_id) for record_id in lost["record_id"].to_pylist()]
    for shard in manifest.shards:
        findings += _shard(corpus, shard, kept.filter(pc.equal(kept["shard"], shard.name)).sort_by("offset"))
    return findings


def verified(folder: Path) -> dict[str, Any]:
    """``audit verify``'s result for a corpus version."""
    with progress("verify", None) as advance:
        findings = verify(folder)
        advance(1)
    broken = any(item["path"] == "manifest.json" for item in findings)
    root = "" if broken else read_manifest(folder).root
    return {"verified": not findings, "root": root, "findings": findings}


def _finding(path: str, kind: str, record_id: str = "") -> Finding:
    return {"path": path, "record_id": record_id, "kind": kind}


def _tar(shard: str) -> str:
    return f"shards/{shard.removesuffix('.tar')}.tar"


def _index(shard: str) -> str:
    return f"index/{shard.removesuffix('.tar')}.idx"


def _digest(corpus: Path, path: str, digest: str) -> Iterator[Finding]:
    if not (corpus / path).is_file():
        yield _finding(path, "missing")
    elif sha256_file(corpus / path) != digest:
        yield _finding(path, "changed")


def _unknown_files(corpus: Path, manifest: Manifest) -> Iterator[Finding]:
    known = {f"ledger/{name}" for name in manifest.ledger}
    known |= {form(shard.name) for shard in manifest.shards for form in (_tar, _index)}
    for folder in ("index", "ledger", "shards"):
        for path in sorted((corpus / folder).rglob("*")):
            if path.is_file() and (name := path.relative_to(corpus).as_posix()) not in known:
                yield _finding(name, "extra")


def _ledger(rows: pa.Table, kept: pa.Table, manifest: Manifest) -> Iterator[Finding]:
    ids = rows["record_id"].to_pylist()
    if any(left >= right for left, right in zip(ids, ids[1:], strict=False)):
        yield _finding("ledger", "changed")
    if set(rows["policy_sha256"].unique().to_pylist()) - {manifest.policy.sha256}:
        yield _finding("ledger", "changed")
    counts, splits = manifest.counts, kept["split"].to_pylist()
    expected = {"read": len(rows), **count_verdicts(rows)}
    whole = (
        counts.closed and counts.model_dump() == expected and counts.read == sum(s.records for s in manifest.sources)
    )
    whole = whole and len(kept) == sum(shard.samples for shard in manifest.shards)
    if not whole or {name: splits.count(name) for name in {*splits, *manifest.splits}} != dict(manifest.splits):
        yield _finding("manifest.json", "count")
    columns = [kept[name].to_pylist() for name in ("record_id", "sample_sha256", "licence")]
    if merkle_root(leaf(*values) for values in sorted(zip(*columns, strict=True), key=str)) != manifest.root:
        yield _finding("manifest.json", "root")


def _shard(corpus: Path, shard: ShardRef, rows: pa.Table) -> Iterator[Finding]:
    path = _tar(shard.name)
    if not (corpus / path).is_file():
        yield _finding(path, "missing")
        return
    if len(rows) != shard.samples:
        yield _finding(path, "count")
    index = []
    with open(corpus / path, "rb") as file:
        size = file.seek(0, 2)
        data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        if size != shard.bytes or hashlib.sha256(data).hexdigest() != shard.sha256:
            yield _finding(path, "changed")
        end = 0
        for row in rows.to_pylist():
            if row["offset"] != end:  # bytes that no ledger row answers for, or two rows for the same bytes
                yield _finding(path, "extra", row["record_id"])
            end = row["offset"] + row["length"]
            members = _members(data, row["offset"], end)
            if not _matches(data, members, row):
                yield _finding(path, "changed" if row["offset"] < size else "missing", row["record_id"])
            index.append(_index_row(row, members))
        if any(data[end:]):  # a tar ends in zeros
            yield _finding(path, "extra")
    yield from _check_index(corpus, _index(shard.name), index)


def _members(data: Any, start: int, end: int) -> dict[str, tuple[int, int]]:
    """Name -> (offset, length) of the payloads of the tar entries in [start, end); {} when they are no such entries."""
    members: dict[str, tuple[int, int]] = {}
    while start < end:
        try:
            entry = tarfile.TarInfo.frombuf(
                data[start : start + BLOCK], "utf-8", "strict"
            )  # checks the header's checksum
        except (tarfile.HeaderError, UnicodeDecodeError):
            return {}
        if not entry.isreg() or entry.name in members:
            return {}
        members[entry.name] = (start + BLOCK, entry.size)
        start += BLOCK + -(-entry.size // BLOCK) * BLOCK
    return members if start == end else {}


def _matches(data: Any, members: dict[str, tuple[int, int]], row: dict[str, Any]) -> bool:
    """Is the sample the one that the ledger row describes: its payload's digest, its id, origin and licence?"""
    about_name = f"{row['record_id']}.json"
    if about_name not in members or len(members) < 2:
        return False
    # Of a corpus's extensions the index and the shard's digest tell; here all that is not the JSON is the payload.
    if any(name.partition(".")[0] != row["record_id"] for name in members):
        return False
    payload = hashlib.sha256()
    for name in sorted(members.keys() - {about_name}):
        at, size = members[name]
        payload.update(data[at : at + size])
    at, size = members[about_name]
    try:
        about = json.loads(data[at : at + size])
        same = [about[key] == (row[key] or "") for key in ("source", "uri", "licence")]
        return payload.hexdigest() == row["sample_sha256"] and about["id"] == row["record_id"] and all(same)
    except (ValueError, KeyError, TypeError):
        return False


def _index_row(row: dict[str, Any], members: dict[str, tuple[int, int]]) -> dict[str, Any]:
    found = {"key": row["record_id"], "offset": row["offset"], "length": row["length"], "sha256": row["sample_sha256"]}
    for name, (at, size) in members.items():
        extension = name.partition(".")[2]
        found |= {f"{extension}.offset": at, f"{extension}.length": size}
    return found


def _check_index(corpus: Path, path: str, expected: list[dict[str, Any]]) -> Iterator[Finding]:
    """An index is derived from its shard, but training reads through it: it must say the same."""
    if not (corpus / path).is_file():
        yield _finding(path, "missing")
        return
    try:
        with pa.ipc.open_file(corpus / path) as reader:
            found = reader.read_all().to_pylist()
    except (OSError, pa.ArrowException):
        found = []
    if found != sorted(expected, key=lambda row: row["key"]):
        yield _finding(path, "changed")
