"""From scores and verdicts to the ledger's rows: erasures, redaction, duplicates, splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_policies.decide import SCREEN
from data_policies.licences import DETECTOR_VERSION
from data_policies.media_rules import GIVEN, KIND
from data_policies.schema import Policy
from data_policies.spdx import admitted
from tasks.curation import gate, shards
from tasks.curation.beside import Part, beside, put, side_by_side
from tasks.curation.ledger_rows import LedgerRows
from tasks.curation.media import extensions_of, kind_of, media_of
from tasks.stages import Stage, sha256_json

VERSION = 2  # 2: the ledger's column bytes


@dataclass(frozen=True)
class Curated:
    """What `build_corpus` needs: the finished stages and the choices of the recipe."""

    name: str
    curation_sha256: str
    validation: float
    group_by: str
    ingested: Stage
    scored: Sequence[Stage]  # licences, languages, quality, pii, media, captions, toxicity
    decided: Stage
    pairs: Stage
    key_id: str
    suppressed: tuple[str, ...] = ()  # record ids and content digests that were erased and must not come back

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.ingested, *self.scored, self.decided, self.pairs)

    @property
    def media(self) -> Stage | None:
        """The stage that made images or clips regular; None in a corpus of texts."""
        return media_of(self.scored)

    @property
    def extensions(self) -> tuple[str, ...]:
        """The members of a sample besides its JSON."""
        return extensions_of(self.media) if self.media else shards.TEXT

    def duplicate_threshold(self, policy: Policy) -> float:
        """The similarity from which one of two goes; 1 where only copies that are equal once made regular do."""
        if self.media is None:
            return policy.duplicates.threshold
        return {"image": policy.duplicates.images, "audio": policy.duplicates.audio}[kind_of(self.media)] or 1.0

    def steps(self) -> dict[str, int]:
        """The VERSION of every step, by its name."""
        return {stage.name: stage.version for stage in self.stages} | {
            "corpus": VERSION,
            "gate": gate.VERSION,
            "shards": shards.VERSION,
            "licence-detector": DETECTOR_VERSION,
        }

    def inputs_sha256(self, policy: Policy) -> str:
        """Digest of everything the version's bytes depend on, besides its parent."""
        return sha256_json(
            {
                "recipe": self.curation_sha256,
                "records": self.ingested.digest,
                "verdicts": self.decided.digest,
                "pairs": self.pairs.digest,
                "policy": policy.sha256(),
                "key": self.key_id,
                "suppressed": list(self.suppressed),
                "steps": self.steps(),
            }
        )


def assemble(curated: Curated, policy: Policy, verdicts: pa.Table | None = None) -> pa.Table:
    """All of `LedgerRows`, in memory."""
    with LedgerRows(curated, policy, verdicts) as rows:
        return pa.concat_tables(rows.blocks()).combine_chunks()


#: What the gate sees of the ledger...
LEDGER_SEEN = [
    *("record_id", "source", "split", "content_sha256", "sample_sha256", "licence", "language", "verdict", "rule"),
    *("rules", "policy_sha256", "survivor_id", "similarity", "spans", "bytes"),
]
#: ...and of the scores.
SCORED = ("toxicity.", "language_score", "quality.", "contamination.", KIND, GIVEN, "image.", "audio.", "pair.")


def gate_blocks(rows: LedgerRows, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The gate's view: derived columns only, never text. A block at a time, or some `columns` of the ledger's own."""
    if columns is not None:
        yield from rows.blocks(columns)
        return
    given = [_scores_of(stage, names) for stage in rows.curated.scored if (names := _seen_of(stage))]
    for block, *scored in zip(rows.blocks(LEDGER_SEEN), *given, strict=True):
        allowed = _allowed(block["licence"], rows.policy.licences.allow)
        frame = block.append_column("licence_allowed", allowed)
        for scores in scored:
            frame = _with_scores(frame, scores)
        yield frame


def _seen_of(stage: Stage) -> list[str]:
    """The columns of a stage's scores that the gate sees."""
    names = pq.read_schema(Path(stage.path) / "scores.parquet").names
    seen = [name for name in names if name.startswith(SCORED)]
    return [*seen, "scored_by"] if "toxicity.screen" in names else seen


def _scores_of(stage: Stage, names: Sequence[str]) -> Iterator[pa.Table]:
    return side_by_side([Part(Path(stage.path) / "scores.parquet", stage.name, names)])


def _with_scores(frame: pa.Table, scores: pa.Table) -> pa.Table:
    """Put a stage's scores beside the rows.

    The model's scores are 0 where the screen cleared, and ``screen_cleared`` is the screen's score there.
    """
    own = [name for name in scores.column_names if name != "scored_by" and name not in frame.column_names]
    frame = beside(frame, scores.select(["record_id", *own]), "scores")
    if "toxicity.screen" not in own:
        return frame
    cleared = pc.equal(scores["scored_by"], SCREEN)
    for column in frame.column_names:
        if column.startswith("toxicity.") and column != "toxicity.screen":
            frame = put(frame, column, pc.if_else(cleared, 0.0, frame[column]))
    return frame.append_column("screen_cleared", pc.if_else(cleared, scores["toxicity.screen"], 0.0))


def _allowed(licences: pa.ChunkedArray, allow: Sequence[str]) -> pa.ChunkedArray:
    allowed = [name for name in pc.unique(licences).to_pylist() if admitted(name or "", allow)]
    return pc.is_in(licences, pa.array(allowed, pa.string()))
