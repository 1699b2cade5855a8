"""The manifest: what a corpus version is, with a digest of everything in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.errors import UserError, VerificationFailed

FORMAT: Literal["gristmill-corpus/1"] = "gristmill-corpus/1"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicyRef(_Frozen):
    name: str
    sha256: str


class Counts(_Frozen):
    """read = keep + redact + drop + quarantine: the closed ledger."""

    read: int
    keep: int
    redact: int
    drop: int
    quarantine: int

    @property
    def closed(self) -> bool:
        return self.read == self.keep + self.redact + self.drop + self.quarantine


class SourceRef(_Frozen):
    name: str
    digest: str
    records: int
    bytes: int


class ShardRef(_Frozen):
    name: str
    split: str
    sha256: str
    bytes: int
    samples: int


class GateRef(_Frozen):
    passed: bool
    sha256: str


class Manifest(_Frozen):
    """``manifest.json``. It holds no time and no host: those are in ``created.json``."""

    format: Literal["gristmill-corpus/1"] = FORMAT
    name: str
    version: int
    parent: int | None
    root: str
    inputs_sha256: str
    policy: PolicyRef
    recipe_sha256: str
    steps: dict[str, int]
    counts: Counts
    sources: list[SourceRef]
    splits: dict[str, int]
    shard_counts: dict[str, int]
    shards: list[ShardRef]
    ledger: dict[str, str]
    evidence: dict[str, str] = {}
    gate: GateRef

    def write(self, folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps(self.model_dump(), indent=1, sort_keys=True) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the corpus version in `folder`; VerificationFailed when it cannot be read."""
    path = folder / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_text())
    except FileNotFoundError:
        raise UserError(
            "this is no corpus version: it has no manifest.json",
            where=str(folder),
            hint="list them with `gristmill ls`",
        ) from None
    except ValueError as error:
        raise VerificationFailed("the manifest cannot be read", where=str(path), hint="curate again") from error


def leaf(record_id: str, sample_sha256: str, licence: str) -> bytes:
    """The Merkle leaf of a kept sample."""
    return f"{record_id}\0{sample_sha256}\0{licence}".encode()


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Hex RFC 6962 Merkle tree hash (section 2.1): leaves hashed with a 0x00 prefix, nodes with 0x01.

    Built bottom-up: pairs are joined level by level and an odd last node is carried up unchanged, which gives RFC 6962's
    split at the largest power of two.
    """
    level = [hashlib.sha256(b"\x00" + item).digest() for item in leaves]
    if not level:
        return hashlib.sha256(b"").hexdigest()
    while len(level) > 1:
        joined = [hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = joined + level[len(level) - len(level) % 2 :]
    return level[0].hex()


def versions(corpus: Path) -> list[int]:
    """The version numbers that exist under ``corpora/NAME``, ascending."""
    if not corpus.is_dir():
        return []
    return sorted(int(path.name[1:]) for path in corpus.iterdir() if path.name[:1] == "v" and path.name[1:].isdigit())
