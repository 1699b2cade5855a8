"""Checkpoints: safetensors and JSON in a folder that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizers: list[torch.optim.Optimizer], state: dict[str, Any], keep: int
) -> Path:
    """Write ``folder/step-00000100``: temporary folder, fsync, rename, fsync; then remove all but the newest `keep`."""
    final = folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(_distinct(model), temporary / _MODEL)
    save_file(_optimizer_tensors(optimizers), temporary / _OPTIMIZER)
    digests = {name: _sha256(temporary / name) for name in (_MODEL, _OPTIMIZER)}
    (temporary / _STATE).write_text(json.dumps({"step": step, "sha256": digests, **state}, sort_keys=True))
    publish(temporary, final)
    for old in _checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint whose bytes match their digests, with its state; None when there is none."""
    for path in reversed(_checkpoints(folder)):
        try:
            state = json.loads((path / _STATE).read_text())
            if all(_sha256(path / name) == digest for name, digest in state["sha256"].items()):
                return path, state
        except (OSError, ValueError, KeyError):
            continue
    return None


def load_checkpoint(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    """Put the weights and the optimizers' state back. ValueError when they are of another model."""
    own, saved = _distinct(model), load_file(path / _MODEL)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in saved.items()}:
        raise ValueError(f"{path}: the checkpoint is of another model")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])
    tensors = load_file(path / _OPTIMIZER)
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            owner, parameter, field = name.split(".", 2)
            if int(owner) == number:
                state.setdefault(int(parameter), {})[field] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def publish(temporary: Path, final: Path) -> None:
    """Sync every file of `temporary`, put it in the place of `final` by rename, and sync the parent."""
    for path in [*temporary.rglob("*"), temporary]:
        _sync(path)
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)
    _sync(final.parent)


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file at once: temporary sibling, fsync, rename, fsync."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir()) if folder.is_dir() else []


def _distinct(model: nn.Module) -> dict[str, Tensor]:
    """The state dict without second names of one tensor (tied embeddings): views of the model's own memory."""
    found: dict[int, str] = {}
    for name, value in model.state_dict().items():
        found.setdefault(value.data_ptr(), name)
    state = model.state_dict()
    return {name: state[name] for name in found.values()}


def _optimizer_tensors(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    return {
        f"{number}.{parameter}.{field}": value.contiguous()
        for number, optimizer in enumerate(optimizers)
        for parameter, fields in optimizer.state_dict()["state"].items()
        for field, value in fields.items()
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
