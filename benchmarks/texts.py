"""Texts for the benchmarks: the READMEs and docstrings of the installed distributions, and any number made from them.

    python -m benchmarks.texts FILE COUNT      # writes COUNT made texts to FILE (.jsonl or .parquet)

What is made keeps the language of the real texts (their lines in another order, words of other texts mixed in), so that
parsing, hashing and compressing cost what they cost on real ones; a fixed share are copies, near and exact.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LONGEST_WORDS = 120
EXACT_COPIES, NEAR_COPIES = 0.05, 0.10  # shares of what is made
LICENCES = ("MIT", "BSD-3-Clause", "Apache-2.0", "CC0-1.0", "CC-BY-NC-4.0", "")


def real_texts(limit: int | None = None) -> list[str]:
    """Distinct texts of 20 words and more, in the order of the source; nothing is stored or published."""
    from tasks.curation.sources import PythonDocs, open_source

    found: dict[str, None] = {}
    for raw in open_source(PythonDocs()):
        if raw.text and len(raw.text.split()) >= 20:
            found[raw.text] = None
            if len(found) == limit:
                break
    return list(found)


def made_texts(count: int, real: list[str], seed: int = 0) -> Iterator[str]:
    """`count` texts of up to 120 words; the first n are the same whatever `count` is."""
    draw = random.Random(seed)
    recent: list[str] = []
    for number in range(count):
        chance = draw.random()
        if recent and chance < EXACT_COPIES:
            text = draw.choice(recent)
        elif recent and chance < EXACT_COPIES + NEAR_COPIES:
            words = draw.choice(recent).split(" ")
            words[draw.randrange(len(words))] = f"edit{number}"
            text = " ".join(words)
        else:
            text = _mixed(draw, real)
            if len(recent) < 5_000:
                recent.append(text)
            else:
                recent[draw.randrange(5_000)] = text
        yield text


def _mixed(draw: random.Random, real: list[str]) -> str:
    """The lines of two real texts shuffled, every sixth word of a third among them."""
    lines = draw.choice(real).split("\n")[:40] + draw.choice(real).split("\n")[:40]
    draw.shuffle(lines)
    words = " ".join(lines).split()[: draw.randint(30, LONGEST_WORDS)]
    others = draw.choice(real).split()
    for at in range(draw.randrange(6), len(words), 6):
        words[at] = draw.choice(others)
    return " ".join(words)


def rows(texts: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Rows as the source `files` reads them: id, text, licence, source."""
    for number, text in enumerate(texts):
        yield {
            "id": f"d{number}",
            "text": text,
            "licence": LICENCES[number % 97 % len(LICENCES)] if number % 97 < 12 else LICENCES[number % 4],
            "source": f"part-{number % 7}",
        }


def write(path: Path, texts: Iterator[str]) -> int:
    """Write rows to `path` (.jsonl or .parquet), a block at a time; how many."""
    count = 0
    if path.suffix == ".jsonl":
        with open(path, "w", encoding="utf-8") as file:
            for row in rows(texts):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        return count
    schema = pa.schema([(name, pa.string()) for name in ("id", "text", "licence", "source")])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[dict[str, Any]] = []
        for row in rows(texts):
            waiting.append(row)
            count += 1
            if len(waiting) == 10_000:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting.clear()
        if waiting:
            writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
    return count


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), made_texts(int(sys.argv[2]), real_texts(20_000))))
