"""The loop: ``python -m ssl_models.trainer SPEC.json``.

Exit codes: 0 finished; 75 stopped by SIGTERM or SIGINT after saving (run again to go on); 2 a spec, corpus or
checkpoint that cannot be used; 65 a loss or gradient that is no number. Standard error's last line says why, as JSON.
Killed at any point and run again, it ends in the same weights: on the CPU bit for bit.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ssl_models.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from ssl_models.config import TrainSpec
from ssl_models.device import Device, choose_device, locked
from ssl_models.health import NonFinite, gradient_norm, require_finite
from ssl_models.image_run import open_run
from ssl_models.keys import stream
from ssl_models.optimizers import build_optimizers, schedule, set_learning_rate
from ssl_models.packing import Batch
from ssl_models.run import Run

FINISHED, USER_ERROR, NON_FINITE, STOPPED = 0, 2, 65, 75


class Trainer:
    """One run from its newest checkpoint to its last step."""

    def __init__(self, spec: TrainSpec, run: Run, device: Device) -> None:
        self.spec, self.run, self.device = spec, run, device
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.reads: list[int] = []  # documents read by the end of each step
        self.window = {"loss": 0.0, "steps": 0.0, "tokens": 0.0, "cells": 0.0, "seconds": 0.0, "starved": 0.0}
        self.stop = False
        self.model = run.build_model().to(device.torch)
        self.optimizers = build_optimizers(self.model, spec.train)

    def resume(self) -> None:
        found = newest_checkpoint(self.run.checkpoints)
        if found is None:
            self.run.cut_metrics(0)
            return
        path, state = found
        if state["spec_sha256"] != self.spec.digest():
            raise ValueError(f"{path}: the checkpoint is of another spec; use a new run folder")
        load_checkpoint(path, self.model, self.optimizers)
        self.run.packer.restore(state["packer"])
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.reads, self.window = state["reads"], state["window"]
        self.run.cut_metrics(self.step)

    def save(self) -> None:
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
            while self.step < config.steps and not self.stop and not self.run.orphaned():
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

    def take_step(self, view: Any) -> tuple[float, float]:
        """One optimizer step; (loss, gradient norm before clipping). NonFinite before a weight is touched."""
        config, step = self.spec.train, self.step + 1
        if self.spec.encoder.dropout:
            torch.manual_seed(stream("dropout", config.seed, step))
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.torch.type, torch.bfloat16, enabled=self.device.bfloat16):
            loss = self.run.objective.loss(self.model, view)
        loss.backward()
        norm = gradient_norm(self.model, config.gradient_clip)
        value = float(loss.detach())
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


def run_spec(spec: TrainSpec) -> int:
    """Train to the end, or until told to stop; the exit code. ValueError for what the user must mend."""
    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        record = folder / "run.json"
        if record.is_file():
            known = json.loads(record.read_text())
            if known["spec_sha256"] != spec.digest():
                raise ValueError(f"{folder}: the folder holds another run; its spec has another digest")
            if known["status"] == "finished":
                return FINISHED
        device = choose_device(spec.train, folder)
        run = open_run(spec)
        run.write_record(device, "running")
        trainer = Trainer(spec, run, device)

        def stop(*_: object) -> None:
            trainer.stop = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        trainer.resume()
        code = trainer.train()
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
    except (ValueError, OSError) as error:
        return _fail(USER_ERROR, str(error))


def _fail(code: int, message: str) -> int:
    print(json.dumps({"error": message, "exit_code": code}), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
