"""The media stage: every image and clip made regular once, and measured.

Its folder holds scores.parquet (a row a record), regular.parquet (the bytes that a shard will hold, null where there
are none) and media.json (what members a sample has).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_policies.media_measures import MEDIA_MEASURES
from data_policies.media_rules import KIND
from tasks.curation import audio, images
from tasks.curation.blocks import write_blocks, write_byte_blocks
from tasks.curation.collect import PAYLOAD_BYTES
from tasks.curation.media import MediaSettings, Regular
from tasks.curation.records import Engine
from tasks.engine import output_schema, score_table, transient
from tasks.governance.ledger import ROW_GROUP
from tasks.home import Home
from tasks.progress import progress
from tasks.stages import Stage, Transient, run_stage

VERSION = 1
REGULAR_SCHEMA = pa.schema([("record_id", pa.string()), ("regular", pa.large_binary())])
_LIBRARIES = {"image": ("pillow",), "audio": ("soundfile", "soxr")}
_BATCH = 64  # payloads that one thread takes at once


def measured(media: str) -> list[str]:
    """The score columns of a kind of media."""
    return [f"{media}.{name}" for name in MEDIA_MEASURES[media]]


class Media:
    """Scorer that makes payloads regular: ``media``, ``media.rule``, ``media.detail``, ``media.size``, the measures of
    its kind, and ``regular``, the bytes. A text, and a payload that the source held back, has neither rule nor bytes.
    """

    name = "media"
    VERSION = VERSION
    inputs = (KIND, "payload")

    def __init__(self, media: str, settings: MediaSettings) -> None:
        self.media, self.settings = media, settings
        self.schema = pa.schema(
            [
                (KIND, pa.string()),
                ("media.rule", pa.string()),
                ("media.detail", pa.string()),
                ("media.size", pa.int64()),
            ]
            + [(name, pa.float64()) for name in measured(media)]
            + [("regular", pa.large_binary())]
        )

    def config(self) -> dict[str, Any]:
        """The kind, its settings, the measures, and the versions and models of what decodes and measures."""
        module: Any = {"image": images, "audio": audio}[self.media]
        settings = asdict(getattr(self.settings, self.media))
        models = {"models": audio.models()} if self.media == "audio" else {}
        return {
            "media": self.media,
            "settings": settings,
            "measures": measured(self.media),
            "step": module.VERSION,
            "libraries": {name: version(name) for name in _LIBRARIES[self.media]},  # they decide the regular bytes
        } | models

    def score(self, batch: pa.Table) -> pa.Table:
        """The columns of `schema` for each row of ``media`` and ``payload``."""
        pairs = zip(batch[KIND].to_pylist(), batch["payload"].to_pylist(), strict=True)
        rows = [self._row(media, payload) for media, payload in pairs]
        return pa.table([list(column) for column in zip(*rows, strict=True)], schema=self.schema)

    def _row(self, media: str, payload: bytes | None) -> tuple[Any, ...]:
        if not media or payload is None:
            return (media, "", "", None, *[None] * len(MEDIA_MEASURES[self.media]), None)
        found = self._regular(payload)
        measures = [found.measures.get(name) for name in MEDIA_MEASURES[self.media]]
        return (media, found.rule, found.detail, found.size, *measures, found.data)

    def _regular(self, payload: bytes) -> Regular:
        if self.media == "image":
            return images.regularise_image(payload, self.settings.image)
        return audio.regularise_audio(payload, self.settings.audio)


def media_stage(
    home: Home, ingested: Stage, media: str, captions: bool, settings: MediaSettings, engine: Engine
) -> Stage:
    """Make every payload of the ingested records regular. `captions`: do samples have a text member?"""
    scorer = Media(media, settings)
    extensions = [settings.extension(media), *(["txt"] if captions else [])]

    def build(folder: Path) -> Transient | None:
        payloads = Path(ingested.path) / "payloads.parquet"
        schema = output_schema(scorer)
        scores = pa.schema([field for field in schema if field.name != "regular"])
        with progress("media", pq.read_metadata(payloads).num_rows) as advance:
            kept: list[pa.Table] = []
            write_byte_blocks(_regular(payloads, scorer, engine, advance, kept), folder / "regular.parquet",
                              REGULAR_SCHEMA, PAYLOAD_BYTES)  # fmt: skip
            write_blocks(iter(kept), folder / "scores.parquet", scores, ROW_GROUP)
        (folder / "media.json").write_text(json.dumps({"media": media, "extensions": extensions}) + "\n")
        failed = pq.read_table(folder / "scores.parquet", columns=["record_id", "error"])
        return transient(failed["error"], failed["record_id"])

    inputs = {"records": ingested.digest, "config": scorer.config(), "extensions": extensions}
    return run_stage(home.stages, "media", VERSION, inputs, build)


def _regular(path: Path, scorer: Media, engine: Engine, advance: Any, kept: list[pa.Table]) -> Iterator[pa.Table]:
    """The regular bytes of one row group of payloads after the other; all other columns are put into `kept`."""
    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        for group in range(file.metadata.num_row_groups):
            block = file.read_row_group(group, use_threads=False)
            found = score_table(block, scorer, engine, advance, _BATCH)
            kept.append(found.drop_columns(["regular"]))
            yield found.select(REGULAR_SCHEMA.names)
