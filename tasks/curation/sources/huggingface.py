"""A data set of the Hugging Face hub, or a local copy of one, as a source."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from tasks.curation.records import Evidence, Raw
from tasks.curation.sources import HuggingFace
from tasks.curation.sources.files import readable, sha256_stream
from tasks.curation.sources.rows import RowReader
from tasks.curation.sources.tables import batch_rows, missing_text, row_record
from tasks.errors import UserError
from tasks.stages import sha256_json

_BATCH = 256  # rows at once
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HuggingFaceSource:
    """One record for each row of one split, and one for what follows a break in a stream.

    A local folder is always streamed: the copy that `datasets` would cache goes by the files' time stamps, not by their
    bytes. Without an id the locator is the data set's name and its split.
    """

    _decisive: ClassVar[tuple[str, ...]] = ("subset", "split", "columns", "licence", "maximum_text_bytes")

    def __init__(self, config: HuggingFace) -> None:
        self.name = config.name
        self.read_count = 0
        self.config = config
        self.folder = _local_folder(config.path)
        self.rows = self._reader()
        base = self.folder.name if self.folder else config.path
        self.where = "/".join(part for part in (base, config.subset, config.split) if part)
        self._data, self._revision = _load(config, self.folder)
        names = self._data.column_names
        if names is not None and not self.rows.has_text(names):
            raise missing_text(self.where, names, self.rows)

    def _reader(self) -> RowReader:
        return RowReader(self.config.columns, self.config.licence, self.config.maximum_text_bytes)

    def total_bytes(self) -> int:
        """Bytes of the local files; of a hub data set what its card gives as its size, 0 where it gives none."""
        if self.folder:
            with readable(str(self.folder)):
                return sum(path.stat().st_size for _, path in self._local_files())
        return int(self._data.info.dataset_size or self._data.info.download_size or 0)

    def digest(self) -> str:
        """Hex SHA-256 over the bytes of the local files, or over the hub's commit and the rows that were downloaded."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        said = asdict(self.config)
        described: dict[str, Any] = {key: said[key] for key in self._decisive} | {
            "card": [list(pair) for pair in self._card]
        }
        if self.folder:
            described["files"] = [[relative, _sha256(path)] for relative, path in self._local_files()]
        else:
            described |= {"path": self.config.path, "revision": self._revision}
            if not (self.config.streaming and self._revision):  # a stream's commit stands for its bytes
                described["rows"] = self._rows_sha256()
        return sha256_json(described)

    def _local_files(self) -> list[tuple[str, Path]]:
        folder = self.folder or Path()
        files = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file()]
        return sorted((name, path) for name, path in files if not any(part.startswith(".") for part in name.split("/")))

    def _rows_sha256(self) -> str:
        """SHA-256 of the rows as read; the fingerprint of `datasets` says how they were made, not what they are."""
        import orjson

        digest = hashlib.sha256()
        for row in self._plain_rows():
            digest.update(
                row if isinstance(row, bytes) else orjson.dumps(row, default=repr, option=orjson.OPT_SORT_KEYS)
            )
            digest.update(b"\n")
        return digest.hexdigest()

    @cached_property
    def _card(self) -> Evidence:
        """The licence that the data set's card names."""
        if self.config.licence:
            return ()
        names = self._data.info.license or _card_licence(self.folder, self.config.path)
        return tuple(("name", str(name)) for name in (names if isinstance(names, list) else [names]) if name)

    def __iter__(self) -> Iterator[Raw]:
        number = 0
        if not self._streamed:
            self.read_count += len(self._data)
        try:
            for row in self._plain_rows():
                number += 1
                raw = row_record(row, self.where, number, self.rows)
                raw.evidence = raw.evidence or self._card
                yield raw
        except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:  # pyarrow's ArrowInvalid is a ValueError
            if not self._streamed:
                raise
            self.read_count += 1
            tail = f"{self.where}#tail"
            detail = f"after {number} rows: {type(error).__name__}; files with bad rows are read by `kind: files`"
            yield Raw(tail, tail, None, evidence=self._card, rule="ingest.truncated", detail=detail)

    @property
    def _streamed(self) -> bool:
        return not hasattr(self._data, "__len__")

    def _plain_rows(self) -> Iterator[dict[str, Any] | bytes]:
        """Rows of the wanted columns, class labels by name."""
        for table in self._tables():
            if not self.rows.has_text(table.column_names):
                raise missing_text(self.where, table.column_names, self.rows)
            for batch in table.select(self.rows.wanted(table.column_names)).to_batches():
                for row in batch_rows(batch):
                    yield self._named(row) if isinstance(row, dict) else row

    def _tables(self) -> Iterator[Any]:
        """The data as Arrow tables. Where a stream breaks in the middle of one, its whole rows come one by one."""
        done = 0
        try:
            for table in self._data.with_format("arrow").iter(_BATCH):
                yield self._counted(table)
                done += len(table)
        except Exception as broken:  # a stream can break in every way that its file formats know
            if not self._streamed or isinstance(broken, UserError):
                raise
            try:
                for table in self._data.skip(done).with_format("arrow").iter(1):
                    yield self._counted(table)
            except OSError as error:
                if isinstance(error, gzip.BadGzipFile):
                    raise
                reason = type(error).__name__
                raise UserError(f"the stream broke off: {reason}", where=self.where, hint="run it again") from None

    def _counted(self, table: Any) -> Any:
        if self._streamed:
            self.read_count += len(table)
        return table

    def _named(self, row: dict[str, Any]) -> dict[str, Any]:
        for name, feature in self._class_labels.items():
            if isinstance(row.get(name), int):
                row[name] = feature.int2str(row[name]) if row[name] >= 0 else None  # -1: not labelled
        return row

    @cached_property
    def _class_labels(self) -> dict[str, Any]:
        from datasets import ClassLabel

        return {name: kind for name, kind in (self._data.features or {}).items() if isinstance(kind, ClassLabel)}


