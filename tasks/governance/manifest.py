"""The manifest: what a corpus version is, with a digest of everything in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.errors import UserError, VerificationFailed
from tasks.home import Home
from tasks.stages import sha256_json

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

    def sha256(self) -> str:
        """Hex SHA-256 of the manifest as canonical JSON; it stands in the file: no changed byte goes unnoticed."""
        return sha256_json(self.model_dump())

    def text(self) -> str:
        """The file's text: the one spelling of these values, with their digest as ``manifest_sha256``."""
        return json.dumps(self.model_dump() | {"manifest_sha256": self.sha256()}, indent=1, sort_keys=True) + "\n"

    def write(self, folder: Path) -> None:
        (folder / "manifest.json").write_text(self.text())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the corpus version in `folder`; VerificationFailed when it is broken or not what was written."""
    path = folder / "manifest.json"
    try:
        values = json.loads(path.read_bytes())
        digest = values.pop("manifest_sha256", None)
        manifest = Manifest.model_validate(values)
    except FileNotFoundError:
        raise UserError(
            "this is no corpus version: it has no manifest.json",
            where=str(folder),
            hint="list them with `gristmill ls`",
        ) from None
    except (ValueError, AttributeError, TypeError) as error:
        raise VerificationFailed("the manifest cannot be read", where=str(path), hint="curate again") from error
    if digest not in (None, manifest.sha256()):
        raise VerificationFailed("the manifest is not as it was written", where=str(path), hint="curate again")
    return manifest


def leaf(record_id: str, sample_sha256: str, licence: str) -> bytes:
    """The Merkle leaf of a kept sample."""
    return f"{record_id}\0{sample_sha256}\0{licence}".encode()


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Hex RFC 6962 Merkle tree hash (section 2.1): leaves hashed with a 0x00 prefix, nodes with 0x01.

    In memory are only the roots of the complete subtrees so far, the largest first: two of one height become one. What
    is left is joined from the right, which gives RFC 6962's split at the largest power of two.
    """
    roots: list[tuple[int, bytes]] = []
    for item in leaves:
        height, node = 0, hashlib.sha256(b"\x00" + item).digest()
        while roots and roots[-1][0] == height:
            height, node = height + 1, hashlib.sha256(b"\x01" + roots.pop()[1] + node).digest()
        roots.append((height, node))
    if not roots:
        return hashlib.sha256(b"").hexdigest()
    node = roots.pop()[1]
    while roots:
        node = hashlib.sha256(b"\x01" + roots.pop()[1] + node).digest()
    return node.hex()


def versions(corpus: Path) -> list[int]:
    """The version numbers that exist under ``corpora/NAME``, ascending."""
    if not corpus.is_dir():
        return []
    return sorted(int(path.name[1:]) for path in corpus.iterdir() if path.name[:1] == "v" and path.name[1:].isdigit())


def find_corpus(home: Home, name: str) -> Path:
    """The folder of ``NAME@vN``, or of the newest version of ``NAME``; UserError when there is none."""
    corpus, _, wanted = name.partition("@")
    found = versions(home.corpus(corpus))
    if wanted and not (wanted[:1] == "v" and wanted[1:].isdigit()):
        raise UserError(
            f"'{name}' is no corpus version", where=str(home.root), hint="write NAME@v1, or NAME for the newest"
        )
    number = int(wanted[1:]) if wanted else (found[-1] if found else 0)
    if number not in found:
        names = sorted(path.name for path in (home.root / "corpora").glob("*"))
        hint = f"there are: {', '.join(names)}" if names else "there is none yet: `gristmill curate RECIPE`"
        raise UserError(f"there is no corpus '{name}'", where=str(home.root), hint=hint)
    return home.corpus(corpus) / f"v{number}"


def corpus_of(record: dict[str, Any]) -> str:
    """``NAME@vN`` from a run.json."""
    corpus = record["corpus"]
    return corpus if isinstance(corpus, str) else f"{corpus['name']}@v{corpus['version']}"
