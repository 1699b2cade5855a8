"""What a run must know of its tokenizer: special ids, and which pieces continue a word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ssl_models.views.masking import Vocabulary

#: Where a causal checkpoint has no such token, the one that does its work there: GPT-2 has only <|endoftext|>.
_STAND_IN = {"pad": ("pad", "eos"), "unk": ("unk", "eos"), "cls": ("cls", "bos", "eos"), "sep": ("sep", "eos")}


def special_ids(folder: Path, tokenizer: Tokenizer, method: str = "mlm") -> tuple[dict[str, int], Vocabulary]:
    """Ids of pad, unk, cls, sep and mask, and which of all ids are special. ValueError when one is missing.

    For `method` clm no mask is needed, and a document may begin and end with the checkpoint's own begin and end.
    """
    config = json.loads((folder / "tokenizer_config.json").read_text())
    causal = method == "clm"
    found = {}
    for name in ("pad", "unk", "cls", "sep", "mask"):
        numbers = [_token_id(config, tokenizer, token) for token in (_STAND_IN.get(name, ()) if causal else (name,))]
        known = [number for number in numbers if number is not None]
        if known:
            found[name] = known[0]
        elif not (causal and name == "mask"):
            raise ValueError(f"{folder}: the tokenizer has no {name}_token")
    special = np.zeros(tokenizer.get_vocab_size(), bool)
    special[list(found.values())] = True
    for number, token in tokenizer.get_added_tokens_decoder().items():
        special[number] |= token.special
    return found, Vocabulary(found.get("mask", -1), special, _continues(tokenizer))


def _token_id(config: dict, tokenizer: Tokenizer, name: str) -> int | None:
    token = config.get(f"{name}_token")
    token = token["content"] if isinstance(token, dict) else token
    return tokenizer.token_to_id(token) if token else None


def _continues(tokenizer: Tokenizer) -> np.ndarray | None:
    """Which pieces continue a word: by ##, or by lacking the mark (U+2581, or GPT-2's U+0120) that begins one."""
    pieces = tokenizer.get_vocab()
    flags = np.zeros(tokenizer.get_vocab_size(), bool)
    if any(piece.startswith("##") for piece in pieces):
        continuing = [number for piece, number in pieces.items() if piece.startswith("##")]
    else:
        mark = next((mark for mark in "\u2581\u0120" if any(piece.startswith(mark) for piece in pieces)), None)
        if mark is None:
            return None
        continuing = [number for piece, number in pieces.items() if not piece.startswith(mark)]
    flags[continuing] = True
    return flags
