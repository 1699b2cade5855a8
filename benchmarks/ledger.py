"""What evidence costs: bytes a record, and the time of `audit trace` at a million records.

    python -m benchmarks.ledger                     # 1,000,000 records; writes benchmarks/results/ledger.json
    python -m benchmarks.ledger --records 100000

The ledger is written by the product's own writer from made rows: ids and digests are random, as real ones are, and the
verdicts, rules, duplicates and spans stand in the proportions of a curated docstring corpus.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.machine import write
from tasks.governance.ledger import LEDGER_SCHEMA, write_ledger
from tasks.home import Home

BARS = {"bytes a record": "<= 150", "trace in the process, ms": "<= 50", "trace as a command, s": "<= 1"}
SHARES = {None: 0.62, "duplicate.exact": 0.09, "duplicate.near": 0.05, "licence.not_allowed": 0.08, "pii.email": 0.03,
          "quality.basic.words": 0.07, "language.unsure": 0.03, "licence.unknown": 0.03}  # fmt: skip


def made_ledger(count: int, seed: int = 0) -> pa.Table:
    """Rows of a ledger, sorted by record_id."""
    draw = np.random.default_rng(seed)
    bits = draw.bytes(16 * count).hex()
    ids = np.array(sorted(bits[32 * at : 32 * at + 32] for at in range(count)))
    rules = draw.choice(np.array(list(SHARES), object), count, p=list(SHARES.values()))
    place = np.arange(count)
    kept = np.array([rule in (None, "pii.email") for rule in rules])
    near = np.array([rule == "duplicate.near" for rule in rules])
    gone = near | (rules == "duplicate.exact")
    verdict = np.where(kept, "keep", "drop").astype(object)
    verdict[rules == "pii.email"] = "redact"
    verdict[np.isin(rules.astype(str), ["language.unsure", "licence.unknown"])] = "quarantine"
    survivors = np.full(count, None, object)
    survivors[gone] = draw.choice(ids[kept], int(gone.sum()))
    digests = draw.bytes(32 * count).hex()
    digests = [digests[64 * at : 64 * at + 64] for at in range(count)]
    value = np.where(gone, np.where(near, draw.integers(80, 100, count) / 100, 1.0), np.nan)
    span = {"type": "email", "start": 10, "end": 31, "action": "redact"}
    values: dict[str, Any] = {
        "record_id": ids,
        "source": np.array([f"part-{number}" for number in range(7)])[place % 7],
        "uri": [f"package_{at % 977}/module_{at % 613}.py::Class{at % 89}.method_{at}" for at in place.tolist()],
        "split": np.where(kept, np.where(place % 20 == 0, "validation", "train"), "train"),
        "content_sha256": digests,
        "sample_sha256": [d if k else None for d, k in zip(digests, kept.tolist(), strict=True)],
        "licence_declared": np.array(["MIT", "BSD License", "Apache 2.0", "Apache Software License"])[place % 4],
        "licence": np.array(["MIT", "BSD-3-Clause", "Apache-2.0", "Apache-2.0"])[place % 4],
        "language": ["en"] * count,
        "verdict": verdict,
        "rule": rules,
        "rules": [[] if rule is None else [rule] for rule in rules.tolist()],
        "value": value,
        "threshold": np.where(gone, 0.8, np.nan),
        "detail": [None] * count,
        "policy_sha256": ["7" * 64] * count,
        "survivor_id": survivors,
        "similarity": value,
        "spans": [
            [{**span, "value_hmac": d[:32]}] if rule == "pii.email" else []
            for rule, d in zip(rules.tolist(), digests, strict=True)
        ],
        "shard": [f"train-{at % 128:06d}" if k else None for at, k in zip(place.tolist(), kept.tolist(), strict=True)],
        "offset": [at // 128 * 3072 if k else None for at, k in zip(place.tolist(), kept.tolist(), strict=True)],
        "length": [1024 + 512 * (at % 5) if k else None for at, k in zip(place.tolist(), kept.tolist(), strict=True)],
        "bytes": draw.integers(60, 3_000, count),
    }
    columns = [pa.array(values[field.name], field.type, from_pandas=True) for field in LEDGER_SCHEMA]
    return pa.Table.from_arrays(columns, schema=LEDGER_SCHEMA)


def timed(work: Any, times: int) -> dict[str, float]:
    """Least and median wall and CPU milliseconds of `times` calls."""
    wall, cpu = [], []
    for _ in range(times):
        started, used = time.perf_counter(), time.process_time()
        work()
        wall.append((time.perf_counter() - started) * 1000)
        cpu.append((time.process_time() - used) * 1000)
    return {
        "least_ms": round(min(wall), 1),
        "median_ms": round(float(np.median(wall)), 1),
        "median_cpu_ms": round(float(np.median(cpu)), 1),
    }


def command(home: Home, record: str) -> tuple[float, float]:
    """(wall, CPU) seconds of `gristmill audit trace`, interpreter start included."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "flows.cli", "audit", "trace", record, "--home", str(home.root)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    asked = parser.parse_args()
    from tasks.governance.lineage import trace

    with tempfile.TemporaryDirectory() as place:
        home = Home.at(asked.keep or place)
        folder = home.corpus("made") / "v1"
        if not folder.is_dir():
            write_ledger(made_ledger(asked.records), folder / "ledger")
        path = folder / "ledger" / "part-00000.parquet"
        import pyarrow.parquet as pq

        columns = pq.read_table(path, columns=["record_id", "verdict", "rule"])
        chosen = columns.slice(0, 40_000).to_pylist()
        near = [row["record_id"] for row in chosen if row["rule"] == "duplicate.near"][:20]
        kept = [row["record_id"] for row in chosen if row["verdict"] == "keep"][:20]
        ids = iter([*near, *kept] * 10)
        first = timed(lambda: trace(home, next(ids)), 1)
        warm = timed(lambda: trace(home, next(ids)), 20)
        commands = [command(home, record) for record in near[:3]]
        figures = {
            "records": asked.records,
            "bytes_a_record": round(sum(file.stat().st_size for file in folder.rglob("*.parquet")) / asked.records, 1),
            "trace_first_in_process": first,
            "trace_in_process": warm,
            "trace_command_seconds": round(min(wall for wall, _ in commands), 3),
            "trace_command_cpu_seconds": round(min(cpu for _, cpu in commands), 3),
        }
    write("ledger", {**figures, "bars": BARS})
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
