"""Who reads in benchmarks.reader: each side reads the whole data set once and says how many samples it gave."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_models.reader import Index, Reader
from ssl_models.shard_cache import Cache

BATCH = 64
Side = Callable[[], int]
Decode = Callable[[bytes], Any]


def pillow(payload: bytes) -> np.ndarray:
    """uint8 [H, W, 3]: the decode function that both sides are given in the row `same decode`."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))


def turbo(payload: bytes) -> np.ndarray:
    """Our own decoder of JPEG; Pillow where it declines."""
    from ssl_models.jpeg import decode_jpeg

    pixels = decode_jpeg(payload, 3)
    return pillow(payload) if pixels is None else pixels


def ours(folder: Path, order: str = "global", decode: Decode | None = None, **how: Any) -> Side:
    """An epoch of this project's reader: keys and bytes, or decoded. The index is open, as it is for a whole run."""
    index = Index(folder, "train", "jpg")

    def read() -> int:
        with Reader(index, 0, order=order, **how) as reader:
            return _epoch(reader, len(index), decode)

    return read


def ours_remote(url: str, order: str, keep: Path | None = None, **how: Any) -> Side:
    """An epoch from a URL, the index not yet open; the cache empty, or kept in a folder."""

    def read() -> int:
        with tempfile.TemporaryDirectory() as fresh:
            index = Index(url, "train", "jpg", cache=Cache(keep or Path(fresh)))
            with Reader(index, 0, order=order, **how) as reader:
                return _epoch(reader, len(index), None)

    return read


def _epoch(reader: Reader, size: int, decode: Decode | None) -> int:
    for begin in range(0, size, BATCH):
        part = reader.take(begin, min(size, begin + BATCH))  # the stream is endless; an epoch is what is compared
        if decode is not None:
            for payload in part.payloads:
                decode(payload)
    return size


def webdataset_raw(paths: Sequence[Path]) -> Side:
    def read() -> int:
        import webdataset as wds

        return sum(1 for _ in wds.WebDataset(list(map(str, paths)), shardshuffle=False))

    return read


def webdataset_decoded(paths: Sequence[Path], decode: Decode) -> Side:
    def read() -> int:
        import webdataset as wds

        pipeline = wds.WebDataset(list(map(str, paths)), shardshuffle=False).map(lambda sample: decode(sample["jpg"]))
        return sum(1 for _ in pipeline)

    return read


def webdataset_own(paths: Sequence[Path]) -> Side:
    """Its own decoder, as its manual has it."""

    def read() -> int:
        import webdataset as wds

        pipeline = wds.WebDataset(list(map(str, paths)), shardshuffle=False).decode("rgb8").to_tuple("jpg")
        return sum(1 for _ in pipeline)

    return read


def webdataset_streams(urls: Sequence[str]) -> Side:
    """Its tar reading and grouping over streams of fsspec: its own S3 needs the AWS command line in a shell."""

    def opened(source: Iterable[dict]) -> Iterator[dict]:
        from fsspec.core import url_to_fs

        for shard in source:
            system, path = url_to_fs(shard["url"])
            with system.open(path, "rb", block_size=8 * 2**20, cache_type="readahead") as stream:
                yield {"url": shard["url"], "stream": stream}

    def read() -> int:
        import webdataset as wds
        from webdataset.tariterators import group_by_keys, tar_file_expander

        stages = [wds.shardlists.SimpleShardList(list(urls)), opened, tar_file_expander, group_by_keys]
        return sum(1 for _ in wds.DataPipeline(*stages))

    return read


def litdata_side(folder: Path, samples: Callable[[], Iterator[tuple[str, bytes]]]) -> Side:
    """`litdata` over its own chunks of the same bytes; written on the first call of this function."""
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes="64MB")
    for number, (key, payload) in enumerate(samples()):
        writer[number] = {"key": key, "jpg": payload}
    writer.done()
    writer.merge()

    def read() -> int:
        return sum(1 for _ in StreamingDataset(str(folder), shuffle=False))

    return read


def mosaic_side(folder: Path, samples: Callable[[], Iterator[tuple[str, bytes]]]) -> Side:
    """`mosaicml-streaming` over its own MDS shards of the same bytes; written on the first call of this function."""
    from streaming import MDSWriter, StreamingDataset

    with MDSWriter(out=str(folder), columns={"key": "str", "jpg": "bytes"}) as writer:
        for key, payload in samples():
            writer.write({"key": key, "jpg": payload})
    data = StreamingDataset(local=str(folder), shuffle=False, batch_size=BATCH)  # one for all epochs, as it is meant

    def read() -> int:
        return sum(1 for _ in data)

    return read
