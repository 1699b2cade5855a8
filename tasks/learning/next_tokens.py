"""Next-token cross-entropy on held-out documents, beside n-gram models of the text that the model was given.

The model sees the tokens before a position in its row, the bigram one of them, the unigram none. All ordinary tokens
are asked; special ones never, as the n-gram models give them no mass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ssl_models.keys import stream
from tasks.errors import UserError
from tasks.learning import baselines
from tasks.learning.evaluate_config import NextTokens
from tasks.learning.intervals import Metric, measure
from tasks.learning.masked_tokens import Cutter, given_documents
from tasks.learning.progress import Progress
from tasks.learning.samples import groups_of, keyed_order, read_labels, read_samples


@dataclass(frozen=True)
class NextResult:
    metrics: list[Metric]
    details: dict[str, Any]
    samples: list[str]


def next_tokens(
    run_folder: Path, corpus: Path, config: NextTokens = NextTokens(), progress: Progress | None = None
) -> NextResult:
    """Measure ``RUN/encoder`` on the next tokens of `corpus`'s validation split.

    Metrics, in nats a token: ``eval/cross_entropy`` (the model), ``eval/{unigram,bigram,kneser_ney}_cross_entropy`` at
    the same positions, ``eval/cross_entropy_minus_{unigram,bigram}`` and ``eval/bigram_minus_cross_entropy`` (paired;
    above 0 the model is better). ``eval/bits_per_byte``: the model's bits for all tokens of the drawn documents by
    the UTF-8 bytes of the text that these tokens decode to. With a byte_bpe tokenizer that is the text itself; other
    kinds drop case and spacing, and their figure is of what they keep.
    """
    from tasks.learning import embed

    encoder = run_folder / "encoder"
    cutter = Cutter(encoder, embed.read_spec(run_folder).train.sequence_length, "clm")
    documents = given_documents(run_folder, corpus, cutter)
    special_V = cutter.vocabulary.special_V
    bigram = baselines.fit(documents, len(special_V), np.flatnonzero(special_V))

    rows, owners, drawn = draw(corpus, cutter, config)
    asked = [~special_V[ids[1:]] for ids in rows]
    if not any(mask.any() for mask in asked):
        raise UserError(
            "the validation split holds no token", where=str(corpus), hint="hold out more with split.validation"
        )
    left = np.concatenate([ids[:-1][mask] for ids, mask in zip(rows, asked, strict=True)])
    token = np.concatenate([ids[1:][mask] for ids, mask in zip(rows, asked, strict=True)])
    model = open_causal(encoder)
    model_N = model_nats(model, rows, asked, cutter.ids["pad"], progress)
    columns = baselines.side_by_side(model_N, bigram, left, token)
    document_groups = groups_of(drawn)
    groups = [document_groups[owner] for owner, mask in zip(owners, asked, strict=True) for _ in range(int(mask.sum()))]
    metrics = measure([f"eval/{name}" for name in columns], np.stack(list(columns.values()), axis=1), groups)
    decoded = [cutter.tokenizer.decode(ids.tolist(), skip_special_tokens=True) for ids in rows]
    size = sum(len(text.encode()) for text in decoded)
    metrics.append(Metric("eval/bits_per_byte", round(float(model_N.sum()) / math.log(2) / size, 4), n=size))
    samples = [generate(model, cutter, prompt, number, config) for number, prompt in enumerate(config.prompts)]
    details = {
        "positions": len(token),
        "documents": len(set(owners)),
        "bytes": size,
        "unknown_tokens": int((token == cutter.ids["unk"]).sum()),
        "baseline_documents": len(documents),
        "baseline_tokens": sum(map(len, documents)),
        "vocabulary": len(special_V),
        "samples": samples,
        "interval": "95 %, bootstrap over source files",
    }
    return NextResult(metrics, details, samples)


def draw(corpus: Path, cutter: Cutter, config: NextTokens) -> tuple[list[NDArray[np.int64]], list[int], pa.Table]:
    """Whole held-out documents in keyed order: their rows, which document each is of, and the documents."""
    keys = read_labels(corpus, "validation")["record_id"].to_pylist()
    order = [keys[i] for i in keyed_order(keys, "next-tokens", config.seed)[: config.documents]]
    samples = read_samples(corpus, "validation", set(order))
    place = {key: row for row, key in enumerate(samples["record_id"].to_pylist())}
    samples = samples.take([place[key] for key in order])
    rows: list[NDArray[np.int64]] = []
    owners: list[int] = []
    positions = 0
    for document, cut in enumerate(cutter(samples["text"].to_pylist())):
        if positions >= config.positions:
            break
        rows += cut
        owners += [document] * len(cut)
        positions += sum(len(ids) - 2 for ids in cut)
    return rows, owners, samples


def open_causal(folder: Path) -> Any:
    """The trained decoder with its head, in evaluation mode."""
    from transformers import AutoModelForCausalLM

    from tasks.learning import embed

    with embed.quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    return model.to(embed.device())


def model_nats(
    model: Any,
    rows: Sequence[NDArray[np.int64]],
    asked: Sequence[NDArray[np.bool_]],
    pad_id: int,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """-ln P of each asked token (``asked[i][t]``: of ids[t + 1]) under the model, in order of rows and positions."""
    import torch
    from torch.nn import functional as F

    from ssl_models.encoders import vocabulary_logits
    from tasks.learning import embed

    target = embed.device()
    found: list[NDArray[np.float64]] = [np.empty(0)] * len(rows)

    def forward(batch: list[int]) -> None:
        ids_BL, mask_BL = (tensor.to(target) for tensor in embed.pad([rows[i] for i in batch], pad_id))
        asked_BL, _ = embed.pad([np.append(asked[i], False) for i in batch], 0)
        wanted_N = torch.as_tensor(np.concatenate([rows[i][1:][asked[i]] for i in batch]), device=target)
        with torch.inference_mode():
            states = model.base_model(input_ids=ids_BL, attention_mask=mask_BL, use_cache=False).last_hidden_state
            logits_NV = vocabulary_logits(model, states[asked_BL.bool().to(target)]).float()
            nats_N = F.cross_entropy(logits_NV, wanted_N, reduction="none").double().cpu().numpy()
        for position, part in zip(
            batch, np.split(nats_N, np.cumsum([asked[i].sum() for i in batch])[:-1]), strict=True
        ):
            found[position] = part

    embed.run_batches(forward, embed.length_buckets([len(ids) for ids in rows]), "next tokens", progress)
    return np.concatenate(found)


def generate(model: Any, cutter: Cutter, prompt: str, number: int, config: NextTokens) -> str:
    """The prompt and what the model goes on with, until its end token or `sample_tokens`; keyed by (seed, number)."""
    import torch

    from tasks.learning import embed

    generator = torch.Generator().manual_seed(stream("sample", config.seed, number))
    encoded = cutter.tokenizer.encode(prompt, add_special_tokens=False).ids if prompt else []
    ids = [cutter.ids["cls"], *encoded][-(cutter.length - 1) :]
    with torch.inference_mode(), embed.one_thread_a_batch():
        for _ in range(config.sample_tokens):
            seen = torch.tensor([ids[-cutter.length :]], device=embed.device())
            scores_V = model(input_ids=seen, use_cache=False).logits[0, -1].double().cpu()
            if config.temperature:
                p_V = torch.softmax(scores_V / config.temperature, dim=-1)
                ids.append(int(torch.multinomial(p_V, 1, generator=generator)))
            else:
                ids.append(int(scores_V.argmax()))
            if ids[-1] == cutter.ids["sep"]:
                break
    return cutter.tokenizer.decode(ids, skip_special_tokens=True)
