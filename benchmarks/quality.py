"""Quality rules: Gristmill's four web rule sets against datatrove's filters, rule by rule, and documents a second.

`python -m benchmarks.quality --peer PYTHON`: PYTHON is an interpreter that has datatrove 0.10.1 and spacy; without it a
virtual environment is made in a temporary folder. The documents are the long READMEs and docstrings of the installed
distributions, the Python reference, and, with `--descriptions FILE`, package descriptions (RFC 822 paragraphs, as
`apt-cache dumpavail`).

Both sides are timed on one core by process time, in turns, block by block: the peer's chain of the four filters
(repetition, quality, C4, FineWeb; it stops at the first that refuses) and ours (words, all measures of the four sets,
verdicts, and the ledger written), from an empty table of words. Agreement is asked of every rule alone: each is given
to the peer's own filter with all others switched off, on the text as it was read.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from benchmarks import machine

PEER = ["datatrove==0.10.1", "spacy", "nltk", "regex", "orjson"]
LEAST, MOST = 1_500, 100_000  # characters of a document
SETS = ("gopher-repetition", "gopher-quality", "c4", "fineweb")


def documents(count: int, descriptions: Path | None, least: int = LEAST) -> list[str]:
    """Distinct texts, in an order drawn once: every README, the docstrings of a sample of the distributions, and the
    Python reference."""
    from pydoc_data.topics import topics

    from tasks.curation.sources import PythonDocs
    from tasks.curation.sources.distributions import installed
    from tasks.curation.sources.python_docs import PythonDocsSource

    every = installed()
    names = random.Random(0).sample([item.name for item in every], 60)
    source = PythonDocsSource(PythonDocs(distributions=tuple(names)))
    given = [*(item.readme for item in every), *(raw.text for raw in source), *topics.values()]
    chosen = {text for text in given if text and least <= len(text) <= MOST}
    if descriptions:
        for paragraph in descriptions.read_text(encoding="utf-8", errors="replace").split("\n\n"):
            head, _, body = paragraph.partition("Description-en:")
            text = "\n".join(line.strip() for line in body.splitlines() if line.startswith(" "))
            if len(text) >= least:
                chosen.add(text)
    ordered = sorted(chosen)
    random.Random(0).shuffle(ordered)
    return ordered[:count]


def ours(texts: list[str], folder: Path) -> tuple[float, list[dict[str, float]], list[list[str]]]:
    """Process seconds, the measures and the rules that hit, of one block of documents."""
    import pyarrow as pa

    from data_policies.decide import decide
    from data_policies.schema import Licences, Policy
    from tasks.curation.quality import Quality
    from tasks.governance.ledger import LEDGER_SCHEMA, write_ledger

    policy = Policy(
        name="web", version=1, owner="benchmark", reason="benchmark", licences=Licences(allow=("MIT",)),
        quality=dict.fromkeys(SETS, "canonical"),  # type: ignore[arg-type]
    )  # fmt: skip
    begin = time.process_time()
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    scores = Quality(SETS).score(table)
    ids = pa.array([f"{number:032x}" for number in range(len(texts))])
    empty, good = pa.array([""] * len(texts)), pa.array(["en"] * len(texts))
    asked = scores.append_column("record_id", ids).append_column("error.quality", empty)
    asked = asked.append_column("language", good).append_column("error.languages", empty)
    verdicts = decide(asked, policy, ("quality",))
    rows = {name: pa.nulls(len(texts), LEDGER_SCHEMA.field(name).type) for name in LEDGER_SCHEMA.names}
    rows |= {name: verdicts[name] for name in verdicts.column_names}
    write_ledger(pa.table(rows), folder)
    seconds = time.process_time() - begin
    return seconds, scores.to_pylist(), verdicts["rules"].to_pylist()


def peer_python(given: str | None, folder: Path) -> str:
    if given:
        return given
    venv.create(folder / "peer", with_pip=True)
    python = str(folder / "peer" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", *PEER], check=True)
    return python


class Peer:
    """datatrove in its own process: one JSON line in, one out."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).with_name("quality_peer.py")
        self.process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, what: str, texts: list[str]) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"what": what, "texts": texts}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="an interpreter with datatrove and spacy")
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--block", type=int, default=250)
    parser.add_argument("--descriptions", type=Path, help="package descriptions, as `apt-cache dumpavail` writes them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = Peer(peer_python(options.peer, folder))
        texts = documents(options.documents, options.descriptions)
        characters = sum(map(len, texts))
        peer.ask("chain", texts[:1])  # imports and models are loaded outside the timed part, on both sides
        ours(["warm up " * 50], folder / "warm")
        theirs_seconds = our_seconds = 0.0
        measures: list[dict[str, float]] = []
        hits: list[list[str]] = []
        chain: list[str] = []
        single: list[list[str]] = []
        for at in range(0, len(texts), options.block):
            block = texts[at : at + options.block]
            answer = peer.ask("chain", block)
            seconds, block_measures, block_hits = ours(block, folder / str(at))
            theirs_seconds += answer["seconds"]
            our_seconds += seconds
            chain += answer["verdicts"]
            measures += block_measures
            hits += block_hits
            single += peer.ask("rules", block)["rules"]
            done, rate = at + len(block), at + len(block)
            print(f"{done:,}: {rate / theirs_seconds:.0f} and {rate / our_seconds:.0f} documents/s", file=sys.stderr)
    result = compare(texts, measures, hits, chain, single)
    result["documents"], result["characters"] = len(texts), characters
    result["datatrove_documents_per_second"] = round(len(texts) / theirs_seconds, 1)
    result["gristmill_documents_per_second"] = round(len(texts) / our_seconds, 1)
    result["datatrove_megabytes_per_second"] = round(characters / theirs_seconds / 1e6, 3)
    result["gristmill_megabytes_per_second"] = round(characters / our_seconds / 1e6, 3)
    result["times_faster"] = round(theirs_seconds / our_seconds, 1)
    result["bars"] = {"agreement": 0.995, "times_faster": 10, "times_faster_aimed_at": 25}
    print(machine.write("quality", result))
    print(json.dumps({key: value for key, value in result.items() if key != "differences"}, indent=1))


def compare(texts, measures, hits, chain, single) -> dict[str, Any]:
    """Agreement of every rule, of the four sets, and of the chain; and each difference with its measure."""
    rules = sorted({rule for answer in single for rule in answer["asked"]})
    agreement, refused, differences = {}, {}, []
    for rule in rules:
        both = 0
        for number, (mine, answer) in enumerate(zip(hits, single, strict=True)):
            here, there = rule in mine, rule in answer["hit"]
            both += here == there
            if here != there:
                value = measures[number].get(rule)
                differences.append({"document": number, "rule": rule, "ours": here, "value": value, "theirs": there})
        agreement[rule] = round(both / len(texts), 5)
        refused[rule] = sum(rule in answer["hit"] for answer in single)
    either = [bool(answer["hit"]) == bool(mine) for mine, answer in zip(hits, single, strict=True)]
    chained = [(verdict != "") == bool(mine) for mine, verdict in zip(hits, chain, strict=True)]
    sets = {}
    for name in SETS:
        start = f"quality.{name}."
        same = [
            any(r.startswith(start) for r in mine) == any(r.startswith(start) for r in answer["hit"])
            for mine, answer in zip(hits, single, strict=True)
        ]
        sets[name] = round(sum(same) / len(texts), 5)
    return {
        "agreement_by_rule": agreement,
        "refused_by_rule": refused,
        "agreement_by_set": sets,
        "agreement_of_all_rules": round(sum(either) / len(texts), 5),
        # datatrove's C4 rewrites the text that its FineWeb filter then reads; we judge the text as read.
        "agreement_with_the_chain": round(sum(chained) / len(texts), 5),
        "refused": {"gristmill": sum(map(bool, hits)), "chain": sum(verdict != "" for verdict in chain)},
        "differences": differences[:200],
    }


if __name__ == "__main__":
    main()
