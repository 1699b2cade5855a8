"""The other ranks of a run on this machine: started as this process's children, and never left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ssl_models.config import TrainSpec
from ssl_models.ranks import STORE
from ssl_models.run import PARENT

_LAST_STEPS_SECONDS = 60


class RankLost(RuntimeError):
    """A rank ended while others needed it; the run goes on from its newest checkpoint when it is started again."""


@contextlib.contextmanager
def siblings(spec: TrainSpec) -> Iterator[str]:
    """Start ranks 1.. of the run; yield the file by which they meet. RankLost when one of them fails.

    They watch for this process as it watches for its own parent, and stop when it is gone.
    """
    folder = Path(spec.folder) / ".ranks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    spec.write(folder / "SPEC.json")
    store = str(folder / "store")
    shared = {**os.environ, PARENT: str(os.getpid()), STORE: store, "WORLD_SIZE": str(spec.train.ranks)}
    command = [sys.executable, "-m", "ssl_models.trainer", str(folder / "SPEC.json")]
    children: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(1, spec.train.ranks):
            children.append(subprocess.Popen(command, env={**shared, "RANK": str(rank)}))
        try:
            yield store
        except RuntimeError as error:  # gloo's, when the other side of a connection is gone
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(5)
            ended = [(rank, child.returncode) for rank, child in enumerate(children, 1) if child.returncode]
            if not ended:
                raise
            what = ", ".join(f"rank {rank} ended with {code}" for rank, code in ended)
            raise RankLost(f"{what}; run again to go on from the newest checkpoint") from error
        for child in children:
            child.wait(_LAST_STEPS_SECONDS)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
        shutil.rmtree(folder, ignore_errors=True)
