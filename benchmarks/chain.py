"""The steps of curation one after the other, without Prefect: for benchmarks that time each, and for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from data_policies.schema import Policy
from tasks.curation import steps
from tasks.curation.assemble import Curated
from tasks.curation.ingest import source_digests
from tasks.curation.records import Engine, Scorer
from tasks.curation.sources import SourceConfig
from tasks.home import Home
from tasks.stages import Stage

Around = Callable[[str], AbstractContextManager[Any]]
STEPS = ("ingest", "licences", "languages", "quality", "pii", "decide", "duplicates")


@contextmanager
def _nothing(name: str) -> Iterator[None]:
    yield


def chain(
    home: Home,
    sources: Sequence[SourceConfig],
    policy: Policy,
    engine: Engine = Engine(),
    around: Around = _nothing,
    scorers: Sequence[Scorer] | None = None,
    until: str = "duplicates",
) -> dict[str, Stage]:
    """The stages by name, up to and with `until`; `around(name)` is entered for each step. Toxicity is left out."""
    from tasks.curation.languages import Languages
    from tasks.curation.pii import Pii
    from tasks.curation.quality import Quality

    if policy.toxicity is not None:
        raise ValueError("this chain has no toxicity step: give it a policy without")
    given = scorers or (Languages(), Quality(tuple({"basic", *policy.quality})), Pii(home.key()))
    digests = source_digests(sources)
    done: dict[str, Stage] = {}

    def scored() -> list[Stage]:
        return [done[name] for name in ("licences", *(scorer.name for scorer in given))]

    work: dict[str, Callable[[], Stage]] = {
        "ingest": lambda: steps.ingest_stage(home, sources, digests),
        "licences": lambda: steps.licence_stage(home, done["ingest"], engine),
    }
    for scorer in given:
        work[scorer.name] = lambda scorer=scorer: steps.score_stage(home, done["ingest"], scorer, engine)  # type: ignore[misc]
    work["decide"] = lambda: steps.decide_stage(home, done["ingest"], scored(), policy)
    work["duplicates"] = lambda: steps.pairs_stage(home, done["ingest"], policy, engine)
    for name, step in work.items():
        with around(name):
            done[name] = step()
        if name == until:
            break
    return done


def curated(home: Home, stages: dict[str, Stage], name: str = "chain", validation: float = 0.05) -> Curated:
    """What `build_corpus` and `assemble` take."""
    between = [stage for key, stage in stages.items() if key not in ("ingest", "decide", "duplicates")]
    return Curated(
        name=name,
        curation_sha256="0" * 64,
        validation=validation,
        group_by="group",
        ingested=stages["ingest"],
        scored=between,
        decided=stages["decide"],
        pairs=stages["duplicates"],
        key_id=hashlib.sha256(home.key()).hexdigest()[:16],
    )
