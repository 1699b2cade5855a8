"""Our reader against webdataset on the same tars, and against litdata and mosaicml-streaming on their own formats.

    python -m benchmarks.reader [--peer PYTHON] [--small N] [--large N] [--rounds N]

One process measures all sides, in turns, by its CPU time (threads included); the best round of each counts. The others
read in the order of the file; ours reads in its keyed order. PYTHON is an interpreter that also finds the packages of
benchmarks/peers-reader.txt (`make bench-reader` makes it); without it those two rows are left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import reader_sides as sides
from benchmarks.machine import write
from benchmarks.reader_data import photographs, write_tars

#: (ours, theirs, what it must at least be)
BARS = {
    "raw_32": ("ours, global", "webdataset", 20.0),
    "same_decode_32": ("ours, libjpeg-turbo", "webdataset, libjpeg-turbo", 3.0),
    "same_decode_32 ": ("ours, Pillow", "webdataset, Pillow", 3.0),
    "same_decode_224": ("ours, libjpeg-turbo", "webdataset, libjpeg-turbo", 1.0),
    "same_decode_224 ": ("ours, Pillow", "webdataset, Pillow", 1.0),
    "best_decoder_224": ("ours, libjpeg-turbo", "webdataset, its own", 1.3),
    "own_formats_32": ("ours, global", "litdata", 1.0),
    "own_formats_32 ": ("ours, global", "mosaicml-streaming", 1.0),
    "own_formats_224": ("ours, global", "litdata", 1.0),
    "own_formats_224 ": ("ours, global", "mosaicml-streaming", 1.0),
    "cold_224": ("ours, blocked", "webdataset", 1.0),
    "s3_224": ("ours, blocked", "webdataset", 1.0),
}


def contest(entrants: dict[str, sides.Side], rounds: int, cold: list[Path] | None = None) -> dict[str, Any]:
    """Samples per CPU second and per second of the clock, of each side's best round; `cold`: files to forget before."""
    best: dict[str, tuple[float, float]] = {}
    counts = set()
    for _ in range(rounds):
        for name, read in entrants.items():
            for path in cold or []:
                with open(path, "rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            clock, begin = time.perf_counter(), time.process_time()
            count = read()
            took = (time.process_time() - begin, time.perf_counter() - clock)
            counts.add(count)
            best[name] = min(best.get(name, took), took)
    assert len(counts) == 1, f"the sides read {counts} samples"
    return {
        name: {"per_cpu_second": round(counts_of(counts) / cpu), "per_second": round(counts_of(counts) / wall)}
        for name, (cpu, wall) in best.items()
    }


def counts_of(counts: set[int]) -> int:
    return next(iter(counts))


@contextmanager
def s3(files: list[Path], root: Path):
    """An S3 on loopback in a process of its own, so that its work is not counted; gives the corpus's URL."""
    script = (
        "import sys; from moto.server import ThreadedMotoServer as S; s = S('127.0.0.1', port=0, verbose=False); "
        "s.start(); print(s.get_host_and_port()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.stdout.readline().strip()}",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        import fsspec

        system = fsspec.filesystem("s3")
        system.mkdir("bench")
        for path in files:
            system.put(str(path), f"bench/{path.relative_to(root)}")
        yield "s3://bench"
        server.kill()


def peers(folder: Path, side: int, count: int) -> dict[str, sides.Side]:
    try:
        return {
            "litdata": sides.litdata_side(folder / "litdata", lambda: photographs(count, side)),
            "mosaicml-streaming": sides.mosaic_side(folder / "mds", lambda: photographs(count, side)),
        }
    except ImportError:
        return {}


def measure(folder: Path, small: int, large: int, rounds: int) -> dict[str, Any]:
    tars = {side: write_tars(folder / str(side), count, side) for side, count in ((32, small), (224, large))}
    rows: dict[str, Any] = {}
    at = {side: folder / str(side) for side in tars}
    rows["raw_32"] = contest(
        {
            "ours, global": sides.ours(at[32]),
            "ours, blocked": sides.ours(at[32], "blocked"),
            "webdataset": sides.webdataset_raw(tars[32]),
        },
        rounds,
    )
    for side in tars:
        decoded = contest(
            {
                "ours, Pillow": sides.ours(at[side], decode=sides.pillow),
                "webdataset, Pillow": sides.webdataset_decoded(tars[side], sides.pillow),
                "ours, libjpeg-turbo": sides.ours(at[side], decode=sides.turbo),
                "webdataset, libjpeg-turbo": sides.webdataset_decoded(tars[side], sides.turbo),
                "webdataset, its own": sides.webdataset_own(tars[side]),
            },
            rounds,
        )
        own_decoder = decoded.pop("webdataset, its own")
        rows[f"same_decode_{side}"] = decoded
        rows[f"best_decoder_{side}"] = {
            "ours, libjpeg-turbo": decoded["ours, libjpeg-turbo"],
            "webdataset, its own": own_decoder,
        }
        if others := peers(folder / f"peers-{side}", side, len_of(side, small, large)):
            own = {"ours, global": sides.ours(at[side]), "ours, blocked": sides.ours(at[side], "blocked")}
            rows[f"own_formats_{side}"] = contest(own | others, rounds)
    rows["cold_224"] = contest(
        {
            "ours, global": sides.ours(at[224]),
            "ours, blocked": sides.ours(at[224], "blocked"),
            "webdataset": sides.webdataset_raw(tars[224]),
        },
        rounds,
        cold=tars[224],
    )
    files = [*tars[224], *sorted((at[224] / "index").iterdir())]
    with s3(files, at[224]) as url:
        rows["s3_224"] = contest(
            {
                "ours, blocked": sides.ours_remote(url, "blocked"),
                "ours, blocked, cached": sides.ours_remote(url, "blocked", folder / "cache"),
                "webdataset": sides.webdataset_streams([f"{url}/shards/{path.name}" for path in tars[224]]),
            },
            rounds,
        )
    return rows


def len_of(side: int, small: int, large: int) -> int:
    return small if side == 32 else large


def verdicts(rows: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, (one, other, bar) in BARS.items():
        row = rows.get(name.strip(), {})
        if one in row and other in row:
            ratio = row[one]["per_cpu_second"] / row[other]["per_cpu_second"]
            found.append({"row": name.strip(), "of": one, "over": other, "ratio": round(ratio, 2), "bar": bar})
    return found


def package(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="an interpreter that also finds litdata and mosaicml-streaming")
    parser.add_argument("--small", type=int, default=10_000, help="photographs of 32 x 32")
    parser.add_argument("--large", type=int, default=3_000, help="photographs of 224 x 224")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.peer and Path(options.peer).absolute() != Path(sys.executable).absolute():
        arguments = [f"--{name}={getattr(options, name)}" for name in ("small", "large", "rounds")]
        sys.exit(subprocess.run([options.peer, "-m", "benchmarks.reader", *arguments], check=False).returncode)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), options.small, options.large, options.rounds)
    names = ("webdataset", "litdata", "mosaicml-streaming", "pillow", "simplejpeg", "numpy", "pyarrow", "s3fs")
    figures = {
        "samples": {"32": options.small, "224": options.large},
        "rows": rows,
        "ratios": verdicts(rows),
        "versions": {name: package(name) for name in names},
    }
    show(figures)
    write("reader", figures)


def show(figures: dict[str, Any]) -> None:
    for name, row in figures["rows"].items():
        for side, speed in row.items():
            print(f"{name:20}{side:30}{speed['per_cpu_second']:>12,} /CPU s{speed['per_second']:>12,} /s")
    for one in figures["ratios"]:
        held = "" if one["ratio"] >= one["bar"] else "   MISSED"
        print(f"{one['row']:20}{one['of']} over {one['over']}: {one['ratio']} (at least {one['bar']}){held}")


if __name__ == "__main__":
    main()
