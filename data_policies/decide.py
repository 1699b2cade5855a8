"""(scores, policy) -> verdict. Vectorised, pure, and closed: every record gets exactly one verdict.

Rules are asked in the order of their cost: ingest, media, licence, language, quality, personal data, toxicity. The
first that refuses decides; all that hit are recorded. A score that is missing never admits (contract 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies.hits import DROP, KEEP, QUARANTINE, REDACT, Hit, flags, floats, objects
from data_policies.measures import is_asked, meant_for
from data_policies.media_rules import has_text, is_text, media_hits
from data_policies.opt_outs import RESERVED, UNREADABLE
from data_policies.schema import Policy
from data_policies.spdx import admitted

REPLACED = ("redact", "pseudonymise")  # actions on a span that change the text: the record's verdict is redact

#: What `decide` returns; `spans` are those of the scores with the policy's action filled in.
VERDICT_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("verdict", pa.string()),
        ("rule", pa.string()),
        ("rules", pa.list_(pa.string())),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("detail", pa.string()),
    ]
)

CHEAP = ("ingest", "media", "licence", "language", "quality", "contamination", "pii")
ALL = (*CHEAP, "toxicity")
_CONTAMINATION = re.compile(r"contamination\..+\.ngrams\Z")
NOT_NEEDED = "not_needed"
SCREEN = "screen"  # who scored: the screen, which cleared the record


def decide(scores: pa.Table, policy: Policy, families: tuple[str, ...] = ALL) -> pa.Table:
    """One verdict a row (VERDICT_SCHEMA), in the order of `scores`.

    `families`: the rule families to ask. Raises KeyError when the policy asks for a score that the table lacks.
    """
    count = len(scores)
    hits = list(_hits(scores, policy, families))
    order = [hit for hit in hits if hit.verdict != REDACT] + [hit for hit in hits if hit.verdict == REDACT]
    decided = np.full(count, -1, dtype=np.int64)  # index into `order`: refusals come before redactions
    for index, hit in enumerate(order):
        decided[(decided < 0) & hit.mask_N] = index
    verdict = np.full(count, KEEP, dtype=object)
    rule = np.full(count, None, dtype=object)
    value, threshold = np.full(count, np.nan), np.full(count, np.nan)
    detail = np.full(count, None, dtype=object)
    for index, hit in enumerate(order):
        rows = decided == index
        verdict[rows], rule[rows], threshold[rows] = hit.verdict, hit.rule, hit.threshold
        if hit.value_N is not None:
            value[rows] = hit.value_N[rows]
        if hit.detail_N is not None:
            detail[rows] = hit.detail_N[rows]
    columns = [
        scores["record_id"],
        pa.array(verdict, pa.string()),
        pa.array(rule, pa.string()),
        _rules_column(hits, count),
        pa.array(value, pa.float64(), from_pandas=True),
        pa.array(threshold, pa.float64(), from_pandas=True),
        pa.array(detail, pa.string()),
    ]
    return pa.table(columns, schema=VERDICT_SCHEMA)


def needs_toxicity(scores: pa.Table, policy: Policy) -> np.ndarray:
    """Rows that no cheaper rule refuses (bool, N): only those are worth a model."""
    if policy.toxicity is None:
        return np.zeros(len(scores), dtype=bool)
    verdict = decide(scores, policy, CHEAP)["verdict"]
    return flags(pc.is_in(verdict, pa.array([KEEP, REDACT]))) & has_text(scores)


def cleared(scores: pa.Table, policy: Policy) -> np.ndarray:
    """Rows that the policy's screen cleared (bool, N): their score is the screen's, below its threshold."""
    if policy.toxicity is None or policy.toxicity.screen is None or "toxicity.screen" not in scores.column_names:
        return np.zeros(len(scores), dtype=bool)
    by_screen = flags(pc.equal(pc.fill_null(scores["scored_by"], ""), SCREEN))
    return by_screen & (floats(scores["toxicity.screen"]) < policy.toxicity.screen.threshold)


def span_actions(policy: Policy) -> dict[str, str]:
    """The action for each type of personal data; a type that the policy does not name is redacted."""
    from typing import get_args

    from data_policies.schema import PiiType

    return {kind: policy.pii.get(kind, REDACT) for kind in get_args(PiiType)}


def _hits(scores: pa.Table, policy: Policy, families: tuple[str, ...]) -> Iterator[Hit]:
    makers = {
        "ingest": _ingest,
        "media": media_hits,
        "licence": _licence,
        "language": _language,
        "quality": _quality,
        "contamination": _contamination,
        "pii": _pii,
        "toxicity": _toxicity,
    }
    for family in families:
        yield from makers[family](scores, policy)


def _ingest(scores: pa.Table, policy: Policy) -> Iterator[Hit]:
    found = scores["ingest_rule"]
    for rule in sorted(filter(None, pc.unique(found).to_pylist())):
        yield Hit(rule, QUARANTINE, flags(pc.equal(found, rule)), detail_N=objects(scores["ingest_detail"]))


def _error(scores: pa.Table, step: str) -> Iterator[Hit]:
    errors = pc.fill_null(scores[f"error.{step}"], "MissingScore")
    yield Hit(f"error.{step}", QUARANTINE, flags(pc.not_equal(errors, "")), detail_N=objects(errors))


def _licence(scores: pa.Table, policy: Policy) -> Iterator[Hit]:
    yield from _error(scores, "licences")
    detail = objects(scores["licence_detail"])
    problem = pc.fill_null(scores["licence_problem"], "unknown")
    for name in ("vendored", "missing", "conflict", "unknown"):
        yield Hit(f"licence.{name}", QUARANTINE, flags(pc.equal(problem, name)), detail_N=detail)
    opt_out = pc.fill_null(scores["opt_out"], "")
    if policy.licences.respect_opt_outs:
        for kind, verdict in ((RESERVED, DROP), (UNREADABLE, QUARANTINE)):
            mask = flags(pc.starts_with(opt_out, kind))
            yield Hit("licence.opt_out", verdict, mask, detail_N=objects(opt_out))
    licence = pc.fill_null(scores["licence"], "")
    # A conclusion that is empty without a named problem is a detector's bug: unknown, never allowed.
    empty = pc.and_(pc.equal(problem, ""), pc.equal(licence, ""))
    yield Hit("licence.unknown", QUARANTINE, flags(empty), detail_N=detail)
    allowed = [name for name in pc.unique(licence).to_pylist() if admitted(name, policy.licences.allow)]
    refused = pc.and_(
        pc.and_(pc.equal(problem, ""), pc.not_equal(licence, "")),
        pc.invert(pc.is_in(licence, pa.array(allowed, pa.string()))),
    )
    yield Hit("licence.not_allowed", DROP, flags(refused), detail_N=detail)


def _language(scores: pa.Table, policy: Policy) -> Iterator[Hit]:
    if policy.languages is None:
        return
    yield from _error(scores, "languages")
    minimum = policy.languages.minimum_score
    score = floats(scores["language_score"])
    asked = has_text(scores)
    unsure = asked & (~(score >= minimum) | flags(pc.equal(pc.fill_null(scores["language"], ""), "")))
    yield Hit("language.unsure", QUARANTINE, unsure, score, minimum, objects(scores["language"]))
    other = pc.invert(pc.is_in(scores["language"], pa.array(policy.languages.allow, pa.string())))
    yield Hit("language.not_allowed", DROP, asked & ~unsure & flags(other), score, minimum, objects(scores["language"]))


def _quality(scores: pa.Table, policy: Policy) -> Iterator[Hit]:
    if not policy.quality:
        return
    yield from _error(scores, "quality")
    for name, measures in policy.quality.items():
        for measure, bounds in measures.items():
            rule = f"quality.{name}.{measure}"
            value = floats(scores[rule])
            only, never = meant_for(name, measure, bounds.languages)
            asked = is_text(scores)
            if only or never:  # a text in another language is not asked; one whose language failed to be told is held
                yield from _error(scores, "languages")
                asked &= is_asked(scores["language"], only, never)
            missing = asked & np.isnan(value) & flags(pc.equal(scores["error.quality"], ""))
            yield Hit("error.quality", QUARANTINE, missing)
            if bounds.min is not None:
                yield Hit(rule, DROP, asked & (value < bounds.min), value, bounds.min)
            if bounds.max is not None:
                yield Hit(rule, DROP, asked & (value > bounds.max), value, bounds.max)


def protected_sets(columns: Iterable[str]) -> list[str]:
    """The evaluation sets that these score columns tell of."""
    end = ".ngrams"
    return [name[len("contamination.") : -len(end)] for name in columns if _CONTAMINATION.match(name)]


def _contamination(scores: pa.Table, policy: Policy) -> Iterator[Hit]:
    if "error.contamination" in scores.column_names:
        yield from _error(scores, "contamination")
    for name in protected_sets(scores.column_names):
        rule, bounds = f"contamination.{name}", policy.contamination
        item = objects(scores[f"{rule}.item"])
        for kind, least in (("ngrams", bounds.ngrams), ("similarity", bounds.similarity)):
            value = floats(scores[f"{rule}.{kind}"])
            missing = has_text(scores) & np.isnan(value) & flags(pc.equal(scores["error.contamination"], ""))
            yield Hit("error.contamination", QUARANTINE, missing)
            yield Hit(rule, DROP, value >= least, value, least, item)


def _pii(scores: pa.Table, policy: Policy) -> Iterator[Hit]:
    yield from _error(scores, "pii")
    spans = scores["spans"].combine_chunks()
    if isinstance(spans, pa.ChunkedArray):  # pyarrow keeps an empty column chunked
        spans = pa.concat_arrays(spans.chunks) if spans.num_chunks else pa.array([], spans.type)
    rows = pc.list_parent_indices(spans).to_numpy(zero_copy_only=False)
    kinds = pc.list_flatten(spans).field("type")
    lost = flags(pc.is_null(spans)) & flags(pc.equal(scores["error.pii"], ""))
    yield Hit("error.pii", QUARANTINE, lost)
    for kind, action in span_actions(policy).items():
        if action == KEEP:
            continue
        found = np.bincount(rows[flags(pc.equal(kinds, kind))], minlength=len(scores)).astype(float)
        yield Hit(f"pii.{kind}", REDACT if action in REPLACED else DROP, found > 0, found, 0.0)


def _toxicity(scores: pa.Table, policy: Policy) -> Iterator[Hit]:
    if policy.toxicity is None:
        return
    yield from _error(scores, "toxicity")
    needed = flags(pc.not_equal(pc.fill_null(scores["scored_by"], ""), NOT_NEEDED)) & ~cleared(scores, policy)
    needed &= has_text(scores)
    for label, threshold in policy.toxicity.thresholds.items():
        value = floats(scores[f"toxicity.{label}"])
        missing = needed & np.isnan(value) & flags(pc.equal(scores["error.toxicity"], ""))
        yield Hit("error.toxicity", QUARANTINE, missing)
        yield Hit(f"toxicity.{label}", DROP, needed & (value >= threshold), value, threshold)


def _rules_column(hits: list[Hit], count: int) -> pa.Array:
    """For each row the names of all rules that hit, in the order in which they were asked, each once."""
    names = [hit.rule for hit in hits]
    pairs = [(np.flatnonzero(hit.mask_N), index) for index, hit in enumerate(hits)]
    row = np.concatenate([rows for rows, _ in pairs]) if pairs else np.array([], dtype=np.int64)
    index = np.concatenate([np.full(len(rows), i) for rows, i in pairs]) if pairs else row
    order = np.lexsort((index, row))
    row, index = row[order], index[order]
    first = np.array([names.index(name) for name in names], dtype=np.int64)  # the same rule may be asked twice
    index = first[index] if len(index) else index
    fresh = np.ones(len(row), dtype=bool)
    fresh[1:] = (row[1:] != row[:-1]) | (index[1:] != index[:-1])
    row, index = row[fresh], index[fresh]
    offsets = np.searchsorted(row, np.arange(count + 1)).astype(np.int32)
    values = pa.array(names, pa.string()).take(pa.array(index)) if len(index) else pa.array([], pa.string())
    return pa.ListArray.from_arrays(pa.array(offsets), values)
