"""The screen of the toxicity benchmark: made once, kept beside the model's scores, so that a stopped run goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.toxicity_data import Scores, text_key
from tasks.curation.toxicity_calibrate import calibrate
from tasks.curation.toxicity_screen import Screen, digest, open_screen

MISSED = 0.01  # of the toxic documents that were learned from


def pinned(
    place: Path,
    learn: list[str],
    teach: list[str],
    scores: Scores,
    thresholds: dict[str, float],
    clear: float,
) -> tuple[Screen, dict[str, Any]]:
    """The screen that learned from `learn`, and what it is said to do; taken from `place` when it is there.

    `teach`: those of `learn` that the figures and the threshold are not of; `clear`: of the harmless others, at most.
    """
    asked = [thresholds, clear, MISSED, sorted(map(text_key, learn)), sorted(map(text_key, teach))]
    folder = place / f"screen-{text_key(json.dumps(asked))[:12]}"
    if not (folder / "cost.json").exists():
        learn_NL, _ = scores.get(learn)
        started = time.process_time()
        calibrate(learn, learn_NL, thresholds, scores.model.digest, MISSED, folder, enough=clear, teach=teach)
        seconds = {"cpu_seconds": round(time.process_time() - started, 1), "texts_learned_from": len(learn)}
        (folder / "cost.json").write_text(json.dumps(seconds))
    screen = open_screen(folder, digest(folder))
    about = json.loads((folder / "screen.json").read_text())["calibration"]
    found = {**about, **json.loads((folder / "cost.json").read_text())}
    print(f"calibrated: {found}", flush=True)
    return screen, found


def screened(place: Path, screen: Screen, texts: list[str]) -> dict[str, float]:
    """The screen's score by text, kept in `place`."""
    path = place / f"screened-{screen.sha256[:12]}-{len(texts)}.npy"
    if not path.exists():
        np.save(path, screen.score_texts(texts))
    return dict(zip(texts, np.load(path).tolist(), strict=True))
