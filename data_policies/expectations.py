"""The Great Expectations suites of the gate, built from a policy, over derived columns only: never text.

Six frames, each with its own suite; a check names the columns that it reads, and tasks/curation/gate.py makes them:

- ``ledger``: one row for every record read.
- ``admitted``: the rows with verdict keep or redact. Every rule of the policy is asked again here, of the scores
  themselves, so that a mistake in `decide` cannot pass unseen.
- ``duplicates``: the rows that an exact or near duplicate rule dropped.
- ``sources``: one row a source.
- ``disparities``: one row a rule that refuses and a dimension that its rates are compared over; only when bounded.
- ``corpus``: one row, the counts and shares of the whole.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from data_policies.measures import meant_for
from data_policies.media_rules import PAIR_SCORE
from data_policies.schema import MEDIA_RULES, Policy

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

VERDICTS = ("keep", "redact", "drop", "quarantine")
SPLITS = ("train", "validation")
HEX_32, HEX_64 = r"^[0-9a-f]{32}$", r"^[0-9a-f]{64}$"

_NAME = r"[A-Za-z0-9_.-]+"
#: Every rule that a ledger may name; "" where none decided.
RULE = (
    r"^(?:|ingest\.(?:utf8|json|truncated|empty|too_large|refused)|licence\.(?:unknown|missing|conflict|not_allowed|vendored|opt_out)"
    r"|duplicate\.(?:exact|near|substring)"
    rf"|(?:media|image|audio|pair|language|quality|pii|toxicity|contamination|override|error)\.{_NAME})$"
)


@dataclass(frozen=True)
class Check:
    """One expectation: its name in gate.json, the frame it is asked of, and how Great Expectations calls it."""

    name: str
    frame: str
    kind: str  # a class of great_expectations.expectations
    expected: str  # for people
    arguments: dict[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()  # languages of which it is asked, () for any
    never: tuple[str, ...] = ()
    of: str = ""  # of which records of a media corpus it is asked (`media_rules.those_of`)

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [value for key, value in self.arguments.items() if key in ("column", "column_A", "column_B")]


def checks(
    policy: Policy,
    scores: Sequence[str] = (),
    with_previous: bool = False,
    protected: Sequence[str] = (),
    media: str = "",
) -> list[Check]:
    """Everything the gate asks under `policy`.

    `scores`: the columns that lie in 0..1 where they were measured (``language_score``, ``toxicity.LABEL``).
    `with_previous`: there is an earlier version to compare the source mix with. `protected`: the evaluation sets.
    `media`: image or audio in a corpus of these.
    """
    admitted = [*_admitted(policy, scores), *_uncontaminated(policy, protected)]
    admitted += _media(policy, media) if media else ()
    near = {"": policy.duplicates.threshold, "image": policy.duplicates.images, "audio": policy.duplicates.audio}[media]
    return [*_ledger(policy, scores), *admitted, *_duplicates(near or 1.0), *_corpus(policy, with_previous)]


def suites(asked: Sequence[Check]) -> dict[str, ExpectationSuite]:
    """One suite a frame, in the order of `asked`; each expectation carries its check's name in its meta."""
    gx = great_expectations()
    made: dict[str, ExpectationSuite] = {}
    for check in asked:
        expectation = getattr(gx.expectations, check.kind)(**check.arguments, meta={"check": check.name})
        suite = made.setdefault(check.frame, gx.ExpectationSuite(name=check.frame))
        suite.expectations.append(expectation)
    return made


