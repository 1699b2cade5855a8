"""What a licence asks of those who pass the work on: attribution, notice, share-alike."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from data_policies.spdx import leaves

KINDS = ("attribution", "notice", "share-alike")
_BY_CATEGORY = {"Copyleft": KINDS, "Copyleft Limited": KINDS, "Permissive": KINDS[:2], "Public Domain": ()}


@cache
def _categories() -> dict[str, str]:
    """SPDX identifier -> its class in the licence database that `license-expression` ships."""
    index = json.loads(
        (files("license_expression") / "data" / "scancode-licensedb-index.json").read_text(encoding="utf-8")
    )
    return {row["spdx_license_key"]: row["category"] for row in index if row["spdx_license_key"]}


@cache
def _table() -> tuple[tuple[str, tuple[str, ...]], ...]:
    text = (files("data_policies") / "licence_tables" / "obligations.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return tuple((pattern, () if value == "-" else tuple(value.split(","))) for pattern, value in rows)


@cache
def obligations(expression: str) -> str:
    """Comma-joined, in the order of KINDS; "" for none and for an unknown expression.

    Of ``A OR B`` both are listed: which one is taken is the user's choice, and a policy may admit either.
    """
    found = {kind for leaf in leaves(expression) for kind in _of(leaf.split(" WITH ")[0])}
    return ",".join(kind for kind in KINDS if kind in found)


def _of(identifier: str) -> tuple[str, ...]:
    for pattern, kinds in _table():
        if fnmatchcase(identifier, pattern):
            return kinds
    return _BY_CATEGORY.get(_categories().get(identifier, ""), ())
