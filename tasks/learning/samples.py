"""Samples of a corpus version, read by their positions in the shards: what evaluation looks at."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa

from ssl_models.members import IMAGES, member_of
from tasks.errors import UserError, VerificationFailed

LABEL_SCHEMA = pa.schema([("record_id", pa.string()), ("label", pa.string()), ("group", pa.string())])
SAMPLE_SCHEMA = LABEL_SCHEMA.insert(1, pa.field("text", pa.large_string()))


def read_samples(corpus: Path, split: str, only: Container[str] | None = None) -> pa.Table:
    """record_id, text, label and group of a split's samples (of those in `only`, if given), sorted by record_id.

    UserError when the corpus has no index of that split; VerificationFailed when index and shards don't match.
    """
    rows = []
    for key, (text, fields) in _members(corpus, split, ("txt", "json"), only):
        values = orjson.loads(fields)
        rows.append((key, text.decode(), values["label"], values["group"]))
    return _table(rows, SAMPLE_SCHEMA)


def read_labels(corpus: Path, split: str) -> pa.Table:
    """record_id, label and group of a split's samples, sorted by record_id; no text is read."""
    rows = []
    for key, (fields,) in _members(corpus, split, ("json",)):
        values = orjson.loads(fields)
        rows.append((key, values["label"], values["group"]))
    return _table(rows, LABEL_SCHEMA)


def read_images(corpus: Path, split: str) -> list[tuple[str, bytes, str]]:
    """(record_id, encoded image, label) of a split's samples, sorted by record_id; for errors see `read_samples`."""
    try:
        extension = member_of(corpus, IMAGES)
    except ValueError as error:
        raise UserError(str(error), where="evaluate", hint="an image probe needs a corpus of images") from None
    found = _members(corpus, split, (extension, "json"))
    return sorted((key, image, str(orjson.loads(fields)["label"])) for key, (image, fields) in found)


@dataclass(frozen=True)
class Pair:
    """One sample of a corpus of image-text pairs."""

    record_id: str
    image: bytes
    caption: str
    label: str
    group: str


def read_pairs(corpus: Path, split: str, images: bool = True) -> list[Pair]:
    """The pairs of a split, sorted by record_id; without `images` the pictures are b"" and not read.

    UserError when the corpus has no images or no captions; else as `read_samples`.
    """
    try:
        extension = member_of(corpus, IMAGES)
        member_of(corpus, ("txt",))
    except ValueError as error:
        raise UserError(str(error), where="evaluate", hint="this needs a corpus of image-text pairs") from None
    found = []
    for key, (text, fields, *image) in _members(corpus, split, ("txt", "json", *([extension] if images else []))):
        values = orjson.loads(fields)
        payload = image[0] if images else b""
        found.append(Pair(key, payload, text.decode(), str(values["label"]), str(values["group"])))
    return sorted(found, key=lambda pair: pair.record_id)


def keyed_order(keys: Sequence[str], purpose: str, seed: int) -> list[int]:
    """Positions of `keys` sorted by SHA-256(purpose, seed, key): a sample of n is the first n.

    A key that is removed leaves the order of the others as it was.
    """
    return sorted(range(len(keys)), key=lambda i: hashlib.sha256(f"{purpose}\0{seed}\0{keys[i]}".encode()).digest())


def groups_of(samples: pa.Table) -> list[str]:
    """The group of each sample, for intervals: its source file, or itself where no group is known."""
    pairs = zip(samples["group"].to_pylist(), samples["record_id"].to_pylist(), strict=True)
    return [f"group:{group}" if group else f"record:{key}" for group, key in pairs]


def _members(
    corpus: Path, split: str, extensions: Sequence[str], only: Container[str] | None = None
) -> Iterator[tuple[str, list[bytes]]]:
    """The key of every sample of the split and the bytes of its members with those extensions."""
    paths = sorted((corpus / "index").glob(f"{split}-*.idx"))
    if not paths:
        raise UserError(
            f"the corpus has no {split} samples", where=str(corpus), hint="see split.validation in the recipe"
        )
    for path in paths:
        shard = corpus / "shards" / f"{path.stem}.tar"
        try:
            with pa.OSFile(str(path)) as file:
                index = pa.ipc.open_file(file).read_all()
            places = [(index[f"{name}.offset"].to_pylist(), index[f"{name}.length"].to_pylist()) for name in extensions]
            descriptor = os.open(shard, os.O_RDONLY)
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise VerificationFailed("a shard or its index cannot be read", where=str(shard)) from error
        try:
            for row, key in enumerate(index["key"].to_pylist()):
                if only is None or key in only:
                    yield key, [_pread(descriptor, offset[row], length[row], shard) for offset, length in places]
        finally:
            os.close(descriptor)


def _pread(descriptor: int, offset: int, length: int, shard: Path) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) != length:
        raise VerificationFailed("the shard is shorter than its index says", where=str(shard))
    return data


def _table(rows: Sequence[tuple[str, ...]], schema: pa.Schema) -> pa.Table:
    rows = sorted(rows, key=lambda row: row[0])
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)
