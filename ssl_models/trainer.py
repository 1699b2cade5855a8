"""The loop: ``python -m ssl_models.trainer SPEC.json``.

Exit codes: 0 finished; 75 stopped by SIGTERM or SIGINT after saving (run again to go on); 2 a spec, corpus or
checkpoint that cannot be used; 65 a loss or gradient that is no number. Standard error's last line says why, as JSON.
Killed at any point and run again, it ends in the same weights: on the CPU bit for bit.

With `train.ranks` it starts the other ranks itself, on this machine; or is started as all of them by ``torchrun
--nproc-per-node N -m ssl_models.trainer SPEC.json``. Rank 0 alone writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ssl_models.accumulate import backward, require_divisible
from ssl_models.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from ssl_models.config import TextEncoder, TrainSpec
from ssl_models.device import Device, choose_device, locked
from ssl_models.health import NonFinite, gradient_norm, require_finite
from ssl_models.image_run import open_run
from ssl_models.keys import stream
from ssl_models.optimizers import build_optimizers, schedule, set_learning_rate
from ssl_models.packing import Batch
from ssl_models.ranks import STORE, Ranks, joined
from ssl_models.run import Run
from ssl_models.siblings import RankLost, siblings

FINISHED, USER_ERROR, NON_FINITE, STOPPED = 0, 2, 65, 75


class Trainer:
    """One run from its newest checkpoint to its last step."""

    def __init__(self, spec: TrainSpec, run: Run, device: Device) -> None:
        self.spec, self.run, self.device = spec, run, device
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.reads: list[int] = []  # documents read by the end of each step
        self.window = {"loss": 0.0, "steps": 0.0, "tokens": 0.0, "cells": 0.0, "seconds": 0.0, "starved": 0.0}
        self.stop = self.agreed = False
        self.ranks = run.ranks
        self.model = run.build_model().to(device.torch, torch.float64 if device.float64 else None)
        require_divisible(run.objective, self.model, spec.train.micro_batch, spec.train.ranks)
        self.optimizers = build_optimizers(self.model, spec.train)

    def resume(self) -> None:
        found = newest_checkpoint(self.run.checkpoints)
        if found is None:
            if self.ranks.first:
                self.run.cut_metrics(0)
            return
        path, state = found
        if state["spec_sha256"] != self.spec.digest():
            raise ValueError(f"{path}: the checkpoint is of another spec; use a new run folder")
        load_checkpoint(path, self.model, self.optimizers)
        self.run.packer.restore(state["packer"])
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.reads, self.window = state["reads"], state["window"]
        if self.ranks.first:
            self.run.cut_metrics(self.step)

    def save(self) -> None:
        if not self.ranks.first:
            return
        state = {
            "spec_sha256": self.spec.digest(),
            "packer": self.run.packer_state(),
            "tokens": self.tokens,
            "seconds": self.seconds,
            "reads": self.reads,
            "window": self.window,
        }
        save_checkpoint(
            self.run.checkpoints, self.step, self.model, self.optimizers, state, self.spec.train.keep_checkpoints
        )
        self.run.write_exposure(self.reads)

    def train(self) -> int:
        """Take the remaining steps; the exit code."""
        config = self.spec.train
        saved = self.step if self.step else -1
        self.model.train()
        with self.run.batches(self.device) as batches:
            while self.step < config.steps and not self.stopping():
                started = time.perf_counter()
                batch, view = next(batches)
                waited = time.perf_counter() - started
                loss, norm = self.take_step(view)
                self.account(batch, loss, waited, time.perf_counter() - started)
                if self.step % config.log_every_steps == 0 or self.step == config.steps:
                    self.log(norm)
                if self.step % config.checkpoint_every_steps == 0:
                    self.save()
                    saved = self.step
        if saved != self.step:
            self.save()
        return FINISHED if self.step >= config.steps else STOPPED

    def stopping(self) -> bool:
        """One process stops when it is told to; of several none may stop alone, so `take_step` lets them agree."""
        return self.agreed if self.ranks.count > 1 else self.stop or self.run.orphaned()

    def take_step(self, view: Any) -> tuple[float, float]:
        """One optimizer step; (loss, gradient norm before clipping). NonFinite before a weight is touched."""
        config, step = self.spec.train, self.step + 1
        if self.spec.encoder.dropout:
            torch.manual_seed(stream("dropout", config.seed, step))
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        precision = partial(torch.autocast, self.device.torch.type, torch.bfloat16, enabled=self.device.bfloat16)
        value = backward(
            self.run.objective, self.model, view, micro_batch=config.micro_batch, ranks=self.ranks, precision=precision
        )
        if self.ranks.count > 1:
            value, self.agreed = self.ranks.reduce(self.model, value, self.stop or self.run.orphaned())
        norm = gradient_norm(self.model, config.gradient_clip)
        require_finite(step, loss=value, gradient_norm=norm)
        set_learning_rate(self.optimizers, schedule(step, config))
        for optimizer in self.optimizers:
            optimizer.step()
        self.run.after_step(self.model, step)
        self.step = step
        return value, norm

    def account(self, batch: Batch, loss: float, waited: float, seconds: float) -> None:
        tokens = batch.tokens
        self.tokens += tokens
        self.seconds += seconds
        self.reads.append(batch.read)
        news = {
            "loss": loss,
            "steps": 1,
            "tokens": tokens,
            "cells": batch.cells,
            "seconds": seconds,
            "starved": waited,
        }
        for name, value in news.items():
            self.window[name] += value

    def log(self, norm: float) -> None:
        """One line of metrics.jsonl; `loss`, rates and shares are over the steps since the last line."""
        if not self.ranks.first:
            return
        window, config = self.window, self.spec.train
        line = {
            "step": self.step,
            "loss": window["loss"] / window["steps"],
            "grad_norm": norm,
            "learning_rate": config.peak_learning_rate * schedule(self.step, config),
            "tokens": self.tokens,
            "documents": self.reads[-1],
            "epoch": self.reads[-1] / len(self.run.index),
            "tokens_per_second": window["tokens"] / window["seconds"],
            "starved_percent": 100 * window["starved"] / window["seconds"],
            "density": window["tokens"] / window["cells"],
            "seconds": round(self.seconds, 3),
        }
        self.run.append_metrics(line)
        self.window = dict.fromkeys(window, 0.0)


def run_spec(spec: TrainSpec, ranks: Ranks | None = None) -> int:
    """Train to the end, or until told to stop; the exit code. ValueError for what the user must mend.

    `ranks`: this process's place in a group that it joined already. Without it, torchrun's environment is heeded; else
    the other ranks that `train.ranks` asks for are started and waited for.
    """
    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if ranks:
        rank, count = ranks.rank, ranks.count
    if count > 1 and count != spec.train.ranks:
        raise ValueError(f"train.ranks is {spec.train.ranks}, and {count} processes were started")
    with contextlib.ExitStack() as stack:
        if not rank:
            stack.enter_context(locked(folder / "lock"))
            if _finished(spec) and count == 1:
                return FINISHED
        store = os.environ.get(STORE)
        if count == 1 < spec.train.ranks:
            count, store = spec.train.ranks, stack.enter_context(siblings(spec))
        return _train(spec, ranks or stack.enter_context(joined(rank, count, store)))


def _finished(spec: TrainSpec) -> bool:
    record = Path(spec.folder) / "run.json"
    if not record.is_file():
        return False
    known = json.loads(record.read_text())
    if known["spec_sha256"] != spec.digest():
        raise ValueError(f"{spec.folder}: the folder holds another run; its spec has another digest")
    return known["status"] == "finished"


def _train(spec: TrainSpec, ranks: Ranks) -> int:
    """What each rank does from here on; the first of them also writes."""
    device = choose_device(spec.train, Path(spec.folder), isinstance(spec.encoder, TextEncoder))
    run = open_run(spec, ranks)
    trainer = Trainer(spec, run, device)
    if ranks.first:
        run.write_record(device, "running")

    def stop(*_: object) -> None:
        trainer.stop = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    trainer.resume()
    code = trainer.train()
    if not ranks.first:
        return code
    if code == FINISHED:
        run.export(trainer.model)
        run.write_record(device, "finished", trainer.tokens, trainer.seconds, trainer.reads)
    else:
        run.write_record(device, "stopped")
    return code


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        return _fail(USER_ERROR, "usage: python -m ssl_models.trainer SPEC.json")
    try:
        return run_spec(TrainSpec.read(Path(arguments[0])))
    except NonFinite as error:
        return _fail(NON_FINITE, str(error))
    except RankLost as error:
        return _fail(STOPPED, str(error))
    except RuntimeError as error:
        if STORE not in os.environ:
            raise
        return _fail(STOPPED, str(error))  # the first rank is gone, and says why if it can
    except (ValueError, OSError) as error:
        return _fail(USER_ERROR, str(error))


def _fail(code: int, message: str) -> int:
    if STORE in os.environ:  # not the last word: the first rank has that
        said = f"rank {os.environ.get('RANK')}: {message}"
    else:
        said = json.dumps({"error": message, "exit_code": code})
    sys.stderr.write(f"{said}\n")  # in one piece: ranks share this stream, and `print` may write the line's end apart
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
