"""One table of what curation was measured at: each figure, the peer's, the ratio and the bar, from results/*.json.

python -m benchmarks.curation_table
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import RESULTS

Figures = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """`value` and `peer` are read from results/`file`.json; `holds` says whether a value meets the bar."""

    part: str
    what: str
    file: str
    value: Callable[[Figures], float]
    bar: str
    holds: Callable[[float], bool]
    peer: Callable[[Figures], str] | None = None


def at_least(bound: float) -> Callable[[float], bool]:
    return lambda value: value >= bound


def at_most(bound: float) -> Callable[[float], bool]:
    return lambda value: value <= bound


def _f2_lead(figures: Figures) -> float:
    unseen = figures["generator"]["unseen"]
    return unseen["gristmill"]["all"]["f2"] - unseen["presidio"]["all"]["f2"]


def _worst_threshold(figures: Figures) -> float:
    return max(run["share"] for run in figures["runs"].values() if "share" in run)


LINES = [
    Line("2", "a changed threshold, worst share of the full CPU time", "redecide", _worst_threshold, "<= 0.10",
         at_most(0.1)),
    Line("3", "License-Expression hidden: wrongly permissive", "licences",
         lambda d: d["hold_out"]["wrongly_permissive"], "0", at_most(0)),
    Line("3", "License-Expression hidden: agreement of the concluded", "licences",
         lambda d: d["hold_out"]["agreement_of_concluded"], "reported", at_least(0)),
    Line("3", "DEP-5 stanzas concluded by name", "licences",
         lambda d: d["coverage_debian"]["share_concluded_by_stanzas"], "aim 0.97", at_least(0.97)),
    Line("4", "adversarial set: precision", "pii", lambda d: d["adversarial"]["gristmill_exact"]["all"]["precision"],
         ">= 0.98", at_least(0.98)),
    Line("4", "adversarial set: recall", "pii", lambda d: d["adversarial"]["gristmill_exact"]["all"]["recall"],
         ">= 0.98", at_least(0.98)),
    Line("4", "generated sentences, unseen templates: precision", "pii",
         lambda d: d["generator"]["unseen"]["gristmill"]["all"]["precision"], ">= 0.98", at_least(0.98),
         lambda d: str(d["generator"]["unseen"]["presidio"]["all"]["precision"])),
    Line("4", "generated sentences, unseen templates: recall", "pii",
         lambda d: d["generator"]["unseen"]["gristmill"]["all"]["recall"], ">= 0.98", at_least(0.98),
         lambda d: str(d["generator"]["unseen"]["presidio"]["all"]["recall"])),
    Line("4", "F2 less Presidio's, unseen templates", "pii", _f2_lead, ">= 0", at_least(0)),
    Line("4", "speed, ratio to Presidio", "pii", lambda d: d["speed"]["ratio"], ">= 50", at_least(50),
         lambda d: f"{d['speed']['presidio']['mb_per_s']} MB/s"),
    Line("4", "MB/s per core", "pii", lambda d: d["speed"]["gristmill"]["mb_per_s"], "aim 40", at_least(40)),
    Line("5", "batched scorer alone, ratio to Detoxify.predict", "toxicity",
         lambda d: d["scorer_alone"]["ratio"], ">= 2", at_least(2)),
    Line("5", "largest difference of a score", "toxicity",
         lambda d: d["scorer_alone"]["largest_difference_of_a_score"], "<= 0.01", at_most(0.01)),
    Line("5", "behind a screen, 1 % toxic, ratio to Detoxify.predict", "toxicity",
         lambda d: d["cascade"]["1_percent"]["behind_screen"]["ratio"], ">= 5", at_least(5)),
    Line("5", "behind a screen, 5 % toxic, ratio to Detoxify.predict", "toxicity",
         lambda d: d["cascade"]["5_percent"]["behind_screen"]["ratio"], "reported", at_least(0)),
    Line("6", "verdicts agree with datatrove's, all rules", "quality", lambda d: d["agreement_of_all_rules"],
         ">= 0.995", at_least(0.995)),
    Line("6", "documents a second, ratio to datatrove's chain", "quality", lambda d: d["times_faster"],
         ">= 10, aim 25", at_least(10), lambda d: f"{d['datatrove_documents_per_second']} documents/s"),
    Line("7", "planted pairs: recall at J >= 0.8", "duplicates", lambda d: d["recall"]["recall"], ">= 0.98",
         at_least(0.98)),
    Line("7", "removals below the threshold", "duplicates", lambda d: d["recall"]["removals_below_threshold"], "0",
         at_most(0)),
    Line("7", "boilerplate: share lost", "duplicates", lambda d: d["boilerplate"]["share_lost"], "<= 0.001",
         at_most(0.001)),
    Line("7", "boilerplate: recall on true copies", "duplicates",
         lambda d: d["boilerplate"]["recall_on_true_copies"], ">= 0.98", at_least(0.98)),
    Line("7", "speed of the step, ratio to datatrove's four", "duplicates", lambda d: d["speed"]["ratio"], ">= 30",
         at_least(30), lambda d: f"{d['speed']['datatrove_documents_per_second']} documents/s"),
    Line("7", "peak RSS of the step at the largest size, GiB", "scale",
         lambda d: d["sizes"][-1]["steps"]["duplicates"]["peak_rss_mib"] / 1024, "< 2", lambda value: value < 2,
         lambda d: f"{d['sizes'][-1]['documents']:,} documents"),
    Line("8", "planted leaks found", "contamination", lambda d: d["found"], ">= 0.99", at_least(0.99)),
    Line("8", "false alarms", "contamination", lambda d: d["false_alarms"], "<= 0.001", at_most(0.001)),
    Line("10", "ledger, bytes a record", "ledger", lambda d: d["bytes_a_record"], "<= 150", at_most(150)),
    Line("10", "ledger, share of the run's time", "scale",
         lambda d: max(size["ledger_share_of_time"] for size in d["sizes"]), "<= 0.10", at_most(0.1)),
    Line("10", "trace in the process at 1,000,000 records, ms", "ledger",
         lambda d: d["trace_in_process"]["median_ms"], "<= 50", at_most(50)),
    Line("10", "trace as a whole command, s", "ledger", lambda d: d["trace_command_seconds"], "<= 1", at_most(1)),
    Line("11", "cost a document, 1,000,000 against 100,000", "scale", lambda d: d["summary"]["cost_ratio"], "<= 1.15",
         at_most(1.15)),
    Line("11", "peak RSS: growth beyond the signatures', worst step, MiB", "scale",
         lambda d: max(d["summary"]["peak_rss_growth_mib"].values()) - d["summary"]["signatures_growth_mib"], "<= 0",
         at_most(0), lambda d: f"signatures {d['summary']['signatures_growth_mib']} MiB"),
]  # fmt: skip


def rows() -> Iterator[tuple[str, str, str, str, str, str]]:
    """(part, what, figure, peer, bar, met) a line; "not measured" where there is no result."""
    for line in LINES:
        path = RESULTS / f"{line.file}.json"
        try:
            figures = json.loads(path.read_text())
            value = float(line.value(figures))
            peer = line.peer(figures) if line.peer else ""
        except (OSError, KeyError, ValueError):
            yield line.part, line.what, "not measured", "", line.bar, ""
            continue
        met = "" if line.bar == "reported" else "yes" if line.holds(value) else "NO"
        yield line.part, line.what, f"{value:,.4g}", peer, line.bar, met


def main() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "what", "measured", "peer", "bar", "met", title="Curation, as measured (results/*.json)")
    for row in rows():
        table.add_row(*row)
    Console(width=132).print(table)


if __name__ == "__main__":
    main()
