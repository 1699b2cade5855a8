"""The voices of the synthesiser, and what they say. No person stands behind any of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

SLOTS = ("number", "quality", "thing", "act", "place")


@dataclass(frozen=True)
class Voice:
    """`pitch`: mean fundamental in Hz; `tract`: the factor on all formants (a shorter vocal tract has higher ones).

    `breath`: aspiration beside the voicing; `rate`: the factor on speed; `tilt`: of the glottal source, 0 (pressed) to
    1 (soft); `lively`: how far the pitch moves, in octaves.
    """

    name: str
    pitch: float
    tract: float
    breath: float
    rate: float
    tilt: float
    lively: float


VOICES = (
    Voice("alder", 112, 1.00, 0.03, 1.00, 0.45, 0.25),
    Voice("birch", 205, 1.16, 0.06, 1.05, 0.55, 0.30),
    Voice("cedar", 92, 0.93, 0.02, 0.90, 0.40, 0.15),
    Voice("elm", 178, 1.10, 0.12, 0.95, 0.70, 0.20),
    Voice("fir", 138, 1.02, 0.05, 1.20, 0.50, 0.35),
    Voice("hazel", 232, 1.20, 0.08, 1.10, 0.60, 0.40),
    Voice("juniper", 104, 0.97, 0.15, 0.92, 0.75, 0.12),
    Voice("larch", 125, 0.95, 0.03, 1.12, 0.35, 0.30),
    Voice("maple", 190, 1.13, 0.03, 0.98, 0.45, 0.25),
    Voice("oak", 84, 0.90, 0.04, 0.96, 0.55, 0.20),
    Voice("pine", 220, 1.08, 0.10, 1.02, 0.65, 0.22),
    Voice("rowan", 158, 1.06, 0.04, 1.15, 0.50, 0.33),
)


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, tuple[str, tuple[str, ...]]]:
    """words: (slot, phonemes in ARPAbet)."""
    lines = (resources.files("tasks.curation.speech") / "words.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return {words: (slot, tuple(phonemes.split())) for words, slot, phonemes in rows}


def sentence(rng: np.random.Generator) -> tuple[str, ...]:
    """Entries of the vocabulary: a number, perhaps a quality, a thing, and then an act, a place, or both, or nothing.

    Some 25,000 different ones; a number always comes first.
    """
    by_slot = {slot: [words for words, (own, _) in vocabulary().items() if own == slot] for slot in SLOTS}
    said = {"quality": 0.6, "act": 0.55, "place": 0.45}
    chosen = [slot for slot in SLOTS if rng.random() < said.get(slot, 1.0)]
    return tuple(by_slot[slot][int(rng.integers(len(by_slot[slot])))] for slot in chosen)


def phonemes(text: str) -> list[list[str]]:
    """The phonemes of each entry of the vocabulary in `text`, the longest entry first. ValueError for other words."""
    words, found, at = text.split(), [], 0
    while at < len(words):
        for end in range(len(words), at, -1):
            if entry := vocabulary().get(" ".join(words[at:end])):
                found.append(list(entry[1]))
                at = end
                break
        else:
            raise ValueError(f"the synthesiser cannot say '{words[at]}'; see tasks/curation/speech/words.tsv")
    return found
