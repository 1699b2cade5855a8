"""Utterances as shards of FLAC with transcripts."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
import webdataset as wds

from ssl_models.reader import INDEX, SHARDS, scan_tar

RATE = 16_000


def flac(samples: np.ndarray) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def write_clips(folder: Path, clips: list[np.ndarray], texts: list[str], each: int = 8) -> Path:
    """A corpus of one split, `each` clips a shard, keyed by their number."""
    (folder / SHARDS).mkdir(parents=True)
    (folder / INDEX).mkdir()
    for shard, first in enumerate(range(0, len(clips), each)):
        path = folder / SHARDS / f"train-{shard:06d}.tar"
        with open(path, "wb") as file, wds.TarWriter(file, mtime=0) as tar:
            for n in range(first, min(first + each, len(clips))):
                facts = json.dumps({"id": str(n), "label": "", "group": ""}).encode()
                tar.write({"__key__": f"{n:032x}", "json": facts, "flac": flac(clips[n]), "txt": texts[n].encode()})
        tables = {name: scan_tar(path, name).sort_by("key") for name in ("flac", "json", "txt")}
        columns = {"key": tables["flac"]["key"]}
        for name, table in tables.items():
            columns |= {f"{name}.offset": table["start"], f"{name}.length": table["length"]}
        table = pa.table(columns)
        with (
            pa.OSFile(str(folder / INDEX / f"{path.stem}.idx"), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as out,
        ):
            out.write_table(table)
    return folder
