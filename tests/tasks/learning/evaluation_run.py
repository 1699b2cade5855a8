"""A small corpus version and a run folder, as curation and the trainer leave them, for the tests of evaluation."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from ssl_models.config import (
    CausalLanguageModelling,
    CorpusRef,
    MaskedLanguageModelling,
    TextEncoder,
    Tokenizer,
    Train,
    TrainSpec,
)
from ssl_models.encoders import build_encoder
from tasks.learning.tokenize import train_tokenizer

FIELDS = ("id", "source", "uri", "licence", "licence_declared", "obligations", "language", "label", "group")
TOPICS = {
    "cooking": "boil the carrot soup with onion and salt then stir the pot and taste",
    "sailing": "hoist the sail when wind turns and steer the boat toward the harbour light",
    "algebra": "every finite group of prime order is cyclic and the proof uses its subgroups",
    "": "some words about nothing in particular that carry no label at all",
}


def make_corpus(folder: Path, documents: int = 240, shards: int = 2, topics: dict[str, str] = TOPICS) -> Path:
    """Documents of shuffled topic words; every fifth group of three documents is held out."""
    random = np.random.default_rng(0)
    names = list(topics)
    rows: dict[str, list[dict[str, str]]] = {}
    for number in range(documents):
        label, group = names[number // 3 % len(names)], number // 3
        words = topics[label].split()
        text = " ".join(random.choice(words, int(random.integers(6, 40))).tolist())
        key = hashlib.sha256(str(number).encode()).hexdigest()[:32]
        split = "validation" if group % 5 == 4 else "train"
        row = {
            "id": str(number),
            "label": label,
            "group": f"file{group}.txt" if label else "",
            "text": text,
            "key": key,
        }
        rows.setdefault(f"{split}-{int(key[:2], 16) % shards:06d}", []).append(row)
    for name, part in rows.items():
        write_shard(folder, name, sorted(part, key=lambda row: row["key"]))
    return folder


def write_shard(folder: Path, name: str, rows: list[dict[str, str]]) -> None:
    """One tar with its index, positions found by Python's tarfile."""
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    (folder / "index").mkdir(exist_ok=True)
    path = folder / "shards" / f"{name}.tar"
    with open(path, "wb") as file, webdataset.TarWriter(file) as tar:
        for row in rows:
            values = json.dumps({field: row.get(field, "") for field in FIELDS}).encode()
            tar.write({"__key__": row["key"], "json": values, "txt": row["text"].encode()})
    index: dict[str, dict[str, object]] = {}
    with tarfile.open(path) as members:
        for member in members:
            key, extension = member.name.split(".", 1)
            entry = index.setdefault(key, {"key": key, "offset": member.offset, "length": 0, "sha256": ""})
            entry[f"{extension}.offset"], entry[f"{extension}.length"] = member.offset_data, member.size
    table = pa.Table.from_pylist(list(index.values()))
    with pa.OSFile(str(folder / "index" / f"{name}.idx"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def make_run(folder: Path, corpus: Path, given: list[str], seed: int = 5, causal: bool = False) -> Path:
    """A run of the smallest encoder with its first weights, told to have read the documents `given`."""
    architecture = "gpt2" if causal else "modernbert"
    encoder = TextEncoder(architecture=architecture, layers=1, width=32, heads=2, maximum_tokens=64)
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True)
    config = Tokenizer(kind="byte_bpe", vocabulary=300) if causal else Tokenizer(vocabulary=120)
    train_tokenizer(corpus, config, tokenizer, 64)
    spec = TrainSpec(
        run_id="small-000000000000",
        recipe="small",
        recipe_sha256="0" * 64,
        folder=str(folder),
        tokenizer_folder=str(tokenizer),
        tokenizer_sha256="0" * 64,
        corpus=CorpusRef(name="small", version=1, root="0" * 64, folder=str(corpus)),
        encoder=encoder,
        objective=CausalLanguageModelling() if causal else MaskedLanguageModelling(),
        train=Train(sequence_length=24),
    )
    spec.write(folder / "SPEC.json")
    words = len(json.loads((tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    special = {"pad": 0, "cls": 2, "sep": 3}
    model = build_encoder(encoder, vocabulary=words, special=special, seed=seed, method=spec.objective.method)
    model.save_pretrained(folder / "encoder")
    for path in tokenizer.iterdir():
        (folder / "encoder" / path.name).write_bytes(path.read_bytes())
    table = pa.table({"record_id": sorted(given), "first_step": pa.array([1] * len(given), pa.int64())})
    pq.write_table(table, folder / "exposure.parquet")
    lines = [{"step": step, "loss": 5.0 - step / 100} for step in range(10, 110, 10)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
