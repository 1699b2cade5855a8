"""What a changed threshold costs: curate, change the policy, curate again; CPU seconds of each, in one process.

    python -m benchmarks.redecide --documents 20000        # writes benchmarks/results/redecide.json

Full: ingestion, licences, languages, quality, personal data, duplicates, verdicts and the ledger rows; toxicity, whose
model would only make the full time longer, is left out. Again: the same with another threshold; what does not depend on
it is found and not made.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.chain import chain, curated
from benchmarks.machine import write
from benchmarks.texts import made_texts, real_texts
from benchmarks.texts import write as write_texts

BARS = {"a changed threshold, share of the full time": "<= 0.10"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    asked = parser.parse_args()
    from data_policies.load import load_policy
    from data_policies.schema import Bounds, Duplicates
    from tasks.curation.assemble import assemble
    from tasks.curation.sources import Files
    from tasks.home import Home

    policy = dataclasses.replace(load_policy("open-definition"), toxicity=None)
    basic = policy.quality["basic"]
    policies = {
        "full": policy,
        "duplicates.threshold 0.8 -> 0.9": dataclasses.replace(policy, duplicates=Duplicates(threshold=0.9)),
        "quality.basic.words 5 -> 40": dataclasses.replace(
            policy, quality={**policy.quality, "basic": {**basic, "words": Bounds(min=40)}}
        ),
    }
    with tempfile.TemporaryDirectory() as place:
        home = Home.at(Path(place) / "home")
        path = Path(place) / "texts.parquet"
        write_texts(path, made_texts(asked.documents, real_texts(20_000)))
        sources = [Files(name="made", path=str(path))]
        write_texts(Path(place) / "warm.parquet", made_texts(50, real_texts(100)))
        warm = Home.at(Path(place) / "warm")
        chain(warm, [Files(name="made", path=str(Path(place) / "warm.parquet"))], policy)
        spent: dict[str, Any] = {}
        for name, each in policies.items():
            started = time.process_time()
            stages = chain(home, sources, each)
            assemble(curated(home, stages), each)
            spent[name] = {
                "cpu_seconds": round(time.process_time() - started, 2),
                "made": [stage for stage in stages if not stages[stage].reused],
            }
    full = spent["full"]["cpu_seconds"]
    for name in list(spent)[1:]:
        spent[name]["share"] = round(spent[name]["cpu_seconds"] / full, 4)
    figures = {"documents": asked.documents, "runs": spent}
    write("redecide", {**figures, "bars": BARS})
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
