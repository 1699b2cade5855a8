"""What the samples of a corpus consist of, by its indexes. Light: no torch."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

IMAGES = ("png", "jpg", "webp")
AUDIO = ("flac",)


def members(corpus: Path) -> set[str]:
    """The extensions of a sample's members, its JSON included. ValueError when there is no index."""
    path = next(iter(sorted((corpus / "index").glob("*.idx"))), None)
    if path is None:
        raise ValueError(f"{corpus}: there is no index")
    with pa.memory_map(str(path)) as source:
        names = pa.ipc.open_file(source).schema.names
    return {name.removesuffix(".offset") for name in names if name.endswith(".offset")}


def member_of(corpus: Path, extensions: tuple[str, ...]) -> str:
    """The first of these extensions that the samples have. ValueError when they have none."""
    found = members(corpus)
    for extension in extensions:
        if extension in found:
            return extension
    raise ValueError(f"{corpus}: its samples have no member {' or '.join(extensions)}")
