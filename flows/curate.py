"""sources -> a gated corpus version (shards + ledger + manifest)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from prefect import flow, tags
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from data_policies.schema import Policy
from flows.common import artifact_key, flow_run_name, in_main_thread, resolve
from flows.preflight import digests, load_policy
from flows.recipe import Recipe
from tasks.curation import steps
from tasks.curation.assemble import Curated
from tasks.curation.media_stage import media_stage
from tasks.curation.pair_scores import pair_score_stage
from tasks.curation.records import Engine
from tasks.curation.toxicity_stage import toxicity_stage
from tasks.governance import bias, contact_sheets
from tasks.governance import corpus as corpora
from tasks.governance.ledger import ledger_blocks
from tasks.governance.manifest import Manifest
from tasks.governance.report import read_cascade
from tasks.home import Home
from tasks.prefect_task import as_task
from tasks.stages import Stage

ingest = as_task(steps.ingest_stage, "ingest")
protect = as_task(steps.protected_stage, "protect")
licences = as_task(steps.licence_stage, "licences")
score = as_task(steps.score_stage, "score")
toxicity = as_task(toxicity_stage, "toxicity")
decide = as_task(steps.decide_stage, "decide")
duplicates = as_task(steps.pairs_stage, "duplicates")
media_duplicates = as_task(steps.media_pairs_stage, "duplicates")
make_regular = as_task(media_stage, "media")
score_pairs = as_task(pair_score_stage, "score")
publish = as_task(corpora.build_corpus, "gate and shards")
draw_sheets = as_task(contact_sheets.write_sheets, "contact sheets")


@flow(name="curate", flow_run_name=flow_run_name, persist_result=False)
def curate(recipe: Recipe | str, home: str | None = None) -> dict[str, Any]:
    """Curate the recipe's sources into a corpus version under `home`.

    Raises UserError for a bad recipe, policy or source, Refused when the gate says no or nothing is kept.
    """
    recipe, place = resolve(recipe), Home.at(home)
    policy = load_policy(recipe.policy)
    with tags(recipe.name, policy.name):
        stages, curated = _score_and_decide(recipe, place, policy)
        inputs = curated.inputs_sha256(policy)
        found = corpora.corpus_version(place, recipe.name, inputs)
        folder, manifest = found or publish(place, curated, policy, recipe.engine())
        stages.append(Stage("corpus", inputs, found is not None, 0.0, str(folder)))
    outcome = describe(folder, manifest)
    if recipe.modality:
        draw_sheets(place, folder)
        outcome["contact_sheets"] = str(folder / contact_sheets.FOLDER)
    if found is None:
        _artifacts(outcome, policy)
    return {**outcome, "stages": [stage.public() for stage in stages]}


def _score_and_decide(recipe: Recipe, place: Home, policy: Policy) -> tuple[list[Stage], Curated]:
    from tasks.curation.captions import Captions
    from tasks.curation.contamination import Contamination
    from tasks.curation.ingest import source_digests
    from tasks.curation.languages import Languages
    from tasks.curation.pii import Pii
    from tasks.curation.pii_names import open_names
    from tasks.curation.protected import read_items
    from tasks.curation.quality import Quality

    engine: Engine = recipe.engine()
    in_main_thread(engine)
    names = open_names(policy.ner)  # a model that is not there is said before anything is read
    ingested = ingest(place, recipe.sources, digests(recipe))
    key = place.key()
    scored = [
        licences(place, ingested, engine),
        score(place, ingested, Languages(), engine),
        score(place, ingested, Quality(tuple({"basic", *policy.quality})), engine),
        score(place, ingested, Pii(key, names=names), engine),
    ]
    if recipe.modality:
        regular = make_regular(place, ingested, recipe.modality, recipe.captions, recipe.media, engine)
        scored += [regular, score(place, ingested, Captions(), engine)]
        if policy.pair_model is not None:
            scored.append(score_pairs(place, ingested, regular, policy.pair_model, engine))
    if recipe.protected.sets:
        items = protect(place, recipe.protected.sets, source_digests(recipe.protected.sets))
        scored.append(score(place, ingested, Contamination(read_items(items), recipe.protected.ngram_words), engine))
    if policy.toxicity is not None:
        scored.append(toxicity(place, ingested, scored, policy, engine, recipe.download_models))
    decided = decide(place, ingested, scored, policy)
    if recipe.modality:
        pairs = media_duplicates(place, ingested, regular, policy)
    else:
        pairs = duplicates(place, ingested, policy, engine)
    stages = [ingested, *scored, decided, pairs]
    curated = Curated(
        name=recipe.name,
        curation_sha256=recipe.curation_sha256(),
        validation=recipe.split.validation,
        group_by=recipe.split.group_by,
        ingested=ingested,
        scored=scored,
        decided=decided,
        pairs=pairs,
        key_id=hashlib.sha256(key).hexdigest()[:16],
        suppressed=corpora.suppressed_in(place, recipe.name),
    )
    return stages, curated


def describe(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """A corpus version as ``--json`` shows it."""
    tally = bias.Tally()
    rules: Counter[tuple[str, str | None]] = Counter()
    for block in ledger_blocks(folder / "ledger", [*bias.COLUMNS, "rule"]):
        tally.add(block)
        rules.update(zip(block["verdict"].to_pylist(), block["rule"].to_pylist(), strict=True))
    gate = json.loads((folder / "gate.json").read_text())
    failed = [item for item in gate["results"] if not item["passed"]]
    return {
        "corpus": manifest.name,
        "version": manifest.version,
        "root": manifest.root,
        "counts": manifest.counts.model_dump(),
        "by_rule": {f"{rule}": count for (_, rule), count in sorted(rules.items(), key=lambda x: -x[1]) if rule},
        "gate": {
            "passed": manifest.gate.passed,
            "checked": len(gate["results"]),
            "failed": [{"expectation": item["expectation"], "record_ids": item["record_ids"]} for item in failed],
        },
        "disparities": bias.disparities(tally.rates()),
        "shards": len(manifest.shards),
        "samples": sum(manifest.splits.values()),
        "splits": manifest.splits,
        "policy": manifest.policy.model_dump(),
        "toxicity_model": scored_by(folder),
        "toxicity_screen": read_cascade(folder),
        "path": str(folder),
    }


def scored_by(folder: Path) -> str:
    """Which toxicity model decided this version, in words; "" when the policy asks for none."""
    toxicity = json.loads((folder / "policy.json").read_text())["toxicity"]
    if toxicity is None:
        return ""
    model = toxicity["model"]
    return "the stand-in (Detoxify's architecture; not for production decisions)" if model == "stand-in" else model


def _artifacts(outcome: dict[str, Any], policy: Policy) -> None:
    gate = json.loads((Path(outcome["path"]) / "gate.json").read_text())
    create_table_artifact(
        key=artifact_key(outcome["corpus"], "gate"),
        table=[
            {"expectation": item["expectation"], "passed": item["passed"], "observed": str(item["observed"])}
            for item in gate["results"]
        ],
        description=f"The gate of {outcome['corpus']}@v{outcome['version']} under {policy.name}",
    )
    rows = "\n".join(f"| {rule} | {count:,} |" for rule, count in outcome["by_rule"].items())
    counts = outcome["counts"]
    sheets = f"\nContact sheets: `{outcome['contact_sheets']}`\n" if "contact_sheets" in outcome else ""
    create_markdown_artifact(
        key=artifact_key(outcome["corpus"], "ledger"),
        markdown=(
            f"# {outcome['corpus']}@v{outcome['version']}\n\nread {counts['read']:,} = keep {counts['keep']:,}"
            f" + redact {counts['redact']:,} + drop {counts['drop']:,} + quarantine {counts['quarantine']:,}\n\n"
            f"| rule | records |\n|---|---:|\n{rows}\n{sheets}"
        ),
        description="The closed ledger",
    )
