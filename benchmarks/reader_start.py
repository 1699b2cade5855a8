"""How long a reader takes to its first batch, by the number of keys: a curve, and the same at the end of an epoch.

    python -m benchmarks.reader_start [--keys 10000000] [--folder FOLDER]

An index holds a hash of each key if the reader built it; else the hashes are computed at the start. Writes
results/reader-start.json and docs/reading-start.png. FOLDER keeps the indexes that it makes (1 GB each at 10 million).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.machine import write

PER_SHARD, BYTES = 100_000, 1024
BATCH = 256


def write_indexes(folder: Path, keys: int, words: bool) -> None:
    """Index files over `keys` keys of 32 hexadecimal digits, and shards of zeros for them to point into."""
    from ssl_models.keys import sample_words

    for part in ("shards", "index"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for shard, begin in enumerate(range(0, keys, PER_SHARD)):
        count = min(PER_SHARD, keys - begin)
        names = sorted(random.bytes(16).hex() for _ in range(count))
        offset = np.arange(count, dtype=np.int64) * BYTES
        columns = {"key": names, "offset": offset, "length": np.full(count, BYTES)}
        if words:
            columns["word"] = sample_words(names)
        columns |= {"txt.offset": offset, "txt.length": np.full(count, 200)}
        table = pa.table(columns)
        with pa.ipc.new_file(folder / "index" / f"train-{shard:06d}.idx", table.schema) as writer:
            writer.write_table(table)
        with open(folder / "shards" / f"train-{shard:06d}.tar", "wb") as file:
            os.truncate(file.fileno(), count * BYTES)


def point(folder: Path, order: str) -> dict[str, float]:
    """CPU seconds: to open the index, then to the first batch at 1 % and at 99 % of an epoch; and peak memory."""
    from ssl_models.reader import Index, Reader

    begin = time.process_time()
    index = Index(folder, "train")
    opened = time.process_time() - begin
    firsts: dict[int, list[float]] = {1: [], 99: []}
    for _ in range(2):
        for percent in (1, 99):
            begin = time.process_time()
            with Reader(index, 0, order=order, group_shards=4, memory_bytes=2**30) as reader:
                position = len(index) * percent // 100
                assert len(reader.take(position, position + BATCH).payloads) == BATCH
            firsts[percent].append(time.process_time() - begin)
    first, last = min(firsts[1]), min(firsts[99])
    return {
        "open_seconds": round(opened, 4),
        "start_at_1_percent_seconds": round(opened + first, 4),
        "start_at_99_percent_seconds": round(opened + last, 4),
        "ratio_99_to_1": round((opened + last) / (opened + first), 3),
        "ratio_without_opening": round(last / first, 3),
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def curve(folder: Path, keys: int) -> list[dict[str, Any]]:
    """A point for each power of ten up to `keys`, each in a process of its own."""
    points, count = [], 10_000
    while count <= keys:
        for holds in ("hashes", "keys alone"):
            data = folder / f"{count}-{holds.partition(' ')[0]}"
            if not data.exists():
                write_indexes(data, count, holds == "hashes")
            for order in ("global", "blocked"):
                command = [sys.executable, "-m", "benchmarks.reader_start", "--point", str(data), "--order", order]
                done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                points.append({"keys": count, "order": order, "index_holds": holds, **json.loads(done)})
                print(points[-1], flush=True)
        count *= 10
    return points


def draw(points: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for order, marker in (("global", "o"), ("blocked", "s")):
        for holds, style in (("hashes", "-"), ("keys alone", "--")):
            line = [point for point in points if point["order"] == order and point["index_holds"] == holds]
            seconds = [point["start_at_99_percent_seconds"] for point in line]
            axes.loglog([point["keys"] for point in line], seconds, style, marker=marker, label=f"{order}, {holds}")
    axes.set(xlabel="keys", ylabel="CPU seconds to a batch at 99 %")
    axes.grid(alpha=0.3)
    axes.legend(title="order, what the index holds")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--point", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--order", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(point(options.point, options.order)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        points = curve(options.folder or Path(temporary), options.keys)
    write("reader-start", {"points": points})
    draw(points, Path(__file__).parents[1] / "docs" / "reading-start.png")


if __name__ == "__main__":
    main()
