"""Pretraining as a step: start the trainer in its own process, follow its metrics, say how it ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_models.config import TrainSpec
from tasks.errors import GristmillError, Refused, Stopped, UserError
from tasks.stages import sha256_json

VERSION = 1
Progress = Callable[[dict[str, Any]], None]  # called with each new line of metrics.jsonl

_SECONDS_BETWEEN_LOOKS = 0.3
_ADVICE = {
    "loss": "lower train.learning_rate, or lengthen train.warmup_steps",
    "gradient": "lower train.learning_rate or train.gradient_clip, or lengthen train.warmup_steps",
}


def run_id(recipe_name: str, recipe_sha256: str, corpus_root: str, seed: int) -> str:
    """RECIPE-<12 hex of (recipe, corpus root, seed)>."""
    return f"{recipe_name}-{sha256_json([recipe_name, recipe_sha256, corpus_root, seed])[:12]}"


def pretrain(spec: TrainSpec, progress: Progress | None = None) -> dict[str, Any]:
    """Train to the last step, going on from the newest checkpoint; a finished run is returned as it is.

    Returns run_id, steps, loss, first_loss, last_loss, tokens, tokens_per_second, seconds, documents, documents_read,
    epochs, encoder (its folder), checkpoint_sha256, folder, reused.

    Raises Stopped after SIGINT or SIGTERM (the same call goes on), Refused when the loss or a gradient is no finite
    number, UserError for a corpus, tokenizer or checkpoint that cannot be used.
    """
    folder = Path(spec.folder)
    if finished := _finished(spec):
        return {**finished, "reused": True}
    folder.mkdir(parents=True, exist_ok=True)
    spec.write(folder / "SPEC.json")
    code, log = _follow(spec, progress)
    if code != 0:
        raise _failure(code, log, spec)
    result = _finished(spec)
    if result is None:
        raise GristmillError("the trainer ended without a result", where=str(folder), hint="see trainer.log there")
    return {**result, "reused": False}


def _finished(spec: TrainSpec) -> dict[str, Any] | None:
    folder = Path(spec.folder)
    try:
        record = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return None
    if record.get("status") != "finished" or record.get("spec_sha256") != spec.digest():
        return None
    encoder = folder / "encoder"
    if not (encoder / "model.safetensors").is_file():
        raise UserError(
            "the run is finished, but its encoder is gone",
            where=str(encoder),
            hint="remove the run folder, train again",
        )
    return {"run_id": spec.run_id, **record["result"], "encoder": str(encoder), "folder": str(folder)}


def _follow(spec: TrainSpec, progress: Progress | None) -> tuple[int, str]:
    """Run the trainer; (its exit code, what it wrote to standard error)."""
    folder = Path(spec.folder)
    # No progress of ours is worth a core: idle threads sleep. The trainer stops by itself when this process is gone.
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "GRISTMILL_PARENT": str(os.getpid())}
    command = [sys.executable, "-m", "ssl_models.trainer", str(folder / "SPEC.json")]
    metrics, log = folder / "metrics.jsonl", folder / "trainer.log"
    tail = _Tail(metrics)
    with open(log, "wb") as errors:
        # Its own session: a Ctrl-C at the terminal reaches it once, from here.
        process = subprocess.Popen(command, env=environment, stderr=errors, stdout=errors, start_new_session=True)
        with _forward_signals(process):
            while True:
                try:
                    code = process.wait(_SECONDS_BETWEEN_LOOKS)
                except subprocess.TimeoutExpired:
                    code = None
                for line in tail.read():
                    if progress:
                        progress(line)
                if code is not None:
                    return code, log.read_text(errors="replace")


@contextmanager
def _forward_signals(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """While the trainer runs, SIGINT and SIGTERM to this process reach it: it saves, and ends with 75.

    Only the main thread may set handlers; elsewhere an exception (a cancelled flow) stops the trainer below.
    """

    def forward(*_: object) -> None:
        process.send_signal(signal.SIGTERM)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Tail:
    """The whole lines that were appended to a file since the last look, from where it stands at the first."""

    def __init__(self, path: Path) -> None:
        self.path, self.step = path, 0

    def read(self) -> list[dict[str, Any]]:
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        fresh = [line for line in map(json.loads, lines) if line["step"] > self.step]
        if fresh:
            self.step = fresh[-1]["step"]
        return fresh


def _failure(code: int, log: str, spec: TrainSpec) -> GristmillError:
    """What the trainer's exit code and last words mean."""
    message, where = _last_words(log), spec.folder
    if code == 75:
        return Stopped("training was stopped; its state is saved", where=where, hint="run the same command again")
    if code == 65:
        advice = _ADVICE["gradient" if "gradient" in message else "loss"]
        return Refused(f"training diverged: {message}", where=where, hint=f"{advice}; the last good checkpoint is kept")
    if code == 2:
        found = re.match(r"(?P<where>/\S+): (?P<what>.*)", message)
        return UserError(found["what"] if found else message, where=found["where"] if found else where)
    if code < 0:
        name = signal.Signals(-code).name
        hint = "the system may have run out of memory; " if name == "SIGKILL" else ""
        return Stopped(f"the trainer was killed ({name})", where=where, hint=f"{hint}the same command goes on")
    return GristmillError(f"the trainer failed with exit code {code}", where=f"{where}/trainer.log", hint=message)


def _last_words(log: str) -> str:
    for line in reversed(log.splitlines()):
        try:
            return str(json.loads(line)["error"])
        except (ValueError, KeyError, TypeError):
            continue
    return (log.strip().splitlines() or ["no message"])[-1][:300]
