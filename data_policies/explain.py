"""A validation error as one line that names the key and what is allowed there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError


def explain(error: ValidationError, known: Sequence[str] = ()) -> tuple[str, str]:
    """(message, hint) of Pydantic's first complaint. `known`: the keys that are allowed there, for a suggestion."""
    problems = error.errors(include_url=False, include_input=False)
    # An unknown key explains the complaints that follow from it (the right key, misspelt, is missing too).
    first = next((problem for problem in problems if problem["type"] in UNKNOWN), problems[0])
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "(top level)"
    context: dict[str, Any] = first.get("ctx", {})
    allowed = context.get("expected", context.get("expected_tags", ""))
    hint = f"allowed: {allowed}" if allowed else ""
    if first["type"] in UNKNOWN:
        message = f"unknown key '{key}'"
        hint = hint or suggest(str(first["loc"][-1]), known) or "remove it"
    elif first["loc"] and first["loc"][-1] == "[key]":  # a mapping's key is none of those listed
        message = f"unknown key '{key}'"
        hint = suggest(str(first["loc"][-2]), re.findall(r"'([^']+)'", str(allowed))) or hint
    elif first["type"] in ("missing", "missing_argument"):
        message = f"the key '{key}' is missing"
    else:
        message = f"{key}: {first['msg'].removeprefix('Value error, ')}"
    if len(problems) > 1:
        message += f" (and {len(problems) - 1} more)"
    return message, hint


UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def suggest(wrong: str, known: Iterable[str]) -> str:
    """``did you mean 'x'? allowed: ...``; "" when nothing is known."""
    names = sorted(known)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    listed = f"allowed: {', '.join(names)}" if names else ""
    return f"did you mean '{near[0]}'? {listed}" if near else listed
