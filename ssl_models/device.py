"""What a run computes on, and the lock that keeps it the only one in its folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ssl_models.config import Train


@dataclass(frozen=True)
class Device:
    torch: torch.device
    bfloat16: bool
    threads: int
    float64: bool = False

    @property
    def precision(self) -> str:
        return "bfloat16" if self.bfloat16 else "float64" if self.float64 else "float32"


def choose_device(config: Train, folder: Path, texts: bool = True) -> Device:
    """CUDA where there is one, else the CPU with a fixed number of threads and deterministic algorithms.

    Precision `auto` is bfloat16 on a CPU for `texts` only: small ResNets got gradients there that were no finite number
    within three steps (torch 2.14), where float32 trains. A resumed run keeps the threads and the precision that it
    started with: both are in its weights. Ranks share the CPUs; ValueError for several of them beside a GPU.
    """
    started = json.loads((folder / "run.json").read_text()) if (folder / "run.json").is_file() else {}
    threads = config.threads or started.get("threads") or max(1, min(16, len(os.sched_getaffinity(0))) // config.ranks)
    torch.set_num_threads(threads)
    cuda = torch.cuda.is_available()
    if cuda and config.ranks > 1:
        raise ValueError("train.ranks: several processes train on CPUs only; set CUDA_VISIBLE_DEVICES= or use 1")
    device = torch.device("cuda" if cuda else "cpu")
    if not cuda:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    precision = config.precision
    if precision == "auto":
        native = torch.cuda.is_bf16_supported() if cuda else texts and _cpu_multiplies_bfloat16()
        precision = started.get("precision") or ("bfloat16" if native else "float32")
    return Device(device, precision == "bfloat16", threads, precision == "float64")


def _cpu_multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return " avx512_bf16" in flags or " amx_bf16" in flags


@contextlib.contextmanager
def locked(path: Path, seconds: float = 30.0) -> Iterator[None]:
    """Hold an advisory lock; ValueError when another trainer keeps it for so long. The system frees it on any death."""
    with open(path, "w") as file:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ValueError(f"{path.parent}: another trainer is at work on this run") from None
                time.sleep(0.1)
        yield
