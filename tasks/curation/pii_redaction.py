"""A text without what was found in it: typed placeholders, or pseudonyms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import regex

_HEX_32 = regex.compile("[0-9a-f]{32}")


def placeholder(kind: str) -> str:
    """What stands for a redacted value: ``<EMAIL>``, ``<CREDENTIALS_URL>``."""
    return f"<{kind.upper()}>"


def pseudonym(kind: str, value_hmac: str) -> str:
    """What stands for a pseudonymised value: ``<EMAIL_3f9a12bc>``, the first 8 hex of the ledger's keyed hash.

    One value, however it is written, has one pseudonym in every record and version curated with one key. 32 bits: among
    10,000 distinct values of a type two share one with a probability of 1 in 86. ValueError without a hash.
    """
    if not _HEX_32.fullmatch(value_hmac or ""):
        raise ValueError("a span has no keyed hash to make a pseudonym of")
    return f"<{kind.upper()}_{value_hmac[:8]}>"


def redact(text: str, spans: Sequence[Mapping[str, Any]], actions: Mapping[str, str] | None = None) -> str:
    """The text with each span whose action is ``redact`` or ``pseudonymise`` replaced by what stands for it.

    `actions` gives the action by type; None: the spans' own ``action``. ValueError when spans overlap or lie outside,
    or when a span that asks for a pseudonym has no hash.
    """
    parts: list[str] = []
    position = 0
    for span in sorted(spans, key=lambda span: span["start"]):
        if not position <= span["start"] < span["end"] <= len(text):
            raise ValueError(f"the span [{span['start']}, {span['end']}) overlaps another or lies outside the text")
        action = span["action"] if actions is None else actions.get(span["type"], "keep")
        parts.append(text[position : span["start"]])
        if action == "redact":
            parts.append(placeholder(span["type"]))
        elif action == "pseudonymise":
            parts.append(pseudonym(span["type"], span["value_hmac"]))
        elif action in ("", "keep", "drop"):
            parts.append(text[span["start"] : span["end"]])
        else:
            raise ValueError(f"no action is named {action!r}")
        position = span["end"]
    return "".join(parts) + text[position:]
