"""Which of N captions belongs to a picture, told by a run on pairs that was never shown the picture's label.

Pictures with captions that training saw (other pictures of it: another font, another photograph) are asked apart from
pictures with captions that it never saw, though each of their words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_models.images import decode, stack
from ssl_models.keys import sample_words
from ssl_models.pair_config import PairEncoder
from ssl_models.pair_encoders import image_embeddings, open_pair_encoder, text_embeddings, token_ids
from ssl_models.views.augment import normalise, plain
from ssl_models.vocabulary import special_ids
from tasks.errors import UserError
from tasks.learning import embed
from tasks.learning.evaluate_config import ZeroShot
from tasks.learning.intervals import Metric, measure
from tasks.learning.probe import ProbeResult
from tasks.learning.progress import Progress
from tasks.learning.samples import Pair, keyed_order, read_pairs

_BATCH = 256


@dataclass(frozen=True)
class _Asked:
    """One way to ask: its metrics' prefix, the pictures, and each picture's share of right answers over the draws."""

    name: str
    pairs: list[Pair]
    right_N: NDArray[np.float64]
    candidates: int


def zero_shot(
    run_folder: Path, corpus: Path, config: ZeroShot = ZeroShot(), progress: Progress | None = None
) -> ProbeResult:
    """Ask ``RUN/encoder`` for the captions of `corpus`'s validation pictures.

    Metrics, each with a 95 % interval by bootstrap over captions: ``eval/zero_shot_top1`` (captions seen in training)
    and ``eval/zero_shot_unseen_top1`` (captions not seen, of words that were), as far as there are two such captions;
    ``..._chance`` is one over the number of candidates and ``..._minus_chance`` the difference. A draw asks for the
    pictures of `names` captions drawn by keyed hash, which are the candidates; an accuracy is the mean over pictures of
    the mean over the draws that asked for them. UserError when there is nothing to ask.
    """
    spec = embed.read_spec(run_folder)
    assert isinstance(spec.encoder, PairEncoder)
    pairs = read_pairs(corpus, "validation")
    seen = {pair.caption for pair in read_pairs(corpus, "train", images=False)}
    words = {word for caption in seen for word in caption.split()}
    parts = {
        "zero_shot": [pair for pair in pairs if pair.caption in seen],
        "zero_shot_unseen": [
            pair for pair in pairs if pair.caption and pair.caption not in seen and set(pair.caption.split()) <= words
        ],
    }
    parts = {name: part for name, part in parts.items() if len({pair.caption for pair in part}) > 1}
    if not parts:
        raise UserError(
            "the validation split has no two captions to choose from, of words that the train split has",
            where=str(corpus),
            hint="see split.validation in the recipe, or take zero-shot out of `evaluate`",
        )
    model = open_pair_encoder(run_folder / "encoder")
    asked: list[_Asked] = []
    features: list[NDArray[np.float32]] = []
    for number, (name, part) in enumerate(parts.items()):
        images_ND = _images(model, spec.encoder, part)
        right_N, candidates = _ask(images_ND, part, _captions(model, run_folder, spec.encoder, part), config)
        told = ~np.isnan(right_N)
        asked.append(
            _Asked(name, [pair for pair, one in zip(part, told, strict=True) if one], right_N[told], candidates)
        )
        features.append(images_ND[told])
        if progress:
            progress("zero-shot", number + 1, len(parts))
    metrics: list[Metric] = []
    details: dict[str, Any] = {"draws": config.draws, "interval": "95 %, bootstrap over captions"}
    for one in asked:
        metrics += _metrics(one, config.draws)
        details[one.name] = {
            "pictures": len(one.pairs),
            "captions": len({pair.caption for pair in one.pairs}),
            "candidates": one.candidates,
            "groups": sorted({pair.group for pair in one.pairs if pair.group})[:50],
        }
    return ProbeResult(metrics, details, features[0], [pair.label for pair in asked[0].pairs])


def _images(model: Any, encoder: PairEncoder, pairs: Sequence[Pair]) -> NDArray[np.float32]:
    """Unit embeddings [N, D] of the pictures, as they are: no views."""
    found = []
    with torch.inference_mode(), embed.one_thread_a_batch():
        for begin in range(0, len(pairs), _BATCH):
            decoded = [decode(pair.image, encoder.channels) for pair in pairs[begin : begin + _BATCH]]
            pixels = normalise(plain(stack(decoded, encoder.image_size), encoder.image_size))
            found.append(torch.nn.functional.normalize(image_embeddings(model, pixels), dim=1))
    return torch.cat(found).float().numpy()


def _captions(model: Any, run_folder: Path, encoder: PairEncoder, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Unit embedding [D] of each caption."""
    from tokenizers import Tokenizer

    folder = run_folder / "encoder"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special, _ = special_ids(folder, tokenizer)
    captions = sorted({pair.caption for pair in pairs})
    found = []
    with torch.inference_mode(), embed.one_thread_a_batch():
        for begin in range(0, len(captions), _BATCH):
            ids = token_ids(tokenizer, captions[begin : begin + _BATCH], special, encoder.maximum_tokens)
            found.append(torch.nn.functional.normalize(text_embeddings(model, ids), dim=1))
    return dict(zip(captions, torch.cat(found).float().numpy(), strict=True))


def _ask(
    images_ND: NDArray[np.float32], pairs: Sequence[Pair], texts: dict[str, Any], config: ZeroShot
) -> tuple[NDArray[np.float64], int]:
    """Each picture's share of right answers over the draws that asked for it (NaN: none did); candidates a draw."""
    captions = sorted(texts)
    number_N = np.array([captions.index(pair.caption) for pair in pairs])
    text_MD = np.stack([texts[caption] for caption in captions])
    right_N, draws_N = np.zeros(len(pairs)), np.zeros(len(pairs))
    candidates = min(config.names, len(captions))
    similarity_NM = images_ND @ text_MD.T
    for draw in range(config.draws):
        chosen = np.array(sorted(keyed_order(captions, f"zero-shot-{draw}", config.seed)[:candidates]))
        rows = np.flatnonzero(np.isin(number_N, chosen))
        best = chosen[similarity_NM[np.ix_(rows, chosen)].argmax(1)]
        right_N[rows] += best == number_N[rows]
        draws_N[rows] += 1
    with np.errstate(invalid="ignore"):
        return right_N / draws_N, candidates


def _metrics(asked: _Asked, draws: int) -> list[Metric]:
    chance = 1 / asked.candidates
    columns = np.stack([asked.right_N, asked.right_N - chance], 1)
    names = [f"eval/{asked.name}_top1", f"eval/{asked.name}_minus_chance"]
    found = measure(names, columns, [f"{word}" for word in sample_words([pair.caption for pair in asked.pairs])], draws)
    return [*found, Metric(f"eval/{asked.name}_chance", round(chance, 4), n=len(asked.pairs))]