def great_expectations() -> Any:
    """The library, imported when it is first needed (4 s), without the deprecation warnings of its own imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
        import great_expectations.expectations
    return gx


def _one_of(name: str, frame: str, column: str, values: Sequence[Any], expected: str = "") -> Check:
    arguments = {"column": column, "value_set": list(values)}
    return Check(name, frame, "ExpectColumnValuesToBeInSet", expected or f"one of {', '.join(values)}", arguments)


def _true(name: str, frame: str, column: str, expected: str) -> Check:
    return _one_of(name, frame, column, [True], expected)


def _between(name: str, frame: str, column: str, low: float | None, high: float | None, strict: bool = False) -> Check:
    bounds = {"min_value": low, "max_value": high} | ({"strict_max": True} if strict else {})
    said = [] if low is None else [f">= {low:g}"]
    said += [] if high is None else [f"{'<' if strict else '<='} {high:g}"]
    return Check(name, frame, "ExpectColumnValuesToBeBetween", " and ".join(said), {"column": column} | bounds)


def _matches(name: str, frame: str, column: str, pattern: str, expected: str) -> Check:
    arguments = {"column": column, "regex": pattern}
    return Check(name, frame, "ExpectColumnValuesToMatchRegex", expected, arguments)


def _unique(name: str, frame: str, column: str) -> Check:
    return Check(name, frame, "ExpectColumnValuesToBeUnique", "unique", {"column": column})


def _ledger(policy: Policy, scores: Sequence[str]) -> Iterator[Check]:
    present = {"column": "record_id"}
    yield Check("ledger.record_id.present", "ledger", "ExpectColumnValuesToNotBeNull", "never null", present)
    yield _matches("ledger.record_id.form", "ledger", "record_id", HEX_32, "32 hex digits")
    yield _unique("ledger.record_id.unique", "ledger", "record_id")
    yield _matches("ledger.content_sha256.form", "ledger", "content_sha256", HEX_64, "64 hex digits")
    yield _one_of("ledger.verdict.known", "ledger", "verdict", VERDICTS)
    yield _one_of("ledger.policy.this", "ledger", "policy_sha256", [policy.sha256()], "the digest of this policy")
    yield _matches("ledger.rule.known", "ledger", "rule", RULE, "a rule that exists, or none")
    yield _true("ledger.rule.given", "ledger", "rule_given", "a rule for every verdict but keep, and none for keep")
    yield _true("ledger.rule.listed", "ledger", "rule_listed", "the deciding rule is among those that hit")
    for name in scores:
        yield _between(f"ledger.{name}.range", "ledger", name, 0, 1)


def _admitted(policy: Policy, scores: Sequence[str]) -> Iterator[Check]:
    frame = "admitted"
    yield _true("admitted.licence.allowed", frame, "licence_allowed", "a licence that the policy allows")
    yield _matches("admitted.sample_sha256.form", frame, "sample_sha256", HEX_64, "64 hex digits")
    yield _unique("admitted.sample_sha256.unique", frame, "sample_sha256")
    yield _one_of("admitted.split.known", frame, "split", SPLITS)
    yield _one_of("admitted.spans.decided", frame, "spans_undecided", [0], "every span kept or redacted")
    yield _true("admitted.redaction.consistent", frame, "redaction_consistent", "redact if and only if a span is")
    if policy.languages:
        least = policy.languages.minimum_score
        yield replace(_one_of("admitted.language.allowed", frame, "language", policy.languages.allow), of="given")
        yield replace(_between("admitted.language_score.minimum", frame, "language_score", least, None), of="given")
    for name, measures in policy.quality.items():
        for measure, bounds in measures.items():
            if (bounds.min, bounds.max) != (None, None):
                column = f"quality.{name}.{measure}"
                check = _between(f"admitted.{column}.bounds", frame, column, bounds.min, bounds.max)
                only, never = meant_for(name, measure, bounds.languages)
                yield replace(check, only=only, never=never, of="text")
    for label, threshold in (policy.toxicity.thresholds if policy.toxicity else {}).items():
        column = f"toxicity.{label}"
        yield replace(_between(f"admitted.{column}.threshold", frame, column, 0, threshold, strict=True), of="given")
    if policy.toxicity and policy.toxicity.screen and "toxicity.screen" in scores:
        threshold = policy.toxicity.screen.threshold
        yield _between("admitted.toxicity.screen.threshold", frame, "screen_cleared", 0, threshold, strict=True)


def _media(policy: Policy, media: str) -> Iterator[Check]:
    for part, kind in MEDIA_RULES.items():
        for measure, bounds in getattr(policy, part).items() if kind in (media, "pair") else ():
            if (bounds.min, bounds.max) != (None, None):
                column = f"{kind}.{measure}"
                check = _between(f"admitted.{column}.bounds", "admitted", column, bounds.min, bounds.max)
                yield replace(check, of="given" if column == PAIR_SCORE else "media")


def _uncontaminated(policy: Policy, protected: Sequence[str]) -> Iterator[Check]:
    bounds = policy.contamination
    for name in protected:
        for kind, least in (("ngrams", bounds.ngrams), ("similarity", bounds.similarity)):
            column = f"contamination.{name}.{kind}"
            check = _between(f"admitted.{column}.threshold", "admitted", column, 0, least, strict=True)
            yield replace(check, of="given")


def _duplicates(threshold: float) -> Iterator[Check]:
    frame = "duplicates"
    yield _true("duplicates.survivor.kept", frame, "survivor_kept", "a survivor that is itself admitted")
    yield _between("duplicates.similarity.threshold", frame, "similarity", threshold, 1)


def _corpus(policy: Policy, with_previous: bool) -> Iterator[Check]:
    gates = policy.gates
    equal = {"column_A": "read", "column_B": "accounted"}
    said = "read = keep + redact + drop + quarantine"
    yield Check("corpus.ledger.closed", "corpus", "ExpectColumnPairValuesToBeEqual", said, equal)
    yield _between("corpus.admitted.minimum", "corpus", "admitted", gates.minimum_kept, None)
    if gates.maximum_quarantine_share is not None:
        share = gates.maximum_quarantine_share
        yield _between("corpus.quarantine_share.maximum", "corpus", "quarantine_share", 0, share)
    if gates.maximum_dropped_share_per_source is not None:
        share = gates.maximum_dropped_share_per_source
        yield _between("sources.dropped_share.maximum", "sources", "dropped_share", 0, share)
    if gates.maximum_duplicate_share_per_source is not None:
        share = gates.maximum_duplicate_share_per_source
        yield _between("sources.duplicate_share.maximum", "sources", "duplicate_share", 0, share)
    if gates.maximum_disparity is not None:
        yield _between("disparities.certain.maximum", "disparities", "certain", 1, gates.maximum_disparity)
    if gates.maximum_source_kl is not None and with_previous:
        yield _between("corpus.source_kl.maximum", "corpus", "source_kl", 0, gates.maximum_source_kl)
