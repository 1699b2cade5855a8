"""Masked-token cross-entropy on held-out documents, beside n-gram models of the text that the model was given.

Every selected token is replaced by [MASK] here. Under the 80/10/10 corruption of training a tenth of the selected
positions shows its own answer, to the model and not to the n-gram models; all-[MASK] asks the same of everyone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ssl_models.config import MaskedLanguageModelling
from ssl_models.views.masking import mask_document
from tasks.errors import UserError
from tasks.learning import baselines
from tasks.learning.evaluate_config import MaskedTokens
from tasks.learning.intervals import Metric, measure
from tasks.learning.progress import Progress
from tasks.learning.samples import groups_of, keyed_order, read_labels, read_samples

RULE = MaskedLanguageModelling(mask_probability=0.15, mask_share=1.0, random_share=0.0)


@dataclass(frozen=True)
class Chunk:
    """One row as the model sees it: [CLS] tokens [SEP]; `document` counts the drawn documents."""

    document: int
    ids: NDArray[np.int64]
    corrupted: NDArray[np.int64]
    selected: NDArray[np.bool_]


@dataclass(frozen=True)
class MaskedResult:
    metrics: list[Metric]
    details: dict[str, Any]


class Cutter:
    """Texts to rows of ids exactly as in training: ordinary tokens cut into chunks, each [CLS] tokens [SEP]."""

    def __init__(self, encoder: Path, length: int, method: str = "mlm") -> None:
        from ssl_models.vocabulary import special_ids

        self.tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
        self.ids, self.vocabulary = special_ids(encoder, self.tokenizer, method)
        self.length = length

    def __call__(self, texts: Sequence[str]) -> list[list[NDArray[np.int64]]]:
        """The rows of each text; a text without tokens has none."""
        size, start, end = self.length - 2, [self.ids["cls"]], [self.ids["sep"]]
        return [
            [np.asarray(start + one.ids[at : at + size] + end, np.int64) for at in range(0, len(one.ids), size)]
            for one in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ]


def masked_tokens(
    run_folder: Path, corpus: Path, config: MaskedTokens = MaskedTokens(), progress: Progress | None = None
) -> MaskedResult:
    """Measure ``RUN/encoder`` on masked tokens of `corpus`'s validation split.

    Metrics, in nats a token: ``eval/cross_entropy`` (the model), ``eval/{unigram,bigram,kneser_ney}_cross_entropy`` at
    the same positions, ``eval/cross_entropy_minus_{unigram,bigram}`` (paired; below 0 the model is better),
    ``eval/bigram_minus_cross_entropy`` (the same, above 0: what a promotion may ask for). The n-gram
    models are fitted on the documents of exposure.parquet, each in full, though the last ones may be partly in a row
    that no step has used yet: that favours them.
    """
    from tasks.learning import embed

    cutter = Cutter(run_folder / "encoder", embed.read_spec(run_folder).train.sequence_length)
    documents = given_documents(run_folder, corpus, cutter)
    bigram = baselines.fit(documents, len(cutter.vocabulary.special_V), np.flatnonzero(cutter.vocabulary.special_V))

    chunks, drawn = draw(corpus, cutter, config)
    if not chunks:
        raise UserError(
            "the validation split holds no token", where=str(corpus), hint="hold out more with split.validation"
        )
    left, token = baselines.masked_pairs([c.ids for c in chunks], [c.selected for c in chunks])
    model_N = model_nats(run_folder / "encoder", chunks, cutter.ids["pad"], progress)
    columns = baselines.side_by_side(model_N, bigram, left, token)
    document_groups = groups_of(drawn)
    groups = [document_groups[chunk.document] for chunk in chunks for _ in range(int(chunk.selected.sum()))]
    metrics = measure([f"eval/{name}" for name in columns], np.stack(list(columns.values()), axis=1), groups)
    details = {
        "positions": len(token),
        "documents": len({chunk.document for chunk in chunks}),
        "baseline_documents": len(documents),
        "baseline_tokens": sum(map(len, documents)),
        "vocabulary": len(cutter.vocabulary.special_V),
        "left_masked": round(float((left < 0).mean()), 4),
        "corruption": "15 % of the ordinary tokens, all replaced by [MASK]",
        "interval": "95 %, bootstrap over source files",
    }
    return MaskedResult(metrics, details)


def given_documents(run_folder: Path, corpus: Path, cutter: Cutter) -> list[NDArray[np.int64]]:
    """The documents of exposure.parquet, cut as the model saw them, each whole. UserError when there are none."""
    given = pq.read_table(run_folder / "exposure.parquet", columns=["record_id"])["record_id"].to_pylist()
    texts = read_samples(corpus, "train", set(given))["text"].to_pylist()
    documents = [np.concatenate(rows) for rows in cutter(texts) if rows]
    if not documents:
        raise UserError(
            "the run was given no document of this corpus", where=str(run_folder), hint="name its own corpus"
        )
    return documents


def draw(corpus: Path, cutter: Cutter, config: MaskedTokens) -> tuple[list[Chunk], pa.Table]:
    """The held-out chunks in keyed order of their documents, masked, and the drawn documents in the same order."""
    keys = read_labels(corpus, "validation")["record_id"].to_pylist()
    order = [keys[i] for i in keyed_order(keys, "masked-tokens", config.seed)[: config.documents]]
    samples = read_samples(corpus, "validation", set(order))
    place = {key: row for row, key in enumerate(samples["record_id"].to_pylist())}
    samples = samples.take([place[key] for key in order])
    chunks: list[Chunk] = []
    positions = 0
    for document, (key, rows) in enumerate(zip(order, cutter(samples["text"].to_pylist()), strict=True)):
        for number, ids in enumerate(rows):
            corrupted, selected = mask_document(
                ids, key, cutter.vocabulary, RULE, seed=config.seed, epoch=0, chunk=number
            )
            chunks.append(Chunk(document, ids, corrupted, selected))
            positions += int(selected.sum())
            if positions >= config.positions:
                return chunks, samples
    return chunks, samples


def model_nats(
    folder: Path, chunks: Sequence[Chunk], pad_id: int, progress: Progress | None = None
) -> NDArray[np.float64]:
    """-ln P of each selected token under the masked language model in `folder`, in order of chunks and positions."""
    import torch
    from torch.nn import functional as F
    from transformers import AutoModelForMaskedLM

    from ssl_models.encoders import vocabulary_logits
    from tasks.learning import embed

    with embed.quiet_transformers():
        model = AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    target = embed.device()
    model.to(target)
    nats: list[NDArray[np.float64]] = [np.empty(0)] * len(chunks)

    def forward(batch: list[int]) -> None:
        ids_BL, mask_BL = (tensor.to(target) for tensor in embed.pad([chunks[i].corrupted for i in batch], pad_id))
        selected_BL, _ = embed.pad([chunks[i].selected for i in batch], 0)
        wanted_N = torch.as_tensor(np.concatenate([chunks[i].ids[chunks[i].selected] for i in batch]), device=target)
        with torch.inference_mode():
            hidden_BLH = model.base_model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
            logits_NV = vocabulary_logits(model, hidden_BLH[selected_BL.bool().to(target)]).float()
            nats_N = F.cross_entropy(logits_NV, wanted_N, reduction="none").double().cpu().numpy()
        ends = np.cumsum([chunks[i].selected.sum() for i in batch])[:-1]
        for position, part in zip(batch, np.split(nats_N, ends), strict=True):
            nats[position] = part

    embed.run_batches(forward, embed.length_buckets([len(c.ids) for c in chunks]), "masked tokens", progress)
    return np.concatenate(nats)
