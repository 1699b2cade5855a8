"""Texts and a recipe for a miniature of the main job."""

import json
import random
import sqlite3
from contextlib import closing

import yaml

SUBJECTS = ["the miller", "the river", "a stone", "the baker", "our engine", "the farmer", "this wheel"]
VERBS = ["turns", "carries", "measures", "grinds", "weighs", "cleans", "moves", "opens", "stores", "counts"]
OBJECTS = ["the grain", "fresh flour", "a heavy sack", "the morning bread", "cold water", "every barrel"]
PLACES = ["before sunrise", "near the village", "with great care", "in the long winter", "on market day"]


#: What one record of the miniature holds: a value of each kind, and a sentence around it.
PLANTED = {
    "jane.doe@kornmuehle.de": "Write to jane.doe@kornmuehle.de soon.",
    "901820": "Her telephone is +49 30 901820 now.",
    "81.2.69.142": "The server at host 81.2.69.142 grinds.",
    "536-90-4399": "The SSN is 536-90-4399 here.",
    "44051401359": "Her PESEL is 44051401359 there.",
    "C01X00T47": "The passport number is C01X00T47 then.",
    "490154203237518": "It has the IMEI 490154203237518 inside.",
    "3c:22:fb:12:34:ab": "The mill has the MAC 3c:22:fb:12:34:ab too.",
    "DE89370400440532013000": "Pay to DE89370400440532013000 at last.",
    "hunter22": "It reads redis://:" + "hunter22@cache for flour.",
}


def pieces(path):
    """What a file holds, for a scan: its bytes, and decoded what hides in a table, an index or a database."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield str(pq.read_table(path).to_pylist()).encode()
    elif path.suffix in (".arrow", ".idx"):
        import pyarrow as pa

        with pa.memory_map(str(path)) as source:
            yield str(pa.ipc.open_file(source).read_all().to_pylist()).encode()
    elif path.suffix == ".db":  # a long value lies in pieces on its pages
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
            for name in tables:
                yield str(database.execute(f'select * from "{name}"').fetchall()).encode()


def text(seed: int, sentences: int = 6) -> str:
    """English-like prose, different for every seed."""
    draw = random.Random(seed)
    return " ".join(
        f"{draw.choice(SUBJECTS).capitalize()} {draw.choice(VERBS)} {draw.choice(OBJECTS)} {draw.choice(PLACES)}."
        for _ in range(sentences)
    )


def corpus_lines(count: int = 240) -> list[dict]:
    """Records with two labels that differ in words, allowed licences, and one each of what a rule must stop."""
    rows = [
        {
            "id": f"doc-{i}",
            "text": text(i) + (" Wheat and barley are ripe." if i % 2 else " Ships sail to the harbour."),
            "licence": "MIT" if i % 3 else "CC0-1.0",
            "label": "land" if i % 2 else "sea",
        }
        for i in range(count)
    ]
    rows += [
        {"id": "no-licence", "text": text(9001), "licence": ""},
        {"id": "not-allowed", "text": text(9002), "licence": "CC-BY-NC-4.0"},
        {"id": "mail", "text": f"{text(9003)} {' '.join(PLANTED.values())}", "licence": "MIT"},
        {"id": "copy", "text": rows[0]["text"], "licence": "MIT"},
        {"id": "short", "text": "Too short.", "licence": "MIT"},
        {"id": "empty", "text": "", "licence": "MIT"},
    ]
    return rows


SMALL = {
    "tokenizer": {"vocabulary": 300},
    "encoder": {"layers": 1, "width": 32, "heads": 2, "maximum_tokens": 64},
    "train": {
        "steps": 6,
        "batch": 4,
        "sequence_length": 64,
        "warmup_steps": 1,
        "checkpoint_every_steps": 3,
        "threads": 1,
    },
    "evaluate": [
        {"kind": "masked-tokens", "documents": 20, "positions": 200},
        {"kind": "linear-probe", "labels": 2, "train_documents": 80, "test_documents": 30, "random_init_seeds": 2},
    ],
}


def write_recipe(folder, lines, name="mini", **changes):
    """A JSONL of `lines` and a recipe over it; returns the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {
        "name": name,
        "sources": [{"kind": "files", "name": "texts", "path": str(folder / "texts.jsonl")}],
        "policy": "open-definition",
        "split": {"validation": 0.2},
        **SMALL,
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
