"""The quality measures that a policy may bound: their names, for which languages they are meant, and their sources' own
thresholds. What measures them is tasks/curation/quality.py.

A rule set is somebody's: made for some texts, in some languages. A measure that counts words between blanks says
nothing of Thai or Chinese, one that looks for "the" and "of" nothing of German. Such a rule is not asked of a text in
another language: it neither admits nor refuses it. That is not a missing score, which always quarantines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Written without blanks between words (ISO 639, as the language model names them).
UNSPACED = ("bo", "dz", "ja", "km", "lo", "my", "th", "wuu", "yue", "zh")
#: Words between blanks, but of another length than in an alphabet: syllable blocks, syllables.
SYLLABIC = ("ko", "vi")
#: A sentence ends otherwise than with . ? or !
OTHER_STOPS = ("am", "as", "bn", "hi", "hy", "mai", "mr", "ne", "or", "pa", "sa", "ti", "ur")


@dataclass(frozen=True)
class Measure:
    """`low`, `high`: the source's own bounds, None for none. `only`: languages it is meant for, () for any; `never`:
    languages it says nothing of."""

    low: float | None = None
    high: float | None = None
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


_WORDS = UNSPACED  # of measures that count words
_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
_DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}

MEASURES: dict[str, dict[str, Measure]] = {
    # Gristmill's own, for any language; without bounds of their own.
    "basic": dict.fromkeys(
        ("words", "letter_ratio", "mean_word_length", "duplicate_line_ratio", "symbol_ratio"), Measure()
    ),
    # Rae et al. 2021, Scaling Language Models, section A1.1, as in datatrove 0.10: GopherQualityFilter
    "gopher-quality": {
        "words": Measure(50, 100_000, never=_WORDS),
        "mean_word_length": Measure(3, 10, never=(*_WORDS, *SYLLABIC)),
        "hash_word_ratio": Measure(high=0.1, never=_WORDS),
        "ellipsis_word_ratio": Measure(high=0.1, never=_WORDS),
        "bullet_line_ratio": Measure(high=0.9),
        "ellipsis_line_ratio": Measure(high=0.3),
        "alphabetic_word_ratio": Measure(0.8, never=_WORDS),
        "stop_words": Measure(2, only=("en",)),
    },
    # The same, table A1: GopherRepetitionFilter
    "gopher-repetition": {
        "duplicate_line_ratio": Measure(high=0.3),
        "duplicate_paragraph_ratio": Measure(high=0.3),
        "duplicate_line_character_ratio": Measure(high=0.2),
        "duplicate_paragraph_character_ratio": Measure(high=0.2),
        **{f"top_{n}_gram_character_ratio": Measure(high=high, never=_WORDS) for n, high in _TOP.items()},
        **{f"duplicate_{n}_gram_character_ratio": Measure(high=high, never=_WORDS) for n, high in _DUPLICATE.items()},
    },
    # Raffel et al. 2020, Exploring the Limits of Transfer Learning, section 2.2: C4QualityFilter
    "c4": {
        "sentences": Measure(5, never=(*UNSPACED, *OTHER_STOPS)),
        "lorem_ipsum_lines": Measure(high=0),
        "curly_bracket_lines": Measure(high=0),
        "dropped_line_ratio": Measure(never=(*UNSPACED, *OTHER_STOPS)),  # C4 drops the lines, not the text: no bound
    },
    # Penedo et al. 2024, The FineWeb Datasets, section 3.6: FineWebQualityFilter
    "fineweb": {
        "terminal_line_ratio": Measure(0.12, never=("lo", "th")),  # which end sentences with a blank
        "short_line_ratio": Measure(high=0.67, never=UNSPACED),
        "duplicate_line_character_ratio": Measure(high=0.01),
        "newline_word_ratio": Measure(high=0.3, never=_WORDS),
    },
}


def canonical(name: str) -> dict[str, dict[str, float]]:
    """A set's own bounds as a policy says them; ValueError for a set that is unknown or has none."""
    bounds = {}
    for measure, own in MEASURES.get(name, {}).items():
        ends = {key: value for key, value in (("min", own.low), ("max", own.high)) if value is not None}
        if ends:
            bounds[measure] = ends
    if not bounds:
        known = [name for name in MEASURES if any(m.low or m.high is not None for m in MEASURES[name].values())]
        raise ValueError(f"the quality set {name!r} has no bounds of its own; {', '.join(known)} have")
    return bounds


def check_names(quality: dict[str, Iterable[str]]) -> None:
    """ValueError that names the first set or measure that does not exist, and those that do."""
    for name, measures in quality.items():
        if name not in MEASURES:
            raise ValueError(f"unknown quality set {name!r}; there are {', '.join(MEASURES)}")
        for measure in measures:
            if measure not in MEASURES[name]:
                raise ValueError(f"{name} has no measure {measure!r}; it has {', '.join(MEASURES[name])}")


def meant_for(name: str, measure: str, languages: tuple[str, ...] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(only, never) of a rule: the measure's own, narrowed to `languages` where the policy names some."""
    own = MEASURES[name][measure]
    if languages is None:
        return own.only, own.never
    only = tuple(language for language in languages if not own.only or language in own.only)
    return only or ("-",), own.never  # "-": none is left, the rule is asked of nothing


def is_asked(language: pa.ChunkedArray, only: tuple[str, ...], never: tuple[str, ...]) -> np.ndarray:
    """Of which rows the rule is asked (bool, N). A text whose language is unknown ("" or null) is asked."""
    found = pc.fill_null(language, "")
    unknown = np.asarray(pc.equal(found, ""))
    asked = np.asarray(pc.invert(pc.is_in(found, pa.array(never, pa.string()))))
    if only:
        asked = asked & np.asarray(pc.is_in(found, pa.array(only, pa.string())))
    return asked | unknown
