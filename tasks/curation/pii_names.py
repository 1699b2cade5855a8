"""Names of persons and street addresses, by a token-classification model that the policy names. Optional.

The model is a folder in the transformers format: config.json, tokenizer.json, model.safetensors (no pickles, no code).
Long texts are read in overlapping windows; each token counts as the window says in which it stands further from the
edge. A finding is widened to whole words. Windows have one shape and probabilities are rounded, so that the findings
do not depend on which texts are scored together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.errors import UserError
from tasks.stages import sha256_file, sha256_json

if TYPE_CHECKING:
    import numpy as np

    from data_policies.schema import Ner

NEEDED = ("config.json", "tokenizer.json", "model.safetensors")
OPTIONAL = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
TOKENS = 256  # of a window, the special ones included; less where the model takes less
STRIDE = 64  # tokens that two windows share
ROWS = 8  # windows a forward pass


class Named(NamedTuple):
    """A finding: its type, code points [start, end), and the value in one spelling."""

    type: str
    start: int
    end: int
    value: str


class Names:
    """The model, opened when it is first asked. Safe to share between threads, and to pickle (it is opened anew)."""

    def __init__(self, folder: Path, labels: Mapping[str, str], minimum_score: float, sha256: dict[str, str]) -> None:
        self._folder, self._labels, self._minimum, self._sha256 = folder, dict(labels), minimum_score, sha256

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the digests of the model's files."""
        return sha256_json(self._sha256)

    def config(self) -> dict[str, Any]:
        """All that a finding depends on: names of folders do not count."""
        import transformers

        return {
            "model": self.digest,
            "labels": self._labels,
            "minimum_score": self._minimum,
            "windows": [TOKENS, STRIDE, ROWS],
            "transformers": transformers.__version__,
        }

    def find(self, texts: Sequence[str | None]) -> list[list[Named]]:
        """The findings of each text, sorted, not overlapping; none for a null."""
        opened = _opened(self._folder, self._sha256)
        types = _types(opened.labels, self._labels)
        found: list[list[Named]] = [[] for _ in texts]
        filled = [(row, text) for row, text in enumerate(texts) if text]
        for (row, text), tokens in zip(filled, opened.tokens([text for _, text in filled]), strict=True):
            found[row] = list(_spans(text, tokens, types, self._minimum))
        return found


def open_names(ner: Ner | None) -> Names | None:
    """The model of a policy, checked and not yet opened; None when the policy names none.

    UserError when the folder or one of its files is missing, when its digest is another than the policy's, or when it
    has none of the labels: a corpus that was to be searched for names is not made without the search.
    """
    if ner is None:
        return None
    folder = Path(ner.model)
    for name in NEEDED:
        if not (folder / name).is_file():
            raise UserError(
                f"the model that finds names has no {name}",
                where=str(folder),
                hint="name a folder with config.json, tokenizer.json and model.safetensors, or remove `ner`",
            )
    present = [name for name in (*NEEDED, *OPTIONAL) if (folder / name).is_file()]
    names = Names(folder, ner.labels, ner.minimum_score, {name: sha256_file(folder / name) for name in present})
    if ner.sha256 and names.digest != ner.sha256:
        raise UserError(
            f"the SHA-256 of the model that finds names is {names.digest}, not {ner.sha256}: it was not opened",
            where=str(folder),
            hint="get the model again, or put its new digest into the policy",
        )
    _types(_labels_of(folder), ner.labels)
    return names


def _labels_of(folder: Path) -> list[str]:
    import json

    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            "config.json names no labels (id2label)", where=str(folder), hint="use a model for token classification"
        ) from None


def _types(labels: Sequence[str], wanted: Mapping[str, str]) -> list[str]:
    """The type of personal data of each label, "" for those that are none; UserError when all are."""
    types = [wanted.get(label.removeprefix("B-").removeprefix("I-"), "") for label in labels]
    if not any(types):
        raise UserError(
            f"the model that finds names has none of the labels {', '.join(sorted(wanted))}",
            where="ner.labels",
            hint=f"its labels: {', '.join(sorted(labels))}",
        )
    return types


class _Token(NamedTuple):
    start: int
    end: int
    label: int
    begins: bool
    score: float


