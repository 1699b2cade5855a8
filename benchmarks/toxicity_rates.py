"""What a character costs Detoxify, the batched scorer and the screen: CPU seconds, turn about, one thread each.

Other programs on a machine slow one down by half from one minute to the next. So all three are timed in rounds, one
after the other, on texts of the corpus, and what a corpus costs is the characters that each has to read, times this.
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
    folder: Path, model: Toxicity, texts: Sequence[str], count: int, screen: Screen | None = None, rounds: int = 3
) -> tuple[dict[str, Any], Rates]:
    """Detoxify on `count` of `texts` (drawn by hash), the scorer, which is meant for many at once, on six times as
    many, the screen on as many again, in `rounds`. What is said of the scorer alone, and the rates."""
    peer = Peer(folder)
    drawn = sorted(texts, key=lambda text: text_key("peer " + text))[: 6 * count]
    seconds: Rates = {"detoxify": 0.0, "gristmill": 0.0, "screen": 0.0}
    chars = dict.fromkeys(seconds, 0)
    deltas_N: list[float] = []
    longer = 0

    def timed(name: str, work: Callable[[Sequence[str]], np.ndarray], part: Sequence[str]) -> np.ndarray:
        started = time.process_time()
        found = work(part)
        seconds[name] += time.process_time() - started
        chars[name] += sum(map(len, part))
        return found

    for number in range(rounds):
        part = drawn[number::rounds]
        few = part[: count // rounds]
        theirs_NL = timed("detoxify", peer.predict, few)
        ours_NL = timed("gristmill", lambda some: model.score_texts(some, workers=1), part)
        if screen is not None:
            timed("screen", screen.score_texts, part)
        whole_N = np.array([len(ids) <= 512 for ids in peer.model.tokenizer(few)["input_ids"]])
        deltas_N += np.abs(theirs_NL - ours_NL[: len(few)]).max(axis=1)[whole_N].tolist()
        longer += int((~whole_N).sum())
    cost = {name: seconds[name] / chars[name] for name in seconds if chars[name]}
    result = {
        "documents": {"detoxify": rounds * (count // rounds), "gristmill": len(drawn)},
        "longer_than_the_model": longer,
        "characters_a_cpu_second": {name: round(1 / value) for name, value in cost.items()},
        "ratio": round(cost["detoxify"] / cost["gristmill"], 2),
        "bar": 2.0,
        "largest_difference_of_a_score": round(max(deltas_N), 5),
        "largest_difference_allowed": 0.01,
        "note": "longer documents: Detoxify reads 512 tokens of them, ours all, in windows; their scores may differ",
    }
    return result, cost
