"""A run's parts: corpus, tokenizer, objective, batches; and its folder: run.json, metrics, exposure, encoder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from torch import nn

from ssl_models.checkpoint import publish, write_whole
from ssl_models.config import TextEncoder, TrainSpec
from ssl_models.device import Device
from ssl_models.encoders import build_encoder, maximum_tokens
from ssl_models.objectives import build_objective
from ssl_models.packing import Batch, Packer
from ssl_models.ranks import Ranks
from ssl_models.reader import Index, open_reader
from ssl_models.vocabulary import special_ids

PARENT = "GRISTMILL_PARENT"  # pid of the process that waits for the trainer; without it the trainer stops


class Run:
    """What a spec names, opened: corpus, tokenizer, packer, objective; and where its results go."""

    def __init__(self, spec: TrainSpec, ranks: Ranks = Ranks()) -> None:
        self.spec, self.folder, self.ranks = spec, Path(spec.folder), ranks
        self.checkpoints, self.metrics = self.folder / "checkpoints", self.folder / "metrics.jsonl"
        self._open()
        self._state = self.packer.state()
        self._parent = int(os.environ.get(PARENT, 0))

    def _open(self) -> None:
        spec = self.spec
        self.index = Index(Path(spec.corpus.folder), "train")
        self.tokenizer = Tokenizer.from_file(str(Path(spec.tokenizer_folder) / "tokenizer.json"))
        self.special, self.vocabulary = special_ids(Path(spec.tokenizer_folder), self.tokenizer, spec.objective.method)
        self.objective = build_objective(spec.objective, self.vocabulary, spec.train.seed)
        self.reader = open_reader(self.index, spec.train)
        self.packer = Packer(
            self.reader,
            self.tokenize,
            rows=spec.train.batch,
            length=spec.train.sequence_length,
            cls=self.special["cls"],
            sep=self.special["sep"],
            pad=self.special["pad"],
        )

    def after_step(self, model: nn.Module, step: int) -> None:
        """Once an optimizer step; a text method has nothing that follows the weights."""

    def tokenize(self, texts: list[str]) -> list[np.ndarray]:
        encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(one.ids, np.int32) for one in encoded]

    def build_model(self) -> nn.Module:
        encoder = self.spec.encoder
        assert isinstance(encoder, TextEncoder)
        model = build_encoder(
            encoder,
            vocabulary=self.tokenizer.get_vocab_size(),
            special=self.special,
            seed=self.spec.train.seed,
            method=self.spec.objective.method,
        )
        if (length := self.spec.train.sequence_length) > (limit := maximum_tokens(model)):
            raise ValueError(f"{encoder.continue_from}: it takes {limit} tokens, train.sequence_length is {length}")
        return model

    @contextlib.contextmanager
    def batches(self, device: Device) -> Iterator[Iterator[tuple[Batch, Any]]]:
        """Batches with their views on the device: made beside the GPU's work, or in turn with the CPU's."""
        made = self._make()
        if device.torch.type == "cpu":
            yield self._remember(made)
            return
        ready: queue.Queue = queue.Queue(maxsize=4)
        done = threading.Event()

        def fill() -> None:
            try:
                for item in made:
                    while not done.is_set():
                        with contextlib.suppress(queue.Full):
                            ready.put(item, timeout=0.2)
                            break
                    if done.is_set():
                        return
            except Exception as error:  # noqa: BLE001 - it is raised again where the batch is wanted
                ready.put(error)

        def take() -> Iterator[Any]:
            while True:
                item = ready.get()
                if isinstance(item, Exception):
                    raise item
                batch, view, state = item
                yield batch, view.to(device.torch), state

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        try:
            yield self._remember(take())
        finally:
            done.set()
            thread.join()

    def _make(self) -> Iterator[tuple[Batch, Any, dict[str, list[int]]]]:
        for batch in self.packer:
            yield batch, self.view(batch), self.packer.state()

    def view(self, batch: Any) -> Any:
        """This rank's rows of a batch: every rank packs it whole, for a row hangs on all before it."""
        view = self.objective.view(batch)
        return view if self.ranks.count == 1 else view.rows(*self.ranks.slice(self.spec.train.batch))

    def _remember(self, made: Iterator[tuple[Batch, Any, dict[str, list[int]]]]) -> Iterator[tuple[Batch, Any]]:
        for batch, view, state in made:
            self._state = state  # of the packer as it stood after this batch, however far ahead it is now
            yield batch, view

    def packer_state(self) -> dict[str, list[int]]:
        return self._state

    def orphaned(self) -> bool:
        """Whether the process that started this one to wait for it is gone."""
        return bool(self._parent) and os.getppid() != self._parent

    def cut_metrics(self, step: int) -> None:
        """Keep the lines up to `step`, and no torn one."""
        lines = []
        if self.metrics.is_file():
            for line in self.metrics.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                lines.append(line)
        write_whole(self.metrics, b"".join(lines))

    def append_metrics(self, line: dict[str, Any]) -> None:
        with open(self.metrics, "a") as file:
            file.write(json.dumps(line) + "\n")

    def write_exposure(self, reads: list[int]) -> None:
        """record_id and first_step of every document read, sorted by record_id; reading is exposure."""
        read = min(reads[-1] if reads else 0, len(self.index))
        order = self.reader.places(0, read)[0]
        first = np.searchsorted(np.array(reads, np.int64), np.arange(read), side="right") + 1
        by_key = np.argsort(order, kind="stable")
        keys = pa.array(self.index.keys.take(order[by_key]), pa.string())
        table = pa.Table.from_arrays([keys, pa.array(first[by_key], pa.int64())], names=["record_id", "first_step"])
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", store_schema=False, row_group_size=20_000)
        write_whole(self.folder / "exposure.parquet", sink.getvalue().to_pybytes())

    def export(self, model: nn.Module) -> None:
        """encoder/: weights, config and tokenizer as `transformers` opens them."""
        temporary = self.folder / ".encoder.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        self.save_encoder(model.to("cpu"), temporary)
        publish(temporary, self.folder / "encoder")

    def save_encoder(self, model: nn.Module, temporary: Path) -> None:
        from transformers.utils import logging

        logging.disable_progress_bar()
        model.save_pretrained(temporary)  # type: ignore[operator]
        for path in sorted(Path(self.spec.tokenizer_folder).iterdir()):
            if (
                path.is_file()
                and path.name not in ("stage.json", "config.json")
                and path.suffix in (".json", ".txt", ".jinja")
            ):
                shutil.copyfile(path, temporary / path.name)

    def write_record(
        self, device: Device, status: str, tokens: int = 0, seconds: float = 0.0, reads: list[int] | None = None
    ) -> None:
        """run.json. `result` is there once the run is finished."""
        import transformers

        spec = self.spec
        record: dict[str, Any] = {
            "run_id": spec.run_id,
            "recipe": spec.recipe,
            "recipe_sha256": spec.recipe_sha256,
            "corpus": {"name": spec.corpus.name, "version": spec.corpus.version, "root": spec.corpus.root},
            "seed": spec.train.seed,
            "spec_sha256": spec.digest(),
            "device": device.torch.type,
            "precision": device.precision,
            "threads": device.threads,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__},
            "status": status,
        }
        if status == "finished":
            assert reads is not None
            record["result"] = self._result(tokens, seconds, reads)
        write_whole(self.folder / "run.json", json.dumps(record, indent=1, sort_keys=True) + "\n")

    def _result(self, tokens: int, seconds: float, reads: list[int]) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.metrics.read_text().splitlines()]
        weights = (self.folder / "encoder" / "model.safetensors").read_bytes()
        return {
            "steps": lines[-1]["step"],
            "loss": lines[-1]["loss"],
            "first_loss": lines[0]["loss"],
            "last_loss": lines[-1]["loss"],
            "tokens": tokens,
            "tokens_per_second": round(tokens / seconds, 1),
            "seconds": round(seconds, 3),
            "documents_read": reads[-1],
            "documents": min(reads[-1], len(self.index)),
            "epochs": round(reads[-1] / len(self.index), 4),
            "checkpoint_sha256": hashlib.sha256(weights).hexdigest(),
        }
