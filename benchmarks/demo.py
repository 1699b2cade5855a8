"""What the demo costs: CPU-minutes and summed PSS over the process tree, first run and unchanged second run.

python -m benchmarks.demo [--recipe python-docs] [--home FOLDER]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import write

SAMPLE_SECONDS = 0.5


def measured(command: list[str]) -> dict[str, Any]:
    """Run `command`; wall seconds, CPU seconds and peak summed PSS of it and all its descendants, by sampling.

    A descendant's CPU time is taken at its last sample, so up to SAMPLE_SECONDS of each is missed; one that has left
    the tree (a daemon) is still followed by its pid.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command)
    known: dict[tuple[int, float], tuple[psutil.Process, float]] = {}
    peak = 0
    while process.poll() is None:
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for member in family:
            known.setdefault((member.pid, member.create_time()), (member, 0.0))
        total = 0
        for key, (member, _) in list(known.items()):
            try:
                times = member.cpu_times()
                known[key] = (member, times.user + times.system)
                total += member.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError):
                continue
        peak = max(peak, total)
        time.sleep(SAMPLE_SECONDS)
    return {
        "exit_code": process.returncode,
        "wall_seconds": round(time.perf_counter() - started, 1),
        "cpu_minutes": round(sum(seconds for _, seconds in known.values()) / 60, 2),
        "peak_pss_gib": round(peak / 2**30, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="python-docs")
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    home = options.home or Path(tempfile.mkdtemp(prefix="gristmill-bench-"))
    outcome = home.parent / f"{home.name}.json"
    command = [sys.executable, "-m", "flows.cli", "run", options.recipe, "--home", str(home), "--json", str(outcome)]
    figures: dict[str, Any] = {"recipe": options.recipe}
    for name in ("first", "second"):
        figures[name] = measured(command)
        result = json.loads(outcome.read_text())
        stages = result["stages"]
        figures[name]["stages"] = len(stages)
        figures[name]["reused"] = sum(stage["reused"] for stage in stages)
        figures[name]["stage_seconds"] = {stage["name"]: stage["seconds"] for stage in stages}
    figures["counts"] = result["result"]["curate"]["counts"]
    figures["metrics"] = {
        item["name"]: [item["value"], item.get("low"), item.get("high")]
        for item in result["result"]["evaluate"]["metrics"]
    }
    path = write(options.recipe if options.recipe != "python-docs" else "demo", figures)
    print(path.read_text())
    if options.home is None:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
