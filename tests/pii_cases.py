"""The adversarial set of personal data: hand-made texts with the exact places of what is in them."""

import re
from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).parent / "tasks" / "curation" / "cases" / "pii.tsv"
_ESCAPE = re.compile(r"\\(u[0-9a-f]{4}|n|\\)")
_MARK = re.compile(r"⟦(\w+)\|(.*?)⟧", re.DOTALL)


class Case(NamedTuple):
    """`spans`: (type, start, end) in code points of `text`, sorted."""

    kind: str
    what: str
    text: str
    spans: tuple[tuple[str, int, int], ...]


def _decoded(found: re.Match) -> str:
    sign = found[1]
    return {"n": "\n", "\\": "\\"}.get(sign) or chr(int(sign[1:], 16))


def read(path: Path = PATH) -> list[Case]:
    """Every case of the file."""
    cases = []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        kind, what, marked = line.split("\t")
        marked = _ESCAPE.sub(_decoded, marked.replace("‖", ""))
        spans, text, position = [], "", 0
        for mark in _MARK.finditer(marked):
            text += marked[position : mark.start()]
            spans.append((mark[1], len(text), len(text) + len(mark[2])))
            text += mark[2]
            position = mark.end()
        cases.append(Case(kind, what, text + marked[position:], tuple(spans)))
    return cases
