"""Texts and a recipe for a miniature of the main job."""

import json
import random

import yaml

SUBJECTS = ["the miller", "the river", "a stone", "the baker", "our engine", "the farmer", "this wheel"]
VERBS = ["turns", "carries", "measures", "grinds", "weighs", "cleans", "moves", "opens", "stores", "counts"]
OBJECTS = ["the grain", "fresh flour", "a heavy sack", "the morning bread", "cold water", "every barrel"]
PLACES = ["before sunrise", "near the village", "with great care", "in the long winter", "on market day"]


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
        {"id": "mail", "text": text(9003) + " Write to jane.doe@kornmuehle.de soon.", "licence": "MIT"},
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
