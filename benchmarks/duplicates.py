"""Duplicates: recall, false removals, boilerplate, memory, and speed against datatrove's four MinHash stages.

    python -m benchmarks.duplicates --peer VENV/bin/python      # VENV has datatrove 0.10.1 with spacy and tokenizers
    python -m benchmarks.duplicates --parts recall,boilerplate,memory

Both sides do the whole step (read, sign, band, verify, cluster, write what is kept) on the same documents, in turn, and
are measured by process time. Writes benchmarks/results/duplicates.json.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.machine import RESULTS, write
from benchmarks.texts import made_texts, real_texts
from benchmarks.texts import write as write_texts

BARS = {
    "recall at J >= 0.8": ">= 0.98",
    "removals below the threshold": "0",
    "boilerplate: share lost": "<= 0.001",
    "boilerplate: recall on copies": ">= 0.98",
    "speed, ratio to datatrove": ">= 30",
    "peak RSS at 1,000,000 texts, GiB": "< 2",
}


def naive_jaccard(a: str, b: str) -> float:
    from tasks.curation.duplicates import jaccard, shingles

    return jaccard(shingles(a), shingles(b))


def table_of(texts: list[str], source: str = "one") -> pa.Table:
    import hashlib

    names = [hashlib.sha256(f"{number}\0{text}".encode()).hexdigest()[:32] for number, text in enumerate(texts)]
    columns = {"record_id": names, "source": [source] * len(texts), "text": pa.array(texts, pa.large_string())}
    return pa.table(columns)


def removed(table: pa.Table, threshold: float) -> list[dict[str, Any]]:
    import hashlib

    from tasks.curation.duplicates import elect, find_pairs

    texts = table["text"].to_pylist()
    standing = pa.table(
        {
            "record_id": table["record_id"],
            "licence_rank": pa.array(np.zeros(len(texts), np.int64)),
            "quality": pa.array(np.ones(len(texts))),
            "length": pa.array([len(text) for text in texts], pa.int64()),
            "written_sha256": [hashlib.sha256(text.encode()).hexdigest() for text in texts],
        }
    )
    return elect(standing, find_pairs(table, threshold), threshold).to_pylist()


def recall(count: int = 6_000, threshold: float = 0.8) -> dict[str, Any]:
    """Planted pairs of real texts at Jaccard 0.5 to 1.0: one of each with a stretch or words here and there changed."""
    draw = random.Random(1)
    # Texts that differ by themselves: what the pairs share is planted.
    seen: set[str] = set()
    base = []
    for text in real_texts():
        words = text.split()[:200]
        keys = {" ".join(words[at : at + 5]) for at in range(len(words) - 4)}
        if len(words) >= 40 and not keys & seen:
            base.append(words)
            seen |= keys
        if len(base) == count:
            break
    vocabulary = [word for words in base[:500] for word in words]
    texts, planted = [], []
    for words in base:
        other = list(words)
        if draw.random() < 0.5:
            same = draw.randint(int(0.67 * len(words)), len(words))
            other[same:] = draw.choices(vocabulary, k=len(words) - same)
        else:
            for at in draw.sample(range(len(words)), draw.randint(1, max(1, len(words) // 20))):
                other[at] = draw.choice(vocabulary)
        planted.append((len(texts), len(texts) + 1))
        texts += [" ".join(words), " ".join(other)]
    table = table_of(texts)
    names = table["record_id"].to_pylist()
    gone = removed(table, threshold)
    found = {frozenset((row["record_id"], row["survivor_id"])) for row in gone}
    similarity = [naive_jaccard(texts[a], texts[b]) for a, b in planted]
    pairs = [frozenset((names[a], names[b])) for a, b in planted]
    by_name = dict(zip(names, texts, strict=True))
    below = sum(naive_jaccard(by_name[row["record_id"]], by_name[row["survivor_id"]]) < threshold for row in gone)
    bands = {}
    for low in np.arange(0.5, 1.0, 0.05).round(2).tolist():
        inside = [pair for pair, value in zip(pairs, similarity, strict=True) if low <= value < low + 0.05]
        bands[f"{low:.2f}"] = {"pairs": len(inside), "removed": sum(pair in found for pair in inside)}
    above = [pair for pair, value in zip(pairs, similarity, strict=True) if value >= threshold]
    return {
        "planted": len(planted),
        "at_or_above_threshold": len(above),
        "recall": round(sum(pair in found for pair in above) / len(above), 5),
        "removals_below_threshold": below,
        "by_similarity": bands,
    }


def boilerplate(bodies: int = 10_000, copies: int = 1_000, threshold: float = 0.8) -> dict[str, Any]:
    """One banner of 300 words over bodies of 25 to 60 words; some bodies occur again, a word or two changed."""
    draw = random.Random(2)
    words = [word for text in real_texts(3_000) for word in text.split()]
    banner = words[:300]
    made, pairs = [], []
    for _ in range(bodies):
        made.append(draw.choices(words, k=draw.randint(25, 60)))
    for original in draw.sample(range(bodies), copies):
        body = list(made[original])
        body[-draw.randint(1, 2) :] = draw.choices(words, k=draw.randint(1, 2))
        pairs.append((original, len(made)))
        made.append(body)
    texts = [" ".join([*banner[:150], *body, *banner[150:]]) for body in made]
    table = table_of(texts)
    names = table["record_id"].to_pylist()
    gone = removed(table, threshold)
    # A copy is true if it says so without what over 5 % of the texts hold, counted here one by one: the banner, and
    # where it meets a frequent word of a body.
    from tasks.curation.duplicates import jaccard, shingles

    sets = [shingles(text) for text in texts]
    held = Counter(one for each in sets for one in each)
    banal = {one for one, count in held.items() if count > 0.05 * len(texts)}
    sure = {frozenset((names[a], names[b])) for a, b in pairs if jaccard(sets[a] - banal, sets[b] - banal) >= threshold}
    planted = {frozenset((names[a], names[b])) for a, b in pairs}
    found = {frozenset((row["record_id"], row["survivor_id"])) for row in gone}
    return {
        "documents": len(texts),
        "plain_similarity_of_two_bodies": round(naive_jaccard(texts[0], texts[1]), 3),
        "true_copies": len(sure),
        "recall_on_true_copies": round(len(found & sure) / len(sure), 5),
        "lost": len(found - planted),
        "share_lost": round(len(found - planted) / bodies, 6),
    }


def whole_step(records: Path, out: Path, threshold: float = 0.7) -> int:
    """Read, sign, band, verify, elect, write what is kept: the step as curation runs it. The number kept."""
    from tasks.curation.blocks import FileBlocks, write_blocks
    from tasks.curation.duplicates import elect, find_pairs
    from tasks.governance.ledger import write_parquet

    texts = FileBlocks(records)
    similar = find_pairs(texts, threshold)
    similar.write(out)
    about = pq.read_table(records, columns=["record_id", "content_sha256", "bytes"])
    standing = pa.table(
        {
            "record_id": about["record_id"],
            "licence_rank": pa.array(np.zeros(len(about), np.int64)),
            "quality": pa.array(np.ones(len(about))),
            "length": about["bytes"],
            "written_sha256": about["content_sha256"],
        }
    )
    gone = elect(standing, similar, threshold)
    write_parquet(gone, out / "removed.parquet")
    kept = np.asarray(pc.invert(pc.is_in(about["record_id"], gone["record_id"].combine_chunks())))
    schema = pq.read_schema(records)
    write_blocks(FileBlocks(records, kept).blocks(schema.names), out / "kept.parquet", schema, 5_000)
    return int(kept.sum())


def speed(peer: str, count: int, rounds: int = 2) -> dict[str, Any]:
    """The whole step on `count` real texts, ours and datatrove's in turn; CPU seconds, the least of the rounds."""
    from tasks.curation.ingest import ingest
    from tasks.curation.sources import Files

    ours, with_ingest, theirs, stages, kept = [], [], [], [], {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "in").mkdir()
        every = real_texts()
        texts = every[:: max(1, len(every) // count)][:count]
        write_texts(folder / "in" / "texts.jsonl", iter(texts))
        (folder / "warm").mkdir()
        (folder / "warm" / "in").mkdir()
        write_texts(folder / "warm" / "in" / "texts.jsonl", iter(texts[:200]))
        for number, where in enumerate([folder / "warm", *[folder] * rounds]):
            out = folder / f"out-{number}"
            out.mkdir()
            started = time.process_time()
            ingest([Files(name="texts", path=str(where / "in" / "texts.jsonl"))], out)
            read = time.process_time()
            count_kept = whole_step(out / "records.parquet", out)
            ended = time.process_time()
            if number == 0:
                continue
            ours.append(ended - read)
            with_ingest.append(ended - started)
            work = folder / f"peer-{number}"
            command = [peer, str(Path(__file__).with_name("datatrove_minhash.py")), str(folder / "in"), str(work)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"the peer failed: {done.stderr[-1500:]}")
            answer = json.loads(done.stdout.splitlines()[-1])
            theirs.append(sum(answer["cpu_seconds"].values()))
            stages.append(answer["cpu_seconds"])
            kept = {"ours": count_kept, "datatrove": answer["kept"]}
    size = sum(len(text.encode()) for text in texts)
    return {
        "documents": len(texts),
        "megabytes": round(size / 1e6, 2),
        "ours_cpu_seconds": round(min(ours), 3),
        "ours_with_ingest_cpu_seconds": round(min(with_ingest), 3),
        "datatrove_cpu_seconds": round(min(theirs), 2),
        "datatrove_stages": stages[int(np.argmin(theirs))],
        "ours_documents_per_second": round(len(texts) / min(ours)),
        "datatrove_documents_per_second": round(len(texts) / min(theirs)),
        "ratio": round(min(theirs) / min(ours), 1),
        "ratio_with_ingest_from_json": round(min(theirs) / min(with_ingest), 1),
        "kept": kept,
    }


def memory(count: int) -> dict[str, Any]:
    """Peak RSS of the step in a process of its own, over `count` made texts."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "benchmarks.duplicates", "--make", str(count), place]
        subprocess.run(command, check=True)
        command = [sys.executable, "-m", "benchmarks.duplicates", "--step", place]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return {"documents": count, **json.loads(done.stdout.splitlines()[-1])}


def make(count: int, folder: Path) -> None:
    """records.parquet of made texts, sorted by record_id as ingestion leaves it."""
    from tasks.curation.ingest import ingest
    from tasks.curation.sources import Files

    write_texts(folder / "texts.parquet", made_texts(count, real_texts(20_000)))
    ingest([Files(name="made", path=str(folder / "texts.parquet"))], folder)
    (folder / "texts.parquet").unlink()


def step(folder: Path) -> dict[str, Any]:
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = whole_step(folder / "records.parquet", folder, 0.8)
    used = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "peak_rss_gib": round(peak / 2**20, 3),
        "rss_before_gib": round(before / 2**20, 3),
        "cpu_seconds": round(used, 1),
        "kept": kept,
        "text_megabytes": round(
            pc.sum(pq.read_table(folder / "records.parquet", columns=["bytes"])["bytes"]).as_py() / 1e6
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="an interpreter that has datatrove")
    parser.add_argument("--documents", type=int, default=12_000, help="for the comparison of speeds")
    parser.add_argument("--memory-documents", type=int, default=1_000_000)
    parser.add_argument("--parts", default="recall,boilerplate,speed,memory")
    parser.add_argument("--make", nargs=2, metavar=("COUNT", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--step", metavar="FOLDER", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        make(int(asked.make[0]), Path(asked.make[1]))
        return
    if asked.step:
        print(json.dumps(step(Path(asked.step))))
        return
    parts = asked.parts.split(",")
    path = RESULTS / "duplicates.json"
    figures = json.loads(path.read_text()) if path.is_file() else {}
    figures = {key: figures[key] for key in ("recall", "boilerplate", "speed", "memory") if key in figures}
    if "recall" in parts:
        figures["recall"] = recall()
    if "boilerplate" in parts:
        figures["boilerplate"] = boilerplate()
    if "speed" in parts:
        peer = asked.peer or shutil.which("python-datatrove")
        if not peer:
            parser.error("--peer VENV/bin/python is needed for the part 'speed': a venv with datatrove==0.10.1")
        figures["speed"] = speed(peer, asked.documents)
    if "memory" in parts:
        figures["memory"] = memory(asked.memory_documents)
    write("duplicates", {**figures, "bars": BARS})
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
