"""`gristmill policies calibrate`: a screen for a policy's toxicity model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from flows.outcome import Outcome
from flows.preflight import load_policy
from flows.runtime import prepare, show_progress
from tasks.errors import UserError
from tasks.home import Home


def calibrate(
    policy_name: str,
    corpora: tuple[str, ...],
    texts: tuple[str, ...],
    teach: tuple[str, ...],
    out: Path,
    missed: float,
    clear: float,
    home: Path | None,
) -> Outcome:
    """Collect texts with the model's scores, train, write the screen, and say what to put into the policy.

    UserError for a policy without toxicity rules, a model that is not here, no texts, or too few of them.
    """
    from tasks.curation.toxicity import Toxicity, load
    from tasks.curation.toxicity_calibrate import calibrate as train
    from tasks.curation.toxicity_texts import from_corpus, from_files, together

    policy = load_policy(policy_name)
    if policy.toxicity is None:
        raise UserError("the policy has no toxicity rules", where=policy_name, hint="add `toxicity` with thresholds")
    if not 0 <= missed < 1:
        raise UserError("the share of missed toxic texts lies in 0..1", where="--missed", hint="for example 0.01")
    if not 0 < clear < 1:
        raise UserError("the share of harmless texts to clear lies in 0..1", where="--clear", hint="for example 0.95")
    if not corpora and not texts:
        raise UserError("nothing to learn from", where=policy_name, hint="name a corpus with --corpus, or --texts FILE")
    place = prepare(home)
    asked = policy.toxicity
    model = load(asked.model, stand_in=asked.stand_in, models=place.root / "models")
    if not isinstance(model, Toxicity):
        raise UserError(model.message, where=policy_name)
    show_progress()
    parts = [from_corpus(place, _folder(place, name), model) for name in corpora]
    parts += [from_files(place, path, model) for path in texts]
    judged = {text for part, _ in parts for text in part}
    parts += [from_files(place, path, model) for path in teach]
    found, scores_NL = together(parts)
    only = [text for text in found if text not in judged]
    thresholds = {str(label): value for label, value in asked.thresholds.items()}
    screen, calibration = train(found, scores_NL, thresholds, model.digest, missed, out, enough=clear, teach=only)
    lines = {"model": str(out), "sha256": screen.sha256, "threshold": calibration.threshold}
    result = {"policy": policy.name, "screen": lines, **dataclasses.asdict(calibration)}
    _show(result)
    return Outcome(result)


def _folder(home: Home, name: str) -> Path:
    from tasks.governance.manifest import find_corpus

    return find_corpus(home, name)


def _show(result: dict[str, Any]) -> None:
    low, high = result["missed_low"], result["missed_high"]
    print(f"{result['texts']:,} distinct texts, {result['toxic']:,} of them toxic under {result['policy']}")
    print("on texts that the screen was not trained on:")
    print(f"  cleared  {result['cleared_share']:.1%} of the harmless ones")
    print(f"  missed   {result['missed_share']:.2%} of the toxic ones ({low:.2%} to {high:.2%}, 95 %)")
    print("put into the policy:\n\ntoxicity:\n  screen:")
    for key, value in result["screen"].items():
        print(f"    {key}: {value}")
