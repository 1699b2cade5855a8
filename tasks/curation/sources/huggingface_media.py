"""A data set with a column of images or clips, of the Hugging Face hub or a local copy, as a source.

The rows come as Arrow tables, in which such a column is a struct of bytes and path: `datasets` decodes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from tasks.curation.records import Raw
from tasks.curation.sources.huggingface import HuggingFaceSource
from tasks.curation.sources.media_rows import MediaRows, References, of_media
from tasks.curation.sources.pieces import split
from tasks.curation.sources.rows import RowReader


class HuggingFaceMediaSource(HuggingFaceSource):
    """One record for each row of one split. A row that holds a path and no bytes is read below the local folder."""

    _decisive: ClassVar[tuple[str, ...]] = (
        "subset", "split", "columns", "licence", "maximum_bytes", "media", "captions", "split_frames", "split_seconds",
    )  # fmt: skip

    def _reader(self) -> RowReader:
        import fsspec

        config: Any = self.config
        fetch = None
        if self.folder:
            fetch = References(fsspec.filesystem("file"), str(self.folder), config.maximum_bytes)
        return _Rows(config.media, config.columns, config.licence, config.maximum_bytes, config.captions, fetch)

    def __iter__(self) -> Iterator[Raw]:
        config: Any = self.config
        return split(of_media(super().__iter__(), config.media), self)


class _Rows(MediaRows):
    """`datasets` gives the absolute paths of a local folder's files; here they are relative to it."""

    def _place(self, row: Any) -> tuple[str, bytes]:
        reference, data = super()._place(row)
        folder = f"{self.fetch.folder}/" if isinstance(self.fetch, References) else ""
        return reference.removeprefix(folder) if folder else reference, data
