"""Planted leaks of evaluation items: how many are found, how many clean documents are accused, and at what speed.

`python -m benchmarks.contamination`: the protected set is the paragraphs of the Python reference (pydoc's topics); the
corpus, READMEs and docstrings of installed distributions. In every tenth document one item is planted, at a place of
its own, with its case, punctuation and line breaks changed and no word. Documents without a plant are clean, unless the
plain definition (a set of 13-grams, in a loop) finds that they quote the reference by themselves; these are counted.
Timed by process time beside the near-duplicate words and the quality measures on the same documents.
"""

from __future__ import annotations

import json
import random
import time
from pydoc_data.topics import topics

import pyarrow as pa

from benchmarks import machine
from benchmarks.quality import documents
from tasks.curation.contamination import Contamination, Items
from tasks.curation.quality import Quality
from tasks.curation.shingles import words

NGRAM = 13
LEAST = 200  # characters of a document


def items() -> Items:
    """Paragraphs of the Python reference of 6 to 120 words, each once."""
    found: dict[str, str] = {}
    for name, text in sorted(topics.items()):
        for number, paragraph in enumerate(text.split("\n\n")):
            if 6 <= len(words(paragraph)) <= 120:
                found.setdefault(" ".join(words(paragraph)), f"{name}/{number}\0{paragraph}")
    pairs = [value.split("\0", 1) for _, value in sorted(found.items())]
    return Items("python-reference", tuple(name for name, _ in pairs), tuple(text for _, text in pairs))


def disguised(text: str, draw: random.Random) -> str:
    """The same words in another case, with other punctuation and other line breaks."""
    signs = [" ", "\n", ", ", " - ", "  ", "; "]
    said = "".join(word + draw.choice(signs) for word in words(text))
    return draw.choice([said.upper(), said.title(), said])


def plain(texts: list[str], protected: Items) -> list[bool]:
    """Does each text share a 13-gram with an item? By sets, one text after the other."""
    known = set()
    for text in protected.texts:
        cut = words(text)
        known |= {tuple(cut[at : at + NGRAM]) for at in range(len(cut) - NGRAM + 1)}
    found = []
    for text in texts:
        cut = words(text)
        found.append(any(tuple(cut[at : at + NGRAM]) in known for at in range(len(cut) - NGRAM + 1)))
    return found


def main() -> None:
    draw = random.Random(1)
    reference = set(topics.values())
    protected, texts = items(), [text for text in documents(20_000, None, LEAST) if text not in reference]
    planted: dict[int, int] = {}
    for number in range(0, len(texts), 10):
        item = draw.randrange(len(protected.texts))
        place = draw.randrange(len(texts[number]) + 1)
        said = f"\n\n{disguised(protected.texts[item], draw)}\n\n"
        texts[number] = texts[number][:place] + said + texts[number][place:]
        planted[number] = item
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    begin = time.process_time()
    scorer = Contamination([protected], NGRAM)
    built = time.process_time() - begin
    Quality(("basic",)).score(table.slice(0, 10))
    seconds, basic, rows = 0.0, 0.0, []
    for at in range(0, len(texts), 1024):
        block = table.slice(at, 1024)
        begin = time.process_time()
        rows += scorer.score(block).to_pylist()
        middle = time.process_time()
        Quality(("basic",)).score(block)
        seconds, basic = seconds + middle - begin, basic + time.process_time() - middle
    accused = [
        row["contamination.python-reference.ngrams"] >= 1 or row["contamination.python-reference.similarity"] >= 0.8
        for row in rows
    ]
    by_definition = plain(texts, protected)
    clean = [number for number in range(len(texts)) if number not in planted]
    quoting = [number for number in clean if by_definition[number]]
    named = sum(
        rows[number]["contamination.python-reference.item"] == protected.ids[item] for number, item in planted.items()
    )
    long = [number for number, item in planted.items() if len(words(protected.texts[item])) >= NGRAM]
    megabytes = sum(map(len, texts)) / 1e6
    result = {
        "items": len(protected.texts),
        "documents": len(texts),
        "megabytes": round(megabytes, 1),
        "planted": len(planted),
        "found": round(sum(accused[number] for number in planted) / len(planted), 5),
        "found_of_long_items": round(sum(accused[number] for number in long) / len(long), 5),
        "named_the_item": round(named / len(planted), 5),
        "clean": len(clean) - len(quoting),
        "quote_the_reference_by_themselves": len(quoting),
        "false_alarms": round(sum(accused[n] for n in clean if not by_definition[n]) / (len(clean) - len(quoting)), 6),
        "accused_without_a_plant": round(sum(accused[number] for number in clean) / len(clean), 6),
        "index_seconds": round(built, 3),
        "documents_per_second": round(len(texts) / seconds, 1),
        "megabytes_per_second": round(megabytes / seconds, 2),
        "share_of_the_basic_measures_time": round(seconds / basic, 3),
        "bars": {"found": 0.99, "false_alarms": 0.001},
    }
    print(machine.write("contamination", result))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