class _Opened:
    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        self.labels = _labels_of(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._model = AutoModelForTokenClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        ).eval()
        most = getattr(self._model.config, "max_position_embeddings", TOKENS)
        self._length = min(TOKENS, most if isinstance(most, int) and most > 0 else TOKENS)
        self._lock = threading.Lock()  # a fast tokenizer's truncation is a setting that threads would share

    def tokens(self, texts: Sequence[str]) -> Iterator[list[_Token]]:
        """The tokens of each text with their most probable label."""
        for text in texts:
            with self._lock:
                encoded = self._tokenizer(
                    text, truncation=True, max_length=self._length, stride=min(STRIDE, self._length // 4),
                    padding="max_length", return_overflowing_tokens=True, return_offsets_mapping=True,
                    return_special_tokens_mask=True, return_tensors="np",
                )  # fmt: skip
            probability_WTC = self._probabilities(encoded["input_ids"], encoded["attention_mask"])
            yield self._decoded(encoded, probability_WTC)

    def _probabilities(self, ids_WT: np.ndarray, mask_WT: np.ndarray) -> np.ndarray:
        import numpy as np
        import torch

        parts = []
        for first in range(0, len(ids_WT), ROWS):
            missing = max(0, first + ROWS - len(ids_WT))
            ids, mask = (np.pad(array[first : first + ROWS], ((0, missing), (0, 0))) for array in (ids_WT, mask_WT))
            mask[ROWS - missing :, 0] = 1  # a row of padding attends to something
            with torch.inference_mode():
                logits = self._model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits
                parts.append(torch.softmax(logits.float(), -1).numpy()[: ROWS - missing])
        return np.round(np.concatenate(parts), 4)

    def _decoded(self, encoded: Any, probability_WTC: np.ndarray) -> list[_Token]:
        best: dict[tuple[int, int], tuple[int, _Token]] = {}
        for window, probability_TC in enumerate(probability_WTC):
            inside = [i for i, special in enumerate(encoded["special_tokens_mask"][window]) if not special]
            for number, index in enumerate(inside):
                start, end = map(int, encoded["offset_mapping"][window][index])
                label = int(probability_TC[index].argmax())
                token = _Token(
                    start, end, label, self.labels[label].startswith("B-"), float(probability_TC[index][label])
                )
                depth = min(number, len(inside) - 1 - number)  # from the window's edge
                if end > start and ((start, end) not in best or depth > best[start, end][0]):
                    best[start, end] = (depth, token)
        return [token for _, (_, token) in sorted(best.items())]


def _spans(text: str, tokens: Sequence[_Token], types: Sequence[str], minimum: float) -> Iterator[Named]:
    """Runs of tokens of one type, as whole words; a blank or a hyphen may stand between, B- starts a new run."""
    runs: list[tuple[str, int, int]] = []
    for token in tokens:
        kind = types[token.label] if token.score >= minimum else ""
        if not kind:
            continue
        start, end = token.start, token.end
        while start > 0 and text[start - 1].isalnum() and text[start].isalnum():
            start -= 1
        while end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
            end += 1
        joins = runs and runs[-1][0] == kind and not text[runs[-1][2] : start].strip(" \t\n,.-'’")
        same_word = runs and start < runs[-1][2]
        if same_word or (joins and not token.begins):
            runs[-1] = (runs[-1][0], runs[-1][1], max(end, runs[-1][2]))
        else:
            runs.append((kind, start, end))
    for kind, start, end in runs:
        yield Named(kind, start, end, " ".join(text[start:end].casefold().split()))


_opening = threading.Lock()
_open_models: dict[str, _Opened] = {}  # the last one, by digest: a worker of a cluster opens it itself


def _opened(folder: Path, sha256: dict[str, str]) -> _Opened:
    digest = sha256_json(sha256)
    with _opening:
        if digest not in _open_models:
            for name, expected in sha256.items():
                if sha256_file(folder / name) != expected:
                    raise RuntimeError("a file of the model that finds names has changed since it was checked")
            opened = _Opened(folder)
            _open_models.clear()
            _open_models[digest] = opened
        return _open_models[digest]
