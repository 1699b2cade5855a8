"""Content-addressed stages: the only cache.

A stage's folder is named by the SHA-256 of everything its output depends on. It is written to a
sibling temporary folder and renamed once whole, so present means done and anything else is redone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Stage:
    """One finished stage, as it stands in ``--json`` and in the summary."""

    name: str
    digest: str
    reused: bool
    seconds: float
    path: str
    version: int = 1

    def public(self) -> dict[str, Any]:
        """``{name, digest, reused, seconds}``."""
        return {key: value for key, value in asdict(self).items() if key not in ("path", "version")}


@dataclass(frozen=True)
class Transient:
    """What a build returns when rows of its output are there by the clock or a dead worker: it is no cache of anything.

    `because`: a digest of what went wrong, which becomes part of the stage's address.
    """

    because: str


def read_stage(folder: Path) -> Stage:
    """A finished stage from its folder."""
    record = json.loads((folder / "stage.json").read_text())
    return Stage(record["name"], record["digest"], True, 0.0, str(folder), record["version"])


def stage_digest(name: str, version: int, inputs: Mapping[str, Any]) -> str:
    """The 64-hex address of a stage: its name, its integer VERSION, and everything it depends on (JSON-able)."""
    return sha256_json({"stage": name, "version": version, "inputs": dict(inputs)})


def run_stage(root: Path, name: str, version: int, inputs: Mapping[str, Any], build: Callable[[Path], object]) -> Stage:
    """Return the stage from its folder ``root/NAME-<16 hex>``, building it into that folder when it is not there.

    `build` gets an empty temporary folder and fills it. An exception leaves nothing behind under the stage's name.
    When it returns a `Transient`, the folder gets a name of its own: later stages use it, the next run builds anew.
    """
    digest = stage_digest(name, version, inputs)
    folder = root / f"{name}-{digest[:16]}"
    started = time.perf_counter()
    reused = folder.is_dir()
    if not reused:
        _sweep(root, folder.name)
        temporary = root / f".{folder.name}.{os.getpid()}.tmp"
        temporary.mkdir(parents=True)
        try:
            outcome = build(temporary)
            if isinstance(outcome, Transient):
                inputs = {**inputs, "transient": outcome.because}
                digest = stage_digest(name, version, inputs)
                folder = root / f"{name}-{digest[:16]}"
            (temporary / "stage.json").write_text(
                json.dumps(
                    {"name": name, "version": version, "digest": digest, "inputs": dict(inputs)},
                    indent=1,
                    sort_keys=True,
                )
            )
            publish(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return Stage(name, digest, reused, round(time.perf_counter() - started, 3), str(folder), version)


def _sweep(root: Path, name: str) -> None:
    """Remove what a process that was killed left of this stage; another that still lives keeps its own."""
    for left in root.glob(f".{name}.*.tmp"):
        owner = left.name.split(".")[-2]
        if owner.isdigit() and (int(owner) == os.getpid() or not _alive(int(owner))):
            shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's
        return True
    return True


def publish(temporary: Path, folder: Path) -> None:
    """Make a whole folder visible under its name at once: sync its files, rename, sync the parent.

    If another process published the same name first, its copy stays and ours goes.
    """
    for path in temporary.rglob("*"):
        if path.is_file():
            _sync(path)
    for path in [temporary, *(p for p in temporary.rglob("*") if p.is_dir())]:
        _sync(path)
    try:
        os.rename(temporary, folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(temporary)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
