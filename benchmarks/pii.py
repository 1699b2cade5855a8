"""How right and how fast the search for personal data is, beside Presidio's pattern recognisers on the same texts.

    python -m benchmarks.pii [--peer PYTHON]

`--peer`: an interpreter with presidio-analyzer 2.2 and presidio-evaluator 0.3; without it a virtual environment is
built in a temporary folder. Three parts, written to benchmarks/results/pii.json:

generator: sentences of presidio-evaluator's PresidioSentenceFaker, split by template into two halves (``seen`` was
  looked at while the patterns were made, ``unseen`` was not), and once more with another salt, where a half holds
  templates of both. Structured are what `TYPES` names; the others (person, address, organisation, place, date ...) need
  a model and are left out, on both sides.
adversarial: tests/tasks/curation/cases/pii.tsv.
speed: docstrings of the installed distributions, the same texts for both, in turns, by process time.

Presidio may choose the score from which a finding counts: the one that is best for it on the texts in question.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import distributions
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import write

HERE = Path(__file__).parent
PACKAGES = ("presidio-analyzer==2.2.366", "presidio-evaluator==0.3.2")
#: Presidio's names of what we call structured.
TYPES = {
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IBAN_CODE": "iban", "US_SSN": "ssn",
    "IP_ADDRESS": "ip", "US_DRIVER_LICENSE": "driver_licence",
}  # fmt: skip
#: For the adversarial set, further ones.
MORE_TYPES = TYPES | {
    "CRYPTO": "crypto", "MAC_ADDRESS": "mac", "US_PASSPORT": "passport", "IN_PASSPORT": "passport",
    "UK_PASSPORT": "passport", "IT_PASSPORT": "passport", "ES_PASSPORT": "passport", "DE_PASSPORT": "passport",
    "KR_PASSPORT": "passport", "IT_DRIVER_LICENSE": "driver_licence", "UK_DRIVING_LICENCE": "driver_licence",
    "KR_DRIVER_LICENSE": "driver_licence",
}  # fmt: skip
NO_PERSONS_NUMBER = ("US_BANK_NUMBER", "US_MBI", "US_NPI", "MEDICAL_LICENSE", "ABA_ROUTING_NUMBER", "DATE_TIME", "URL")
THRESHOLDS = (0.0, 0.1, 0.3, 0.4, 0.5, 0.6, 0.85)
OVERLAP = 0.5  # a gold span is found when a finding of its type has this intersection over union
#: What scanner 3 found in the unseen half (seed 42), before scanner 4 was made on the seen half.
EARLIER = {
    "scanner": 3,
    "seed": 42,
    "unseen": {"precision": 1.0, "recall": 0.8964, "phone": 0.6635, "driver_licence": 0.7778},
}
Span = tuple[str, int, int]


class Peer:
    """A process of the peer's interpreter that scans what it is sent."""

    def __init__(self, python: str, which: str) -> None:
        command = [python, str(HERE / "pii_peer.py"), "scan", which]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.recognizers = self._read()["recognizers"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def scan(self, texts: Sequence[str]) -> tuple[list[list[tuple[str, int, int, float]]], float]:
        """Findings a text, and the CPU seconds it took."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(list(texts)) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        return [[tuple(span) for span in row] for row in answer["spans"]], answer["seconds"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def peer_python(given: str | None, folder: Path) -> str:
    """The interpreter of the peer; built in `folder` when none is given."""
    if given:
        return given
    print("building a virtual environment for Presidio (some minutes); --peer PYTHON names one that is there")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "peer")], check=True)
    python = str(folder / "peer" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


# ---- right or wrong ------------------------------------------------------------------------------------


def overlap(a: Span, b: Span) -> float:
    """Intersection over union of two places; 0 when the types differ."""
    common = min(a[2], b[2]) - max(a[1], b[1])
    return common / (max(a[2], b[2]) - min(a[1], b[1])) if a[0] == b[0] and common > 0 else 0.0


def tally(gold: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]], least: float) -> dict[str, Counter[str]]:
    """Counts by type of what was found rightly, found wrongly and missed; each finding pairs with one gold span."""
    counts = {name: Counter[str]() for name in ("right", "wrong", "missed")}
    for wanted, got in zip(gold, found, strict=True):
        free = list(got)
        for span in wanted:
            best = max(free, key=lambda other: overlap(span, other), default=None)
            if best is not None and overlap(span, best) >= least:
                free.remove(best)
                counts["right"][span[0]] += 1
            else:
                counts["missed"][span[0]] += 1
        counts["wrong"].update(kind for kind, *_ in free)
    return counts


def scores(right: int, wrong: int, missed: int) -> dict[str, float | int]:
    """Precision, recall and F2 (recall counts four times as much)."""
    precision = right / (right + wrong) if right + wrong else 1.0
    recall = right / (right + missed) if right + missed else 1.0
    f2 = 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0
    figures = {"precision": round(precision, 4), "recall": round(recall, 4), "f2": round(f2, 4)}
    return {**figures, "right": right, "wrong": wrong, "missed": missed}


def summary(gold: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]], least: float = OVERLAP) -> dict[str, Any]:
    counts = tally(gold, found, least)
    kinds = sorted(set().union(*counts.values()))
    each = {kind: scores(*(counts[name][kind] for name in ("right", "wrong", "missed"))) for kind in kinds}
    total = scores(*(sum(counts[name].values()) for name in ("right", "wrong", "missed")))
    return {"all": total, "by_type": each}


def unmapped_presidio(rows: Iterable[Iterable[tuple[str, int, int, float]]], types: dict[str, str], least: float):
    """Presidio's findings from a score on, in our names; where two of one type overlap the surer one counts."""
    result = []
    for row in rows:
        kept: list[Span] = []
        for name, start, end, score in sorted(row, key=lambda r: (-r[3], r[1], -r[2])):
            span = (types.get(name, ""), start, end)
            if score >= least and span[0] and not any(overlap(span, other) > 0 for other in kept):
                kept.append(span)
        result.append(kept)
    return result


def best_presidio(gold, rows, types: dict[str, str], least: float = OVERLAP) -> dict[str, Any]:
    """Presidio at the score that gives it the highest F2 here."""
    tried = {score: summary(gold, unmapped_presidio(rows, types, score), least) for score in THRESHOLDS}
    chosen = max(tried, key=lambda score: tried[score]["all"]["f2"])
    return {"minimum_score": chosen, **tried[chosen]}


def ours(texts: Sequence[str]) -> list[list[Span]]:
    from tasks.curation.pii import Pii

    scanner = Pii(b"benchmark benchmark benchmark 32")
    return [[(span["type"], span["start"], span["end"]) for span in scanner.find(text)] for text in texts]


def halves(rows: Sequence[dict[str, Any]], found, peers, salt: str) -> dict[str, Any]:
    """Both halves of the generated sentences, split by the digest of salt and template: structured types only."""
    result: dict[str, Any] = {}
    for name, parity in (("seen", 0), ("unseen", 1)):
        half = [
            index
            for index, row in enumerate(rows)
            if hashlib.sha256(f"{salt}{row['template']}".encode()).digest()[0] % 2 == parity
        ]
        gold = [[(TYPES[kind], a, b) for kind, a, b in rows[index]["spans"] if kind in TYPES] for index in half]
        result[name] = {
            "sentences": len(half),
            "templates": len({rows[index]["template"] for index in half}),
            "gold_spans": sum(map(len, gold)),
            "gristmill": summary(gold, [found[index] for index in half]),
            "presidio": best_presidio(gold, [peers[index] for index in half], TYPES),
        }
    return result


def generator(python: str, peer: Peer, folder: Path, count: int, seed: int, salt: str) -> dict[str, Any]:
    """Sentences from `seed`; the split whose seen half was worked on, and the split by `salt`."""
    command = [python, str(HERE / "pii_peer.py"), "generate", str(count), str(seed), str(folder / "g.jsonl")]
    subprocess.run(command, check=True)
    rows = [json.loads(line) for line in (folder / "g.jsonl").read_text("utf-8").splitlines()]
    left_out = Counter(kind for row in rows for kind, *_ in row["spans"] if kind not in TYPES)
    texts = [row["text"] for row in rows]
    found, peers = ours(texts), peer.scan(texts)[0]
    return {
        **halves(rows, found, peers, ""),
        "other_split": halves(rows, found, peers, salt),
        "seed": seed,
        "salt_of_other_split": salt,
        "structured_types": sorted(set(TYPES.values())),
        "left_out_types": dict(left_out.most_common()),
        "overlap": OVERLAP,
        "earlier": EARLIER,
    }


def adversarial(peer: Peer) -> dict[str, Any]:
    """The hand-made set: exact places for ours; Presidio by overlap, with every pattern recogniser it ships."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    import pii_cases

    cases = pii_cases.read()
    texts, gold = [case.text for case in cases], [list(case.spans) for case in cases]
    rows = peer.scan(texts)[0]
    others = {name for row in rows for name, *_ in row} - set(MORE_TYPES) - set(NO_PERSONS_NUMBER)
    types = MORE_TYPES | dict.fromkeys(sorted(others), "national_id")
    has = sorted({types[name] for name in types})
    shared = [[span for span in row if span[0] in has] for row in gold]
    found = ours(texts)
    return {
        "cases": len(cases),
        "without_findings": sum(not row for row in gold),
        "gold_spans": sum(map(len, gold)),
        "gristmill_exact": summary(gold, found, 1.0),
        "gristmill_on_types_presidio_has": summary(shared, [[s for s in row if s[0] in has] for row in found]),
        "presidio_on_types_presidio_has": best_presidio(shared, rows, types),
        "presidio_recognizers": peer.recognizers,
    }


# ---- speed ---------------------------------------------------------------------------------------------


def docstrings(most_bytes: int) -> list[str]:
    """Docstrings of 200 characters or more of the installed distributions, each once, in a fixed order."""
    texts: dict[str, None] = {}
    size = 0
    for found in sorted(distributions(), key=lambda d: hashlib.sha256(d.metadata["Name"].encode()).hexdigest()):
        for file in sorted(map(str, found.files or ())):
            if not file.endswith(".py") or size >= most_bytes:
                continue
            try:
                tree = ast.parse(Path(str(found.locate_file(file))).read_text("utf-8"))
            except (OSError, SyntaxError, ValueError, RecursionError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node) or ""
                    if len(text) >= 200 and text not in texts:
                        texts[text] = None
                        size += len(text.encode())
    return list(texts)


def speed(peer: Peer, texts: list[str], rounds: int, slice_bytes: int) -> dict[str, Any]:
    """MB a CPU second, in turns on the same slices; then ours on everything."""
    import pyarrow as pa

    from tasks.curation.pii import Pii

    scanner = Pii(b"benchmark benchmark benchmark 32")
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    total = sum(len(text.encode()) for text in texts)
    scanner.score(table.slice(0, 200))  # patterns compiled, registries loaded
    slices, at = [], 0
    for _ in range(rounds):
        end, size = at, 0
        while end < len(texts) and size < slice_bytes:
            size += len(texts[end].encode())
            end += 1
        slices.append((at, end, size))
        at = end
    rates: dict[str, list[float]] = {"gristmill": [], "presidio": []}
    for start, end, size in slices:
        part = table.slice(start, end - start)
        begin, repeats = time.process_time(), 0
        while time.process_time() - begin < 0.5:
            scanner.score(part)
            repeats += 1
        rates["gristmill"].append(size * repeats / (time.process_time() - begin) / 1e6)
        rates["presidio"].append(size / peer.scan(texts[start:end])[1] / 1e6)
    whole = []
    for _ in range(3):
        begin = time.process_time()
        scored = scanner.score(table)
        whole.append(total / (time.process_time() - begin) / 1e6)
    findings = Counter(span["type"] for row in scored["spans"].to_pylist() for span in row)
    each = {
        name: {"mb_per_s": round(median(values), 3), "rounds": [round(v, 3) for v in values]}
        for name, values in rates.items()
    }
    return {
        **each,
        "ratio": round(median(a / b for a, b in zip(rates["gristmill"], rates["presidio"], strict=True)), 1),
        "bar_ratio": 50,
        "same_texts_mb": round(sum(size for *_, size in slices) / 1e6, 3),
        "gristmill_whole_corpus": {
            "mb": round(total / 1e6, 2),
            "texts": len(texts),
            "mb_per_s": round(median(whole), 2),
        },
        "aim_mb_per_s": 40,
        "findings_in_docstrings": dict(sorted(findings.items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="interpreter with Presidio")
    parser.add_argument("--sentences", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=20261122, help="of the generator")
    parser.add_argument("--salt", default="2026-11-22", help="of the other split")
    parser.add_argument("--megabytes", type=float, default=12.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        python = peer_python(arguments.peer, Path(name))
        default, everything = Peer(python, "default"), Peer(python, "all")
        figures = {
            "generator": generator(python, default, Path(name), arguments.sentences, arguments.seed, arguments.salt),
            "adversarial": adversarial(everything),
            "speed": speed(default, docstrings(int(arguments.megabytes * 1e6)), rounds=5, slice_bytes=150_000),
        }
        default.close()
        everything.close()
    path = write("pii", figures)
    seen, unseen = (figures["generator"][half] for half in ("seen", "unseen"))
    for label, half in (("seen", seen), ("unseen", unseen)):
        own, peer = half["gristmill"]["all"], half["presidio"]["all"]
        print(f"generator, {label} half: precision {own['precision']}, recall {own['recall']}, F2 {own['f2']}", end="")
        print(f" (Presidio {peer['precision']}, {peer['recall']}, {peer['f2']})")
    exact = figures["adversarial"]["gristmill_exact"]["all"]
    print(f"adversarial: precision {exact['precision']}, recall {exact['recall']}")
    fast = figures["speed"]
    print(
        f"speed: {fast['gristmill']['mb_per_s']} MB/s, Presidio {fast['presidio']['mb_per_s']}, ratio {fast['ratio']}"
    )
    print(path)


if __name__ == "__main__":
    main()
