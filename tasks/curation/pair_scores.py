"""How well do an image and its text fit together, by an image-text model that the policy names? Optional.

The model is a folder in the transformers format of a dual encoder (CLIP, SigLIP): configs, tokenizer, safetensors; no
pickles, no code. The score is the cosine similarity of the two embeddings (Radford et al. 2021, arXiv 2103.00020, which
LAION-400M, arXiv 2111.02114, made a filter). Batches have one shape, and scores are rounded, so that they do not depend
on which pairs are scored together.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_policies.media_rules import PAIR_SCORE
from data_policies.schema import PairModel
from tasks.curation.blocks import write_blocks
from tasks.curation.records import Engine
from tasks.engine import output_schema, score_table, transient
from tasks.errors import UserError
from tasks.governance.ledger import ROW_GROUP
from tasks.home import Home
from tasks.progress import progress
from tasks.stages import Stage, Transient, run_stage, sha256_file, sha256_json

VERSION = 1
ROWS = 8  # pairs a forward pass
_SUFFIXES = (".json", ".txt", ".model", ".safetensors")  # what is read of a model's folder, and so what is hashed
_loading = threading.Lock()
_models: dict[str, tuple[Any, Any]] = {}


class PairScores:
    """Scorer of ``pair.score`` of each row's ``regular`` (an image) and ``text``; null where one of them is missing."""

    name = "pair-scores"
    VERSION = VERSION
    inputs = ("regular", "text")
    schema = pa.schema([(PAIR_SCORE, pa.float64())])

    def __init__(self, model: PairModel) -> None:
        """UserError when the folder holds no model, or another than the policy's digest says."""
        self._folder = Path(model.model)
        if not (self._folder / "config.json").is_file() or not (self._folder / "model.safetensors").is_file():
            hint = "a folder in the transformers format: config.json, model.safetensors, tokenizer, preprocessor"
            raise UserError("there is no image-text model here", where=model.model, hint=hint)
        files = sorted(path for path in self._folder.iterdir() if path.suffix in _SUFFIXES)
        self.digest = sha256_json([[path.name, sha256_file(path)] for path in files])
        if model.sha256 not in (None, self.digest):
            raise UserError("the model is not the one that the policy names", where=model.model, hint=self.digest)

    def config(self) -> dict[str, Any]:
        """The model's digest, and how it is asked."""
        import transformers

        return {"model": self.digest, "rows": ROWS, "transformers": transformers.__version__}

    def score(self, batch: pa.Table) -> pa.Table:
        """The column of `schema`."""
        pairs = list(zip(batch["regular"].to_pylist(), batch["text"].to_pylist(), strict=True))
        whole = [number for number, (image, text) in enumerate(pairs) if image is not None and text is not None]
        scores: list[float | None] = [None] * len(pairs)
        for start in range(0, len(whole), ROWS):
            rows = whole[start : start + ROWS]
            filled = rows + [rows[-1]] * (ROWS - len(rows))
            for row, found in zip(rows, self._similar([pairs[row] for row in filled]), strict=False):
                scores[row] = round(found, 4)
        return pa.table([pa.array(scores, pa.float64())], schema=self.schema)

    def _similar(self, pairs: list[tuple[bytes, str]]) -> list[float]:
        import torch
        from PIL import Image

        model, processor = self._open()
        images = [Image.open(io.BytesIO(image)).convert("RGB") for image, _ in pairs]
        texts = [text for _, text in pairs]
        limit = getattr(model.config.text_config, "max_position_embeddings", 77)
        shape = {"padding": "max_length", "truncation": True, "max_length": limit}
        given = processor(text=texts, images=images, return_tensors="pt", **shape)
        with torch.inference_mode():
            found = model(**given)
            return torch.nn.functional.cosine_similarity(found.image_embeds, found.text_embeds).tolist()

    def _open(self) -> tuple[Any, Any]:
        with _loading:
            if self.digest not in _models:
                from transformers import AutoModel, AutoProcessor

                local = {"local_files_only": True, "trust_remote_code": False}
                model = AutoModel.from_pretrained(self._folder, use_safetensors=True, **local).eval()
                _models[self.digest] = model, AutoProcessor.from_pretrained(self._folder, **local)
            return _models[self.digest]


def pair_score_stage(home: Home, ingested: Stage, media: Stage, model: PairModel, engine: Engine) -> Stage:
    """``pair.score`` of every record."""
    scorer = PairScores(model)

    def build(folder: Path) -> Transient | None:
        path = folder / "scores.parquet"
        with progress(scorer.name, None) as advance:
            scored = (score_table(block, scorer, engine, advance, 8 * ROWS) for block in _beside(ingested, media))
            write_blocks(scored, path, output_schema(scorer), ROW_GROUP)
        failed = pq.read_table(path, columns=["record_id", "error"])
        return transient(failed["error"], failed["record_id"])

    inputs = {"media": media.digest, "records": ingested.digest, "config": scorer.config()}
    return run_stage(home.stages, scorer.name, VERSION, inputs, build)


def _beside(ingested: Stage, media: Stage) -> Iterator[pa.Table]:
    """record_id, regular and text of all records, a row group of the media at a time."""
    texts: list[str | None] = []
    records = pq.ParquetFile(Path(ingested.path) / "records.parquet")
    with records, pq.ParquetFile(Path(media.path) / "regular.parquet") as file:
        batches = records.iter_batches(columns=["text"], use_threads=False)
        for group in range(file.metadata.num_row_groups):
            block = file.read_row_group(group, use_threads=False)
            while len(texts) < len(block):
                texts += next(batches)["text"].to_pylist()
            here, texts = texts[: len(block)], texts[len(block) :]
            yield block.append_column("text", pa.array(here, pa.large_string()))
