"""What would another policy change? Decided from stored scores; nothing is scored again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_policies import decide as decisions
from data_policies.schema import Policy
from tasks.curation.ledger_rows import LedgerRows
from tasks.curation.steps import score_blocks_beside
from tasks.errors import UserError
from tasks.governance.corpus import reopen
from tasks.governance.ledger import ADMITTED, count_verdicts, read_ledger
from tasks.home import Home

EXAMPLES = 3


def diff(home: Home, folder: Path, policy: Policy) -> dict[str, Any]:
    """Counts and examples, by source and rule, of the records whose verdict or rule `policy` would change.

    ``needs_scoring``: records that this policy would score and no stored score exists for (a cheaper rule had refused
    them, or the model is another); they are left out of the changes. UserError when the policy asks for a measure that
    the corpus was never measured by.
    """
    curated, old = reopen(home, folder)
    if policy.ner is not None and policy.ner != old.ner:
        raise UserError(
            "the corpus was not searched by the model that finds names under this policy",
            where=policy.name,
            hint="curate under this policy to search it",
        )
    found, decided = [], []
    try:
        for scores in score_blocks_beside(curated.ingested, curated.scored):
            found.append(_needs_scoring(scores, policy, old))
            families = decisions.ALL if _scored(policy, old) else decisions.CHEAP
            decided.append(decisions.decide(scores, policy, families))
    except KeyError as error:
        raise UserError(
            f"the corpus has no measure for {error}", where=policy.name, hint="curate under this policy to measure it"
        ) from None
    needs = np.concatenate(found)
    with LedgerRows(curated, policy, pa.concat_tables(decided)) as tried:
        then = pa.concat_tables(tried.blocks(["verdict", "rule"]))
    now = read_ledger(folder / "ledger", ["record_id", "source", "verdict", "rule"])
    changes: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], list[str]] = {}
    columns = [now[name].to_pylist() for name in ("record_id", "source", "verdict", "rule")]
    columns += [then["verdict"].to_pylist(), then["rule"].to_pylist(), needs.tolist()]
    for record, source, verdict, rule, new_verdict, new_rule, unscored in zip(*columns, strict=True):
        if unscored or (verdict, rule) == (new_verdict, new_rule):
            continue
        key = (source, _name(verdict, rule), _name(new_verdict, new_rule))
        changes[key] += 1
        examples.setdefault(key, [])
        if len(examples[key]) < EXAMPLES:
            examples[key].append(record)
    rows = [
        {"source": key[0], "now": key[1], "then": key[2], "records": count, "examples": examples[key]}
        for key, count in sorted(changes.items(), key=lambda item: (-item[1], item[0]))
    ]
    certain = then.filter(pc.invert(pa.array(needs)))
    return {
        "corpus": f"{curated.name}@{folder.name}",
        "policy": {"name": policy.name, "sha256": policy.sha256()},
        "records": len(now),
        "changed": sum(changes.values()),
        "needs_scoring": int(needs.sum()),
        "now": count_verdicts(now),
        "then": count_verdicts(certain),
        "changes": rows,
    }


def _scored(policy: Policy, old: Policy) -> bool:
    """Were the stored toxicity scores made by the model that this policy names?"""
    return policy.toxicity is None or (old.toxicity is not None and old.toxicity.model == policy.toxicity.model)


def _needs_scoring(scores: pa.Table, policy: Policy, old: Policy) -> np.ndarray:
    needed = decisions.needs_toxicity(scores, policy)
    if not _scored(policy, old):
        return needed
    if policy.toxicity is None:
        return needed & False
    scored_by = scores["scored_by"]
    unscored = pc.equal(scored_by, decisions.NOT_NEEDED).to_numpy()
    by_screen = pc.equal(scored_by, decisions.SCREEN).to_numpy()
    if _same_screen(policy, old):
        by_screen &= ~decisions.cleared(scores, policy)
    return needed & (unscored | by_screen)


def _same_screen(policy: Policy, old: Policy) -> bool:
    """May what the screen cleared under `old` count as cleared: the same screen, no label's threshold lowered?"""
    assert policy.toxicity is not None
    assert old.toxicity is not None
    now, then = policy.toxicity.screen, old.toxicity.screen
    known = old.toxicity.thresholds
    kept = all(threshold >= known.get(label, 2.0) for label, threshold in policy.toxicity.thresholds.items())
    return now is not None and then is not None and now.sha256 == then.sha256 and kept


def _name(verdict: str, rule: str | None) -> str:
    return verdict if verdict in ADMITTED and rule is None else f"{verdict} {rule}"
