"""What the quality benchmarks share: shards written by hand get an index, and the trainer runs as it always does."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl_models.config import TrainSpec


def write_index(folder: Path, tar: Path, members: tuple[str, ...]) -> None:
    """``index/NAME.idx`` of `tar`, whose samples all have these members; the first one's keys name the samples."""
    import pyarrow as pa

    from ssl_models.reader import scan_tar

    (folder / "index").mkdir(exist_ok=True)
    tables = {name: scan_tar(tar, name).sort_by("key") for name in members}
    columns = {"key": tables[members[0]]["key"]}
    for name, table in tables.items():
        columns |= {f"{name}.offset": table["start"], f"{name}.length": table["length"]}
    table = pa.table(columns)
    with pa.ipc.new_file(folder / "index" / f"{tar.stem}.idx", table.schema) as writer:
        writer.write_table(table)


def run_trainer(spec: TrainSpec, folder: Path) -> float:
    """Run the trainer on `spec` in the new folder `folder`, on one thread; the CPU seconds of its process."""
    folder.mkdir(parents=True)
    spec.write(folder / "SPEC.json")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "ssl_models.trainer", str(folder / "SPEC.json")]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
