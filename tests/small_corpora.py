"""Small corpora on disk for the tests: shards by webdataset's own writer, with or without an index."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import webdataset as wds

from ssl_models.reader import INDEX, SHARDS, scan_tar


def write_corpus(
    folder: Path, texts: dict[str, str], split: str = "train", shards: int = 1, index: bool = True
) -> Path:
    """Samples in key order, key number i in shard i % shards."""
    (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    (folder / INDEX).mkdir(exist_ok=True)
    for number in range(shards):
        path = folder / SHARDS / f"{split}-{number:06d}.tar"
        with open(path, "wb") as file, wds.TarWriter(file, mtime=0, user="root", group="root") as tar:
            for key in sorted(texts)[number::shards]:
                tar.write({"__key__": key, "json": json.dumps({"id": key}).encode(), "txt": texts[key].encode()})
        if index:
            write_index(folder, path)
    return folder


def write_index(folder: Path, tar: Path) -> None:
    txt, other = (scan_tar(tar, extension).sort_by("key") for extension in ("txt", "json"))
    columns = {
        "key": txt["key"],
        "offset": other["start"],
        "length": pa.array(np.zeros(len(txt), np.int64)),
        "sha256": pa.array([""] * len(txt)),
        "txt.offset": txt["start"],
        "txt.length": txt["length"],
        "json.offset": other["start"],
        "json.length": other["length"],
    }
    table = pa.table(columns)
    with pa.ipc.new_file(folder / INDEX / f"{tar.stem}.idx", table.schema) as writer:
        writer.write_table(table)


def keyed_texts(count: int, seed: int = 0, words: int = 30) -> dict[str, str]:
    """Texts of a small language: each word is one of three that may follow the word before."""
    random = np.random.default_rng(seed)
    vocabulary = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnr"]
    follows = random.integers(0, len(vocabulary), (len(vocabulary), 3))
    texts = {}
    for number in range(count):
        word, line = int(random.integers(len(vocabulary))), []
        for _ in range(int(random.integers(3, words))):
            line.append(vocabulary[word])
            word = int(follows[word, random.integers(3)])
        texts[f"{int(random.integers(2**62)):016x}{number:016x}"] = " ".join(line)
    return texts
