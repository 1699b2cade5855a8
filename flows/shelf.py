"""Verbs that only look or tidy up: recipes, policies, ls, gc."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from flows.outcome import Outcome
from flows.preflight import load_policy
from tasks.home import Home


def recipes(name: str | None, overrides: tuple[str, ...]) -> Outcome:
    """List the shipped recipes, or show one with its defaults filled in."""
    from flows.recipe import load_recipe, shipped

    if name:
        import yaml

        plain = load_recipe(name, overrides).plain()
        print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), end="")
        return Outcome(plain)
    found = {recipe: load_recipe(recipe).description for recipe in shipped()}
    width = max(map(len, found))
    for recipe, description in found.items():
        print(f"{recipe:<{width}}  {description}")
    return Outcome([{"name": recipe, "description": text} for recipe, text in found.items()])


def policies_list() -> Outcome:
    """The shipped policies: name, version, reason."""
    from data_policies.load import shipped

    found = [load_policy(name) for name in shipped()]
    width = max(len(policy.name) for policy in found)
    for policy in found:
        print(f"{policy.name:<{width}}  v{policy.version}  {' '.join(policy.reason.split())}")
    return Outcome([{"name": p.name, "version": p.version, "reason": p.reason, "sha256": p.sha256()} for p in found])


def policies_show(name: str) -> Outcome:
    """The policy's own file, comments included: they say why."""

    from data_policies.load import shipped

    policy = load_policy(name)
    print(Path(shipped().get(name, name)).read_text(encoding="utf-8"), end="")
    return Outcome({**policy.plain(), "sha256": policy.sha256()})


def policies_check(name: str) -> Outcome:
    """Valid, or UserError."""
    policy = load_policy(name)
    print(f"{policy.name} v{policy.version} is valid: {len(policy.licences.allow)} licences, sha256 {policy.sha256()}")
    return Outcome({"name": policy.name, "version": policy.version, "sha256": policy.sha256()})


def ls(home: Path | None) -> Outcome:
    """The corpora and runs under HOME, newest version last."""
    from tasks.governance.manifest import corpus_of, read_manifest, versions

    place = Home.at(home)
    corpora: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for folder in sorted((place.root / "corpora").glob("*")):
        for number in versions(folder):
            manifest = read_manifest(folder / f"v{number}")
            kept = manifest.counts.keep + manifest.counts.redact
            corpora.append(
                {
                    "corpus": manifest.name,
                    "version": number,
                    "read": manifest.counts.read,
                    "kept": kept,
                    "root": manifest.root,
                }
            )
    for path in sorted(place.runs.glob("*/run.json")):
        record = json.loads(path.read_text())
        runs.append({"run_id": path.parent.name, "status": record.get("status"), "corpus": corpus_of(record)})
    for row in corpora:
        print(f"{row['corpus']}@v{row['version']}  {row['kept']:,} of {row['read']:,} records  root {row['root'][:16]}")
    for row in runs:
        print(f"{row['run_id']}  {row['status']}  on {row['corpus']}")
    if not corpora and not runs:
        print(f"nothing under {place.root}: start with `gristmill run`")
    return Outcome({"home": str(place.root), "corpora": corpora, "runs": runs})


def gc(home: Path | None, yes: bool) -> Outcome:
    """Delete temporary folders of interrupted runs, and stages that are not needed to reproduce the newest versions.

    A stage is needed when a corpus version names it (``recipe.json``) or a run was trained with it; deleting one loses
    no evidence: the ledger, the shards and the runs stay; only time is lost if the same stage is wanted again.
    """
    place = Home.at(home)
    needed: set[str] = set()
    for path in (place.root / "corpora").glob("*/v*/recipe.json"):
        needed.update(json.loads(path.read_text()).get("stages", []))
    for path in place.runs.glob("*/run.json"):
        needed.update(json.loads(path.read_text()).get("stages", []))
    leftovers = [
        *place.root.glob("corpora/*/.v*.tmp"),
        *place.root.glob("refused/*/.*.tmp"),
        *place.stages.glob(".*.tmp"),
    ]
    unused = [path for path in sorted(place.stages.glob("[!.]*")) if path.name not in needed]
    doomed = [*leftovers, *unused]
    size = sum(item.stat().st_size for path in doomed for item in path.rglob("*") if item.is_file())
    for path in doomed:
        print(f"{'deleted' if yes else 'would delete'} {path.relative_to(place.root)}")
        if yes:
            shutil.rmtree(path)
    print(f"{len(doomed)} folders, {size / 1e6:,.1f} MB" + ("" if yes or not doomed else "; --yes deletes them"))
    return Outcome({"deleted": yes, "folders": [str(path) for path in doomed], "bytes": size})
