"""docs/toxicity.png: where the CPU time of the cascade goes, beside Detoxify's.

python -m benchmarks.toxicity_plot         # from benchmarks/results/toxicity.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

PARTS = {
    "screen": "screen, on all",
    "sample": "model, on the sample of the cleared",
    "not_cleared": "model, on what the screen did not clear",
    "other_cleared": "model, on all others (the bound was not met)",
}


def plot(figures: dict[str, Any], path: Path) -> None:
    """Two bars a share of toxic documents, Detoxify and the cascade: CPU seconds for 1,000 documents."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 2.8), dpi=90)
    drawn: set[str] = set()
    for place, percent in enumerate((5, 1)):
        run = figures[f"{percent}_percent"]["behind_screen"]
        thousands = run["documents"] / 1000
        theirs, seconds = run["detoxify_cpu_seconds"] / thousands, run["cpu_seconds"]
        axes.barh(3 * place + 1, theirs, color="0.6", label=None if drawn else "Detoxify.predict, on all")
        left = 0.0
        for number, (part, label) in enumerate(PARTS.items()):
            width = seconds[part] / thousands
            if width:
                shown = "_" if part in drawn else label
                axes.barh(3 * place, width, left=left, color=f"C{number}", label=shown)
                drawn.add(part)
            left += width
        axes.text(left, 3 * place, f" {left:.0f} s: {run['ratio']:.1f} times faster", va="center", fontsize=8)
        axes.text(theirs, 3 * place + 1, f" {theirs:.0f} s", va="center", fontsize=8)
    axes.set_yticks([0, 1, 3, 4], ["cascade", "5 % toxic: Detoxify", "cascade", "1 % toxic: Detoxify"])
    axes.set_xlabel("CPU seconds for 1,000 documents, one thread")
    axes.margins(x=0.12)
    axes.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=4)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    plot(json.loads((RESULTS / "toxicity.json").read_text())["cascade"], RESULTS.parents[1] / "docs" / "toxicity.png")
