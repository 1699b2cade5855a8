"""How long a reader takes to its first batch, by the number of keys: a curve, and the same at the end of an epoch.

python -m benchmarks.reader_start FOLDER KEYS ORDER WORDS     one point, as JSON
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

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


def main() -> None:
    folder, keys, order, words = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "words"
    if not folder.exists():
        write_indexes(folder, keys, words)
    print(json.dumps(point(folder, order)))


if __name__ == "__main__":
    main()
