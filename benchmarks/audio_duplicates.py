"""Near-duplicate clips: are copies found whatever was done to them, and are different clips ever taken for one?

    python -m benchmarks.audio_duplicates [--asterisk FOLDER]

FOLDER is where Debian's asterisk-core-sounds-en and asterisk-core-sounds-en-wav were unpacked (docs/speech.md); without
it its rows are left out. Each change is compared in a corpus that holds all originals and all their changed copies.
Writes benchmarks/results/audio_duplicates.json.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from benchmarks.machine import write
from tasks.curation.audio import decode, encode, regularise_audio
from tasks.curation.audio_duplicates import find_audio_pairs, proposed
from tasks.curation.audio_fingerprints import fingerprint
from tasks.curation.media import AudioSettings
from tasks.curation.sources import open_source
from tasks.curation.sources.speech import Asterisk, Utterances

RATE, THRESHOLD = 16_000, 0.5
BARS = {"recall, clips with speech (noise aside)": ">= 0.98", "pairs of clips of other words taken for copies": "0"}
Clip = dict[str, Any]


def again(samples: np.ndarray, kind: str, subtype: str | None, level: float) -> np.ndarray:
    """Coded by a lossy codec and decoded; level 1 is the strongest compression."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=kind, subtype=subtype, compression_level=level)
    stream.seek(0)
    return np.asarray(soundfile.read(stream, dtype="float32")[0])


def cut(samples: np.ndarray) -> np.ndarray:
    return samples[len(samples) // 10 + 37 : -(len(samples) // 10) - 1]


def noisy(samples: np.ndarray) -> np.ndarray:
    """White noise 20 dB beneath the clip's mean power."""
    rng = np.random.default_rng(len(samples))
    level = np.sqrt(np.square(samples).mean() / 100)
    return (samples + level * rng.standard_normal(len(samples))).astype(np.float32)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Ogg Vorbis, 90 % compression": lambda x: again(x, "OGG", "VORBIS", 0.9),
    "MP3, 90 % compression": lambda x: again(x, "MP3", None, 0.9),
    "Opus, 95 % compression": lambda x: again(x, "OGG", "OPUS", 0.95),
    "8 kHz and back": lambda x: soxr.resample(soxr.resample(x, RATE, 8000), 8000, RATE),
    "11,025 Hz and back": lambda x: soxr.resample(soxr.resample(x, RATE, 11_025), 11_025, RATE),
    "-14 dB": lambda x: x * np.float32(0.2),
    "a tenth cut off at both ends": cut,
    "cut, -8 dB, Ogg Vorbis": lambda x: again(cut(x) * np.float32(0.4), "OGG", "VORBIS", 0.9),
    "noise at 20 dB (not promised)": noisy,
}


def clips_of(source: Any) -> list[Clip]:
    """Regular samples, transcript and share of speech of each record of a source."""
    found = []
    for raw in source:
        regular = regularise_audio(raw.payload, AudioSettings())
        if regular.data is not None:
            samples = decode(regular.data)[0]
            spoken = regular.measures["speech_share"] >= 0.2
            found.append({"name": raw.locator, "samples": samples, "said": raw.text, "spoken": spoken})
    return found


def figures(clips: list[Clip], sample: int) -> dict[str, Any]:
    """What is found among the clips as they are, and of each change of `sample` of them."""
    payloads = [(clip["name"], encode(clip["samples"], RATE)) for clip in clips]
    said = {clip["name"]: re.findall(r"\w+", (clip["said"] or clip["name"]).lower()) for clip in clips}
    started = time.process_time()
    pairs = list(find_audio_pairs(payloads, 0.05))
    seconds = time.process_time() - started
    other = [part for a, b, part in pairs if said[a] != said[b]]
    alike = [part for a, b, part in pairs if said[a] == said[b]]
    hours = sum(len(clip["samples"]) for clip in clips) / RATE / 3600
    found: dict[str, Any] = {
        "clips": len(clips),
        "hours": round(hours, 3),
        "pairs": len(clips) * (len(clips) - 1) // 2,
        "pairs proposed": sum(1 for _ in proposed([fingerprint(clip["samples"], RATE) for clip in clips])),
        "other words: taken for copies": sum(part >= THRESHOLD for part in other),
        "other words: largest similarity": round(max(other, default=0.0), 3),
        "same words: taken for copies": sum(part >= THRESHOLD for part in alike),
        "same words: similarities": sorted((round(part, 3) for part in alike), reverse=True)[:10],
        "CPU seconds an hour of sound": round(seconds / hours, 1),
    }
    chosen = np.random.default_rng(0).permutation(len(clips))[:sample]
    chosen = np.sort(chosen)
    spoken = {clips[at]["name"] for at in chosen if clips[at]["spoken"]}
    originals = [payloads[at] for at in chosen]
    found["changes"] = {}
    for name, change in CHANGES.items():
        copies = [(f"copy of {clips[at]['name']}", encode(change(clips[at]["samples"]), RATE)) for at in chosen]
        matched = {b.removeprefix("copy of "): (a, part) for a, b, part in find_audio_pairs([*originals, *copies], 0.05)
                   if b == f"copy of {a}"}  # fmt: skip
        parts = {name: part for name, (_, part) in matched.items()}
        hit = {name for name, part in parts.items() if part >= THRESHOLD}
        found["changes"][name] = {
            "recall, clips with speech": round(len(hit & spoken) / len(spoken), 4),
            "recall, all": round(len(hit) / len(chosen), 4),
            "smallest similarity, clips with speech": round(min(parts.get(one, 0.0) for one in spoken), 3),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asterisk", type=Path, help="where the Debian packages were unpacked")
    parser.add_argument("--each", type=int, default=25, help="utterances of each voice")
    parser.add_argument("--sample", type=int, default=150, help="clips that are changed")
    options = parser.parse_args()
    body: dict[str, Any] = {"bars": BARS, "threshold": THRESHOLD}
    body["utterances"] = figures(clips_of(open_source(Utterances(each=options.each))), options.sample)
    if options.asterisk:
        body["asterisk"] = figures(clips_of(open_source(Asterisk(path=str(options.asterisk)))), options.sample)
    print(json.dumps(body, indent=1))
    print(write("audio_duplicates", body))


if __name__ == "__main__":
    main()
