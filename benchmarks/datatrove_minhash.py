"""datatrove's four MinHash stages over JSON lines, on one process; runs in an interpreter that has datatrove.

    PEER/bin/python benchmarks/datatrove_minhash.py INPUT_FOLDER WORK_FOLDER      # prints CPU seconds and counts

Its default of 14 buckets of 8 hashes, word 5-grams; sha1 with 64 bits, because version 0.10.1 passes text to xxhash,
which takes bytes only.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path


def main(given: str, work: str) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import TextNormConfig
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1", precision=64), norm_config=TextNormConfig())
    load_word_tokenizer("en").word_tokenize("warm up")
    seconds = {}
    stages = {
        "signatures": lambda: [
            JsonlReader(given),
            MinhashDedupSignature(output_folder=f"{work}/signatures", config=config, language="en"),
        ],
        "buckets": lambda: [MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)],
        "clusters": lambda: [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config)],
        "filter": lambda: [JsonlReader(given), MinhashDedupFilter(f"{work}/remove"), JsonlWriter(f"{work}/kept")],
    }
    for name, make in stages.items():
        started = time.process_time()
        tasks = config.num_buckets if name == "buckets" else 1
        executor = LocalPipelineExecutor(
            pipeline=make(), tasks=tasks, workers=1, logging_dir=f"{work}/logs/{name}", skip_completed=False
        )
        executor.run()
        seconds[name] = round(time.process_time() - started, 3)
    kept = sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in Path(work, "kept").glob("*.gz"))
    json.dump({"cpu_seconds": seconds, "kept": kept}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
