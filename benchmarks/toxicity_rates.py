"""What a character costs Detoxify, the batched scorer and the screen: CPU seconds, turn about, one thread each.

Other programs on a machine slow one down by half from one minute to the next. So all three are timed in turn,
on texts of the corpus, and what a corpus costs is the characters that each has to read, times this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.toxicity_data import Peer, text_key
from tasks.curation.toxicity import Toxicity
from tasks.curation.toxicity_screen import Screen

Rates = dict[str, float]  # CPU seconds a character: detoxify, gristmill, screen


def rates(
    folder: Path, model: Toxicity, texts: Sequence[str], count: int, screen: Screen | None = None
) -> tuple[dict[str, Any], Rates]:
    """Detoxify on `count` of `texts` (drawn by hash), half of them before and half after the scorer, which is meant for
    many at once, and the screen, on six times as many. What is said of the scorer alone, and the rates."""
    peer = Peer(folder)
    drawn = sorted(texts, key=lambda text: text_key("peer " + text))[: 6 * count]
    few, half = drawn[:count], count // 2
    cost: Rates = {}

    def timed(work: Callable[[Sequence[str]], np.ndarray], part: Sequence[str]) -> tuple[np.ndarray, float]:
        started = time.process_time()
        return work(part), time.process_time() - started

    one, before = timed(peer.predict, few[:half])
    ours_NL, own = timed(lambda some: model.score_texts(some, workers=1), drawn)
    if screen is not None:
        cost["screen"] = timed(screen.score_texts, drawn)[1] / sum(map(len, drawn))
    two, after = timed(peer.predict, few[half:])
    cost |= {"detoxify": (before + after) / sum(map(len, few)), "gristmill": own / sum(map(len, drawn))}
    whole_N = np.array([len(ids) for ids in peer.model.tokenizer(few)["input_ids"]]) <= 512
    delta_N = np.abs(ours_NL[:count] - np.concatenate([one, two])).max(axis=1)
    result = {
        "documents": {"detoxify": len(few), "gristmill": len(drawn)},
        "longer_than_the_model": int((~whole_N).sum()),
        "characters_a_cpu_second": {name: round(1 / value) for name, value in cost.items()},
        "ratio": round(cost["detoxify"] / cost["gristmill"], 2),
        "bar": 2.0,
        "largest_difference_of_a_score": round(float(delta_N[whole_N].max()), 5),
        "largest_difference_allowed": 0.01,
        "note": "longer documents: Detoxify reads 512 tokens of them, ours all, in windows; their scores may differ",
    }
    return result, cost
