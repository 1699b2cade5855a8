"""WebDataset pipelines over any tars, with nothing that runs code: for those who want its shuffles and its batching.

`webdataset` by itself unpickles `.pyd` members and gives `pipe:` URLs to a shell, unless ``WDS_SECURE=1``; and then it
opens no local file either. Here its pipeline gets samples from `ssl_models.tar_samples`, by URLs that are known to only
read, and its decoding is a list of what is allowed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ssl_models.shard_cache import file_system, require_safe
from ssl_models.tar_samples import Sample, open_tar, samples
from ssl_models.tars import TAIL

if TYPE_CHECKING:
    from webdataset import DataPipeline

IMAGES = frozenset(["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"])
BYTES = frozenset(["wav", "flac", "ogg", "mp3", "opus", "bin"])  # left as they are
_log = logging.getLogger(__name__)


def decode_member(extension: str, payload: bytes) -> Any:
    """What a member holds: text, JSON, a class number, an image as uint8 [3, H, W], or its bytes.

    ValueError when its last extension is none of those that are allowed, or the content is not what it says.
    """
    kind = extension.rpartition(".")[2]
    if kind in ("txt", "text"):
        return payload.decode()
    if kind == "json":
        return orjson.loads(payload)
    if kind in ("cls", "index"):
        return int(payload)
    if kind in IMAGES:
        from ssl_models.images import decode

        return decode(payload, 3)
    if kind in BYTES:
        return payload
    raise ValueError(f"no decoder is allowed for .{kind} members")


def open_webdataset(
    urls: Sequence[str | Path],
    *,
    decode: bool = True,
    refused: Callable[[str, Sample], None] | None = None,
) -> DataPipeline:
    """A `webdataset` pipeline of the samples in `urls` (paths, or URLs that fsspec reads), in their order.

    Stages such as `wds.shuffle` or `wds.batched` are added with `.compose`; several workers and ranks each take their
    part of the shards. Members are decoded by `decode_member`. A sample with a hostile member is left out and given to
    `refused(url, sample)`; without it, it is logged. ValueError for other URLs, for a tar that breaks, and for a member
    that is not allowed or no such thing.
    """
    os.environ.setdefault("WDS_SECURE", "1")  # read when it is imported; for whoever builds on this pipeline
    import webdataset as wds

    checked = [require_safe(url) if isinstance(url, str) and "://" in url else str(Path(url)) for url in urls]
    if pipes := [url for url in urls if isinstance(url, str) and url.startswith(("pipe:", "-"))]:
        require_safe(pipes[0])
    told = refused or _log_refused

    def expand(source: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for shard in source:
            yield from read_shard(shard["url"], told)

    def open_members(sample: dict[str, Any]) -> dict[str, Any]:
        return {name: value if name.startswith("__") else _decoded(sample, name) for name, value in sample.items()}

    stages = [wds.shardlists.SimpleShardList(checked), wds.shardlists.split_by_node, wds.shardlists.split_by_worker]
    return wds.DataPipeline(*stages, expand, *([wds.map(open_members)] if decode else []))


def read_shard(url: str, refused: Callable[[str, Sample], None]) -> Iterator[dict[str, Any]]:
    """The samples of one tar (plain, or gzip by its first bytes), as `webdataset` passes them on: with their bytes."""
    with _opened(url) as file, open_tar(file) as tar:
        for sample in samples(tar, payloads=True):
            if sample.key == TAIL:
                raise ValueError(f"{url}: the tar breaks at byte {sample.offset:,} ({sample.reason})")
            if sample.reason:
                refused(url, sample)
            else:
                yield {"__key__": sample.key, "__url__": url, **sample.payloads}


def _opened(url: str) -> Any:
    if "://" not in url:
        return open(url, "rb")
    system, path = file_system(url)
    return system.open(path, "rb", block_size=8 * 2**20, cache_type="readahead")


def _decoded(sample: dict[str, Any], name: str) -> Any:
    try:
        return decode_member(name, sample[name])
    except ValueError as error:  # of Unicode and JSON too; their messages may quote the document
        reason = str(error) if type(error) is ValueError and "invalid literal" not in str(error) else "is no such thing"
        raise ValueError(f"{sample['__url__']}: {sample['__key__']}.{name}: {reason}") from None


def _log_refused(url: str, sample: Sample) -> None:
    _log.warning("%s: the sample at byte %d is refused: %s", url, sample.offset, sample.reason)
