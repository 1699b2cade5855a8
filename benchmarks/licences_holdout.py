"""How right the licence detector is on what this machine has installed: a figure, not a test.

    python -m benchmarks.licences_holdout

Hold-out: for every installed distribution with License-Expression, hide it, conclude from its other fields and its
licence files and notices, and compare. Wrongly permissive: some allow-list admits the conclusion and refuses the truth.
Coverage: the share of distributions, and of Debian's DEP-5 stanzas, that are concluded rather than quarantined.
Writes benchmarks/results/licences.json. Nothing of the packages' texts is kept.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from typing import Any

from benchmarks.machine import write
from data_policies.licences import DETECTOR_VERSION, conclude, tables_digest
from data_policies.spdx import admitted, canonical, leaves

LICENCE_FILE = re.compile(r"(?:^|/)(?:licen[cs]e|copying|unlicense|notice)[^/]*$", re.I)
Pairs = list[tuple[str, str]]


def evidence(found: Distribution) -> tuple[str, Pairs, Pairs]:
    """(License-Expression, short fields, licence files, asked last, at the top of its licence folder)."""
    meta = found.metadata
    fields: Pairs = [("name", meta["License"])] if meta.get("License") else []
    fields += [("classifier", value) for value in meta.get_all("Classifier") or [] if value.startswith("License")]
    texts: Pairs = []
    for name in meta.get_all("License-File") or []:
        text = found.read_text(f"licenses/{name}") or found.read_text(name)
        if text and LICENCE_FILE.search(name):
            texts.append(("file", text))
    return meta.get("License-Expression") or "", fields, texts


def wrongly_permissive(truth: str, concluded: str) -> bool:
    """Is there an allow-list that admits `concluded` and not `truth`? Then the conclusion gives away too much.

    It is enough to try the subsets of the licences of `concluded`: a list with more only admits more of `truth`.
    """
    names = leaves(concluded)
    subsets = ([name for bit, name in enumerate(names) if mask >> bit & 1] for mask in range(1, 1 << len(names)))
    return any(admitted(concluded, allow) and not admitted(truth, allow) for allow in subsets)


def hold_out(found: list[Distribution]) -> dict[str, object]:
    tally: Counter[str] = Counter()
    differ, permissive = [], []
    for distribution in found:
        stated, fields, texts = evidence(distribution)
        if not (truth := canonical(stated)):
            continue
        result = conclude([*fields, *texts])
        if result.problem:
            tally[result.problem] += 1
            continue
        same = result.licence == truth or set(leaves(result.licence)) == set(leaves(truth))
        tally["agree" if same else "differ"] += 1
        if not same:
            differ.append([distribution.metadata["Name"], truth, result.licence])
        if wrongly_permissive(truth, result.licence):
            permissive.append([distribution.metadata["Name"], truth, result.licence])
    total, concluded = sum(tally.values()), tally["agree"] + tally["differ"]
    return {
        "distributions": total,
        "concluded": concluded,
        "agree": tally["agree"],
        "agreement_of_concluded": round(tally["agree"] / concluded, 4),
        "outcomes": dict(sorted(tally.items())),
        "differ": differ,
        "wrongly_permissive": len(permissive),
        "wrongly_permissive_cases": permissive,
    }


def coverage(found: list[Distribution]) -> dict[str, object]:
    """All fields, as a source reads them."""
    problems: Counter[str] = Counter()
    strings: dict[str, bool] = {}
    for distribution in found:
        stated, fields, texts = evidence(distribution)
        short: Pairs = ([("expression", stated)] if stated else []) + fields
        problems[conclude([*short, *texts]).problem or "concluded"] += 1
        strings |= {value: not conclude([(field, value)]).problem for field, value in short}
    return {
        "distributions": len(found),
        "outcomes": dict(sorted(problems.items())),
        "share_concluded": round(problems["concluded"] / len(found), 4),
        "distinct_strings": len(strings),
        "distinct_strings_concluded": sum(strings.values()),
    }


def stanzas(text: str) -> list[tuple[str, str]]:
    """(short name, the text that stands below it or "") for every ``License:`` field of a DEP-5 file."""
    found = re.findall(r"^License:[ \t]*(.*)((?:\n[ \t].*)*)", text, re.M)
    return [(name.strip(), re.sub(r"^[ \t]+\.?", "", body, flags=re.M).strip()) for name, body in found if name.strip()]


def debian(folder: Path = Path("/usr/share/doc")) -> dict[str, object]:
    """DEP-5 licence fields of every copyright file that declares the format, by count of stanzas.

    A packager's own name ("permissive", "BSD-variant") says nothing by itself: the second share also reads the text
    that the file gives for a name that is not concluded.
    """
    names: Counter[str] = Counter()
    files, by_text = 0, 0
    for path in sorted(folder.glob("*/copyright")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if re.match(r"\s*Format(?:-Specification)?:", text):
            files += 1
            found = stanzas(text)
            names.update(name for name, _ in found)
            texts = {name: body for name, body in found if body}
            unclear = (name for name, _ in found if conclude([("name", name)]).problem)
            by_text += sum(1 for name in unclear if name in texts and not conclude([("text", texts[name])]).problem)
    known = {name for name in names if not conclude([("name", name)]).problem}
    total = sum(names.values())
    by_name = sum(names[name] for name in known)
    unknown = [[name, count] for name, count in names.most_common() if name not in known and len(name) < 60]
    return {
        "files": files,
        "stanzas": total,
        "distinct_names": len(names),
        "distinct_names_concluded": len(known),
        "share_concluded_by_stanzas": round(by_name / total, 4) if total else None,
        "share_concluded_with_the_files_text": round((by_name + by_text) / total, 4) if total else None,
        "commonest_unknown": unknown[:25],
    }


def main() -> None:
    started = time.process_time()
    unique = {
        found.metadata["Name"].lower(): found
        for found in distributions()
        if found.metadata["Name"] not in (None, "gristmill")
    }
    found = [unique[name] for name in sorted(unique)]
    result: dict[str, Any] = {
        "detector": {
            "version": DETECTOR_VERSION,
            "tables": tables_digest(),
            "license-expression": version("license-expression"),
        },
        "hold_out": hold_out(found),
        "coverage_distributions": coverage(found),
        "coverage_debian": debian(),
    }
    result["cpu_seconds"] = round(time.process_time() - started, 2)
    print(write("licences", result).read_text())


if __name__ == "__main__":
    main()