def _local_folder(path: str) -> Path | None:
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.is_absolute() or path.startswith((".", "~")) or folder.exists():
        raise UserError("there is no such folder", where=path, hint="a data set is a folder or a hub name, ORG/NAME")
    return None


def _load(config: HuggingFace, folder: Path | None) -> tuple[Any, str]:
    """(Dataset or IterableDataset, commit or ""); UserError that says what is missing and how to get it."""
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # its parsers log what they could not read
    try:
        if folder and ((folder / "state.json").exists() or (folder / "dataset_dict.json").exists()):
            return _from_disk(datasets.load_from_disk(str(folder)), config), ""
        path = str(folder) if folder else config.path
        builder = datasets.load_dataset_builder(path, config.subset)
        if folder or config.streaming:
            data = builder.as_streaming_dataset(config.split)
        else:
            builder.download_and_prepare()
            data = builder.as_dataset(config.split)
        return data, builder.hash if not folder and _COMMIT.fullmatch(builder.hash or "") else ""
    except UserError:
        raise
    except DatasetNotFoundError:
        hint = "check the name; for a private or gated data set: hf auth login"
        raise UserError(f"the hub has no data set '{config.path}' for you", where=config.path, hint=hint) from None
    except ConnectionError:
        copy = config.path.replace("/", "-")
        hint = f"where it can be: hf download --repo-type dataset {config.path} --local-dir {copy}; then `path: {copy}`"
        raise UserError("not on this machine, and the hub cannot be reached", where=config.path, hint=hint) from None
    except Exception as error:  # noqa: BLE001 - builders raise what they like; the user sees which data set and why
        # Only these speak of splits and folders; the message of a parser may quote a row.
        plain = type(error) is ValueError or isinstance(error, FileNotFoundError)
        said = str(error).split("\n")[0][:200] if plain else type(error).__name__
        hint = "see `subset` and `split`; files with bad rows are read by `kind: files`"
        raise UserError(f"cannot be opened: {said}", where=config.path, hint=hint) from None


def _from_disk(found: Any, config: HuggingFace) -> Any:
    """The split out of what `save_to_disk` wrote."""
    splits = dict(found) if isinstance(found, dict) else {str(found.split or config.split): found}
    if config.split not in splits:
        hint = f"it has: {', '.join(map(str, splits))}"
        raise UserError(f"there is no split '{config.split}'", where=config.path, hint=hint)
    return splits[config.split]


def _card_licence(folder: Path | None, path: str) -> Any:
    """The `license` of a data set's card, or None."""
    import yaml
    from huggingface_hub import DatasetCard

    if folder and not (folder / "README.md").is_file():
        return None
    try:
        card = DatasetCard.load(str(folder / "README.md") if folder else path)
    except (OSError, ValueError, yaml.YAMLError):  # a hub that is not there, a card that cannot be read
        return None
    return card.data.get("license")


def _sha256(path: Path) -> str:
    with readable(str(path)), path.open("rb") as file:
        return sha256_stream(file)
