"""The rules of images, audio clips and of the texts beside them: could it be made regular, and do its measures lie
within the policy's bounds?

A corpus of texts has none of these columns, and is asked nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.hits import DROP, QUARANTINE, Hit, flags, floats, objects
from data_policies.schema import MEDIA_RULES, Policy

PAIR_SCORE = "pair.score"
KIND, GIVEN = "media", "caption.given"  # columns: image, audio or "" for a text; has it a text (beside it)?


def media_kind(columns: Iterable[str]) -> str:
    """image or audio, of which these score columns tell; "" in a corpus of texts."""
    return next((kind for name in columns for kind in ("image", "audio") if name.startswith(f"{kind}.")), "")


def is_text(scores: pa.Table) -> np.ndarray:
    """Records that are a text, not an image or a clip (bool, N)."""
    if KIND not in scores.column_names:
        return np.ones(len(scores), dtype=bool)
    return flags(pc.equal(scores[KIND], ""))


def has_text(scores: pa.Table) -> np.ndarray:
    """Records with a text: one that is a text, or one with a caption or a transcript (bool, N)."""
    if GIVEN not in scores.column_names:
        return np.ones(len(scores), dtype=bool)
    return flags(scores[GIVEN])


def those_of(scores: pa.Table, what: str) -> np.ndarray:
    """The records of which a rule is asked (bool, N): `given`, those with a text; `text`, those that are one; `media`,
    those that are none; "", all."""
    if what == "given":
        return has_text(scores)
    if what:
        return is_text(scores) == (what == "text")
    return np.ones(len(scores), dtype=bool)


def media_hits(scores: pa.Table, policy: Policy) -> Iterator[Hit]:
    """Quarantine what could not be made regular, or lacks a measure that is bounded; drop what is out of bounds."""
    if KIND not in scores.column_names:
        return
    read = flags(pc.equal(scores["ingest_rule"], "")) & ~is_text(scores)
    error = pc.fill_null(scores["error.media"], "MissingScore")
    yield Hit("error.media", QUARANTINE, read & flags(pc.not_equal(error, "")), detail_N=objects(error))
    rules, detail = scores["media.rule"], objects(scores["media.detail"])
    for rule in sorted(filter(None, pc.unique(rules).to_pylist())):
        yield Hit(rule, QUARANTINE, read & flags(pc.equal(rules, rule)), detail_N=detail)
    regular = read & flags(pc.and_(pc.equal(rules, ""), pc.equal(error, "")))
    for part, kind in MEDIA_RULES.items():
        asked = regular if kind == "pair" else regular & flags(pc.equal(scores[KIND], kind))
        for measure, bounds in getattr(policy, part).items():
            rule, value = f"{kind}.{measure}", floats(scores[f"{kind}.{measure}"])
            if rule == PAIR_SCORE:  # without a text there is nothing to compare
                yield Hit("error.pair-scores", QUARANTINE, asked & has_text(scores) & np.isnan(value))
            else:
                yield Hit("error.media", QUARANTINE, asked & np.isnan(value))
            if bounds.min is not None:
                yield Hit(rule, DROP, asked & (value < bounds.min), value, bounds.min)
            if bounds.max is not None:
                yield Hit(rule, DROP, asked & (value > bounds.max), value, bounds.max)
