"""Frozen features of texts: means of an encoder's hidden states over each text's tokens."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_models.config import TextEncoder, TrainSpec
from tasks.errors import UserError
from tasks.learning.progress import Progress

TOKENS_PER_BATCH = 2048
LENGTH_STEP = 8  # batches are padded to a multiple of it, so that few shapes occur


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No loading bars and no report on heads that a frozen encoder has no use for."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


@contextmanager
def one_thread_a_batch() -> Iterator[None]:
    """Batches run side by side, each on one thread: then no figure depends on how many threads there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def open_encoder(folder: Path) -> torch.nn.Module:
    """The trained encoder of ``runs/RUN_ID/encoder``, in evaluation mode; no remote code runs."""
    from transformers import AutoModel

    with quiet_transformers():
        return AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()


def random_encoder(run_folder: Path, seed: int) -> torch.nn.Module:
    """The encoder that the run would have begun with under `seed`: same shape, same initialisation, no training.

    For a run that continued a checkpoint: its config with fresh weights. The global generator stays as it was.
    """
    from transformers import AutoConfig, AutoModel

    from ssl_models.encoders import build_encoder

    folder = run_folder / "encoder"
    wanted = read_spec(run_folder).encoder
    assert isinstance(wanted, TextEncoder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        if wanted.continue_from:
            torch.manual_seed(seed)
            return AutoModel.from_config(config).eval()
        tokenizer = open_tokenizer(folder)
        special = {"pad": tokenizer.pad_token_id, "cls": tokenizer.cls_token_id, "sep": tokenizer.sep_token_id}
        model: Any = build_encoder(
            wanted,
            vocabulary=config.vocab_size,
            special=special,
            seed=seed,
            method=read_spec(run_folder).objective.method,
        )
        return model.base_model.eval()


def read_spec(run_folder: Path) -> TrainSpec:
    """What the run was told; UserError when the folder is no run."""
    path = run_folder / "SPEC.json"
    try:
        return TrainSpec.read(path)
    except (OSError, ValueError) as error:
        raise UserError(
            "this is no finished run", where=str(run_folder), hint="see them with `gristmill ls`"
        ) from error


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer of ``runs/RUN_ID/encoder``."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def trained_in_bfloat16(run_folder: Path) -> bool:
    """Whether the run multiplied in bfloat16: then its features are made so too, in half the time."""
    try:
        return json.loads((run_folder / "run.json").read_text()).get("precision") == "bfloat16"
    except OSError:
        return False


def token_limit(encoder: torch.nn.Module, tokenizer: Any, wanted: int) -> int:
    """`wanted`, or fewer if the encoder cannot take so many tokens."""
    limits = (tokenizer.model_max_length, getattr(encoder.config, "max_position_embeddings", None))
    return min([wanted, *(limit for limit in limits if limit)])


def tokenize(tokenizer: Any, texts: Sequence[str], maximum_tokens: int) -> list[list[int]]:
    """Token ids of each text, specials included, cut after `maximum_tokens`."""
    return tokenizer(list(texts), truncation=True, max_length=maximum_tokens, return_attention_mask=False)["input_ids"]


def length_buckets(lengths: Sequence[int], tokens: int = TOKENS_PER_BATCH) -> list[list[int]]:
    """Positions in batches of similar length, shortest first, each of at most `tokens` after padding (or one text)."""
    batches: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        width = -(-lengths[position] // LENGTH_STEP) * LENGTH_STEP
        if not batches or (len(batches[-1]) + 1) * width > tokens:
            batches.append([])
        batches[-1].append(position)
    return batches


def pad(rows: Sequence[Any], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (B, L), int64, L a multiple of LENGTH_STEP."""
    width = -(-max(len(row) for row in rows) // LENGTH_STEP) * LENGTH_STEP
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.as_tensor(row)
        mask[index, : len(row)] = 1
    return ids, mask


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_batches(
    forward: Callable[[list[int]], None], batches: Sequence[list[int]], what: str, progress: Progress | None
) -> None:
    """Call `forward` once a batch: side by side on the processor's cores, one by one on a GPU."""
    workers = 1 if device().type == "cuda" else os.cpu_count() or 1
    total, done = sum(map(len, batches)), 0
    with one_thread_a_batch(), ThreadPoolExecutor(workers) as pool:
        for batch, _ in zip(batches, pool.map(forward, batches), strict=True):
            done += len(batch)
            if progress:
                progress(what, done, total)


def embed(
    encoder: torch.nn.Module,
    rows: Sequence[list[int]],
    pad_id: int,
    what: str = "embedding",
    progress: Progress | None = None,
    bfloat16: bool = False,
) -> NDArray[np.float32]:
    """Features (N, S, D) of N rows: each of S hidden states averaged over the row's tokens, specials included.

    The states are those of `spread`: the first is the embedding layer's, the last one ``last_hidden_state``. With
    `bfloat16` matrices are multiplied in that type, and averaged in float32.
    """
    target = device()
    encoder = encoder.to(target)
    features: list[NDArray[np.float32] | None] = [None] * len(rows)

    def forward(batch: list[int]) -> None:
        ids_BL, mask_BL = (tensor.to(target) for tensor in pad([rows[i] for i in batch], pad_id))
        with torch.inference_mode(), torch.autocast(target.type, torch.bfloat16, enabled=bfloat16):
            found = encoder(input_ids=ids_BL, attention_mask=mask_BL, output_hidden_states=True)
            weight_BL1 = mask_BL.unsqueeze(-1)
            states = [found.hidden_states[i] for i in spread(len(found.hidden_states))]
            mean_BSD = torch.stack([(h.float() * weight_BL1).sum(1) / weight_BL1.sum(1) for h in states], dim=1)
        for position, vector in zip(batch, mean_BSD.cpu().numpy(), strict=True):
            features[position] = vector

    run_batches(forward, length_buckets([len(row) for row in rows]), what, progress)
    return np.stack([vector for vector in features if vector is not None])


def spread(states: int, most: int = 5) -> list[int]:
    """At most `most` of the hidden states 0..states-1, evenly spread, the first and the last among them."""
    if states <= most:
        return list(range(states))
    return [round(i * (states - 1) / (most - 1)) for i in range(most)]
