"""Opening a toxicity model: no pickles, no network, and nothing of it left to chance.

Detoxify's `get_model_and_tokenizer` builds model and tokenizer. What it cannot do is done around it: its
`load_checkpoint` unpickles whatever the file says, and a tensor that is missing from a checkpoint is drawn at random.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.curation.toxicity_models import ModelFiles
from tasks.errors import UserError

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

#: As Detoxify standardises the classes of its models (`detoxify.load_checkpoint`).
RENAMED = {"toxic": "toxicity", "identity_hate": "identity_attack", "severe_toxic": "severe_toxicity"}

OVERLAP = 8  # a window shares one OVERLAP-th of its tokens with the one before it


@dataclass(frozen=True)
class OpenModel:
    """A model ready to score: `classes[i]` names logit i; `tokenizer` cuts at `max_tokens`, special ones included."""

    model: torch.nn.Module
    tokenizer: Tokenizer
    classes: tuple[str, ...]
    max_tokens: int
    pad_id: int
    hidden_size: int


def open_model(files: ModelFiles) -> OpenModel:
    """Check the digests, read the weights without unpickling code, build the model with Detoxify's own function.

    UserError when a digest differs, the file holds more than tensors and plain values, or is not what config.json says.
    """
    from tasks.curation.toxicity_last_layer import first_token_only

    files.check()
    if files.weights.suffix == ".safetensors":
        arch, classes, state = _read_safetensors(files)
    else:
        arch, classes, state = _read_checkpoint(files)
    model, tokenizer = _build(files, arch, state)
    limit = min(tokenizer.model_max_length, _positions(model.config))
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    # Detoxify truncates here; what lies beyond comes as further windows of the same encoding.
    overlap = (limit - 2) // OVERLAP
    backend.enable_truncation(max_length=limit, stride=overlap, strategy="longest_first", direction="right")
    return OpenModel(first_token_only(model), backend, classes, limit, tokenizer.pad_token_id, model.config.hidden_size)


def _read_safetensors(files: ModelFiles) -> tuple[dict[str, Any], tuple[str, ...], dict[str, torch.Tensor]]:
    """The stand-in: fp16 on disk, fp32 in memory; classes and architecture from its config.json."""
    from safetensors.torch import load_file
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(files.config, local_files_only=True)
    state = {name: tensor.float() for name, tensor in load_file(files.weights).items()}
    classes = tuple(config.id2label[index] for index in range(config.num_labels))
    arch = {"model_name": config.architectures[0], "tokenizer_name": "BertTokenizer", "num_classes": len(classes)}
    return arch, classes, state


def _read_checkpoint(files: ModelFiles) -> tuple[dict[str, Any], tuple[str, ...], dict[str, torch.Tensor]]:
    """A checkpoint as Detoxify writes it: ``{"config": {"arch": {"args"}, "dataset": {"args"}}, "state_dict"}``."""
    import torch

    where = str(files.weights)
    try:
        with warnings.catch_warnings(action="ignore"):  # about the pickle protocol of a file that is refused below
            loaded = torch.load(files.weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(
            f"the checkpoint holds more than tensors and plain values, or is damaged ({type(error).__name__}): "
            "it was not opened",
            where=where,
            hint="it must open under torch.load(weights_only=True)",
        ) from None
    try:
        arch = dict(loaded["config"]["arch"]["args"])
        classes = tuple(RENAMED.get(name, name) for name in loaded["config"]["dataset"]["args"]["classes"])
        state = dict(loaded["state_dict"])
        wanted = {key: arch[key] for key in ("model_name", "tokenizer_name", "num_classes")}
    except (KeyError, TypeError, ValueError, IndexError):
        raise UserError(
            "not a checkpoint of Detoxify's", where=where, hint="it needs config.arch, config.dataset and state_dict"
        ) from None
    # The two names are looked up in `transformers` and called: only a classifier and a tokenizer may be.
    if not re.fullmatch(r"[A-Za-z0-9]+ForSequenceClassification", str(wanted["model_name"])) or not re.fullmatch(
        r"[A-Za-z0-9]+Tokenizer(Fast)?", str(wanted["tokenizer_name"])
    ):
        raise UserError("the checkpoint names no sequence classifier and tokenizer of transformers", where=where)
    return wanted, classes, {name: tensor.float() for name, tensor in state.items() if torch.is_tensor(tensor)}


def _build(files: ModelFiles, arch: dict[str, Any], state: dict[str, torch.Tensor]) -> tuple[Any, Any]:
    import torch
    from detoxify.detoxify import get_model_and_tokenizer

    # `model_type` is a hub name in published checkpoints and a relative folder in others: always our own folder.
    with _no_progress_bar():
        try:
            model, tokenizer = get_model_and_tokenizer(model_type=str(files.config), state_dict=dict(state), **arch)
        except (OSError, RuntimeError, ValueError, AttributeError, TypeError, KeyError) as error:
            raise UserError(
                f"the checkpoint does not fit its configuration ({type(error).__name__})",
                where=str(files.weights),
                hint=f"look at {files.config / 'config.json'} and at the checkpoint's config.arch",
            ) from error
    model = model.float().eval()
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"the tensor {name!r} holds no finite numbers", where=str(files.weights))
        if name not in state or not torch.equal(tensor, state[name]):
            raise UserError(
                f"the checkpoint lacks the tensor {name!r}", where=str(files.weights), hint="it would be random numbers"
            )
    if not hasattr(tokenizer, "backend_tokenizer") or tokenizer.pad_token_id is None:
        raise UserError("the toxicity model's tokenizer has no tokenizer.json", where=str(files.config))
    return model, tokenizer


def _positions(config: Any) -> int:
    """Tokens that the position embedding can count; RoBERTa's positions begin after the padding's."""
    positions = int(config.max_position_embeddings)
    return positions - config.pad_token_id - 1 if "roberta" in config.model_type else positions


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """transformers draws a bar for every load: Gristmill's own progress is the only one on the screen."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
