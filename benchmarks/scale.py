"""Cost a document and peak memory of curation as the corpus grows; each step in a process of its own.

    python -m benchmarks.scale --sizes 25000,100000,400000,1000000     # writes results/scale.json and docs/scale.png
    python -m benchmarks.scale --sizes 1000000 --more                  # adds a size to what is there
    python -m benchmarks.scale --sizes 25000,100000 --with-models      # language identification and personal data too

The texts are made from real ones (benchmarks/texts.py). Left out are steps that look long at each text alone: toxicity
always, and without --with-models languages and personal data, whose scores are then constants. They take blocks of a
fixed size, so neither their cost a document nor their memory depends on how many there are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.machine import RESULTS, write
from benchmarks.texts import made_texts, real_texts
from benchmarks.texts import write as write_texts

STEPS = ("ingest", "licences", "languages", "quality", "pii", "decide", "duplicates", "publish")
BARS = {"cost a document at 1,000,000 / at 100,000": "<= 1.15", "growth of peak RSS": "<= the signatures' bytes"}
SIGNATURE_BYTES = 280  # of a text: 20 band keys of 8 bytes (on disk) and 120 low bytes (in memory)


def run_step(step: str, folder: Path) -> dict[str, Any]:
    """One step over the corpus in `folder`, the earlier ones being there; CPU seconds and peak RSS of this process."""
    from benchmarks.chain import chain, curated
    from data_policies.load import load_policy
    from tasks.curation.quality import Quality
    from tasks.curation.records import Engine
    from tasks.curation.sources import Files
    from tasks.home import Home

    home = Home.at(folder / "home")
    sources = [Files(name="made", path=str(folder / "texts.parquet"))]
    policy = dataclasses.replace(load_policy("open-definition"), toxicity=None)
    spent: dict[str, float] = {}

    @contextmanager
    def around(name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        spent[name] = time.process_time() - started

    scorers = None
    if not (folder / "with-models").exists():
        scorers = (_Constant("languages"), Quality(tuple({"basic", *policy.quality})), _Constant("pii"))
    if step == "publish":
        stages = chain(home, sources, policy, scorers=scorers)
        parts: dict[str, float] = {}
        _timed_parts(parts)
        from tasks.governance.corpus import build_corpus

        with around("publish"):
            version, manifest = build_corpus(home, curated(home, stages), policy, Engine())
        ledger = sum(path.stat().st_size for path in (version / "ledger").iterdir())
        shares = {name: round(seconds, 3) for name, seconds in parts.items()}
        extra = {"parts": shares, "ledger_bytes": ledger, "counts": manifest.counts.model_dump()}
    else:
        chain(home, sources, policy, around=around, scorers=scorers, until=step)
        extra = {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_seconds": round(spent[step], 3), "peak_rss_mib": round(peak, 1), **extra}


class _Constant:
    """In the place of a scorer that is left out: every text is English, and holds no personal data."""

    VERSION, inputs = 0, ("content_sha256",)

    def __init__(self, name: str) -> None:
        from tasks.curation.languages import Languages
        from tasks.curation.pii import Pii

        self.name = name
        self.schema = Languages.schema if name == "languages" else Pii.schema

    def config(self) -> dict[str, Any]:
        return {"left out": self.name}

    def score(self, batch: pa.Table) -> pa.Table:
        count = len(batch)
        columns = [["en"] * count, [0.9] * count] if self.name == "languages" else [[[] for _ in range(count)]]
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, self.schema, strict=True)], schema=self.schema)


def _timed_parts(spent: dict[str, float]) -> None:
    """Wrap the parts of publishing, so that each is timed by itself (a part within another counts in both)."""
    from tasks.curation import election, gate, ledger_rows
    from tasks.governance import corpus

    parts = [
        ("assemble", ledger_rows.LedgerRows, "__enter__"),
        ("texts", ledger_rows, "fact_blocks"),
        ("election", election.Election, "hold"),
        ("gate", gate, "run_gate"),
        ("shards", corpus, "write_in_rounds"),
        ("write_ledger", corpus, "write_ledger"),
        ("root", corpus.manifests, "merkle_root"),
    ]
    for name, module, function in parts:
        inner = getattr(module, function)

        def timed(*given: Any, _inner: Any = inner, _name: str = name, **named: Any) -> Any:
            started = time.process_time()
            found = _inner(*given, **named)
            spent[_name] = spent.get(_name, 0.0) + time.process_time() - started
            return _each_timed(found, _name, spent) if isinstance(found, Iterator) else found

        setattr(module, function, timed)


def _each_timed(found: Iterator[Any], name: str, spent: dict[str, float]) -> Iterator[Any]:
    while True:
        started = time.process_time()
        item = next(found, None)
        spent[name] += time.process_time() - started
        if item is None:
            return
        yield item


def measure(size: int, work: Path | None, models: bool) -> dict[str, Any]:
    """Every step over `size` made texts; those that are done in `work` already are not done again."""
    with tempfile.TemporaryDirectory() as temporary:
        place = work / f"{size}" if work else Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        if models:
            (place / "with-models").touch()
        command = [sys.executable, "-m", "benchmarks.scale", "--folder", str(place)]
        if not (place / "texts.parquet").is_file():
            subprocess.run([*command, "--make", str(size)], check=True)
        found = {}
        for step in STEPS:
            if not (place / f"{step}.json").is_file():
                done = subprocess.run([*command, "--step", step], capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{step} at {size}: {done.stderr[-2000:]}")
            found[step] = json.loads((place / f"{step}.json").read_text())
            print(size, step, {key: found[step][key] for key in ("cpu_seconds", "peak_rss_mib")}, flush=True)
        total = sum(step["cpu_seconds"] for step in found.values())
        parts = found["publish"]["parts"]
        evidence = parts["assemble"] - parts["texts"] - parts["election"] + parts["write_ledger"] + parts["root"]
        return {
            "documents": size,
            "text_megabytes": round(os.path.getsize(Path(place, "texts.parquet")) / 1e6, 1),
            "steps": found,
            "cpu_seconds": round(total, 2),
            "microseconds_a_document": round(total / size * 1e6, 1),
            "ledger_share_of_time": round(evidence / total, 4),
            "ledger_bytes_a_record": round(found["publish"]["ledger_bytes"] / size, 1),
        }


def summary(sizes: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """The two figures that the bars are about, between 100,000 (or the least size) and the largest."""
    largest = max(sizes)
    base = 100_000 if 100_000 in sizes else min(sizes)
    if largest == base:
        return {}
    growth = {
        step: round(sizes[largest]["steps"][step]["peak_rss_mib"] - sizes[base]["steps"][step]["peak_rss_mib"], 1)
        for step in STEPS
    }

    def each(size: int, step: str) -> float:
        return sizes[size]["steps"][step]["cpu_seconds"] / size

    cost = {step: round(each(largest, step) / each(base, step), 3) for step in STEPS}
    return {
        "from": base,
        "to": largest,
        "cost_ratio": round(sizes[largest]["microseconds_a_document"] / sizes[base]["microseconds_a_document"], 3),
        "cost_ratio_by_step": cost,
        "peak_rss_growth_mib": growth,
        "signatures_growth_mib": round((largest - base) * SIGNATURE_BYTES / 2**20, 1),
    }


def plot(sizes: dict[int, dict[str, Any]], path: Path) -> None:
    """Cost a document by step, and peak RSS by step, over the number of documents."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    at = sorted(sizes)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), dpi=90)
    for step in STEPS:
        cost = [sizes[n]["steps"][step]["cpu_seconds"] / n * 1e6 for n in at]
        left.plot(at, cost, marker="o", markersize=3, label=step)
        right.plot(at, [sizes[n]["steps"][step]["peak_rss_mib"] for n in at], marker="o", markersize=3, label=step)
    right.plot(at, [n * SIGNATURE_BYTES / 2**20 for n in at], "k--", linewidth=1, label="signatures")
    left.set(xscale="log", xlabel="documents", ylabel="CPU microseconds a document", ylim=(0, None))
    top = 1.35 * max(step["peak_rss_mib"] for size in sizes.values() for step in size["steps"].values())
    right.set(xscale="log", xlabel="documents", ylabel="peak RSS of the step, MiB", ylim=(0, top))
    right.legend(fontsize=7, frameon=False, loc="upper left", ncols=3)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="25000,100000,400000,1000000")
    parser.add_argument("--more", action="store_true", help="keep the sizes that are in the results already")
    parser.add_argument("--with-models", action="store_true")
    parser.add_argument("--work", type=Path, help="work here, and take up what is done here already")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        asked.folder.mkdir(parents=True, exist_ok=True)
        write_texts(asked.folder / "new.parquet", made_texts(asked.make, real_texts(20_000)))
        (asked.folder / "new.parquet").rename(asked.folder / "texts.parquet")
        return
    if asked.step:
        (asked.folder / f"{asked.step}.json").write_text(json.dumps(run_step(asked.step, asked.folder)))
        return
    name = "scale_with_models" if asked.with_models else "scale"
    path = RESULTS / f"{name}.json"
    sizes: dict[int, dict[str, Any]] = {}
    if asked.more and path.is_file():
        sizes = {item["documents"]: item for item in json.loads(path.read_text())["sizes"]}
    for size in map(int, asked.sizes.split(",")):
        sizes[size] = measure(size, asked.work, asked.with_models)
        found = [sizes[n] for n in sorted(sizes)]
        write(name, {"sizes": found, "summary": summary(sizes), "bars": BARS})
        if not asked.with_models:
            plot(sizes, RESULTS.parents[1] / "docs" / "scale.png")
    print(json.dumps(summary(sizes), indent=1))


if __name__ == "__main__":
    main()
