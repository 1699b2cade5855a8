"""What one piece of licence evidence says: the unit that `data_policies.licences.conclude` weighs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

from data_policies.spdx import canonical, known_identifiers, leaves

#: exact: names its licence. family: narrows it down. vague: says that there is one. unknown: cannot be read.
#: silent: says nothing.
Kind = Literal["exact", "family", "vague", "unknown", "silent"]


@dataclass(frozen=True, slots=True)
class Reading:
    """`licence`: canonical SPDX expression (exact only). `among`: glob patterns of the licences that it may mean.

    An exact reading may be loose too: the classifier "GPLv3" concludes GPL-3.0-only, at peace with GPL-3.0-or-later.
    `matched` names the table entry or rule that hit; `note` is a reservation for the record.
    """

    kind: Kind
    matched: str
    licence: str = ""
    among: tuple[str, ...] = ()
    field: str = ""
    note: str = ""

    def covers(self, leaf: str) -> bool:
        """May this reading mean the licence `leaf` (an identifier, or ``ID WITH EXCEPTION``)?"""
        base = leaf.split(" WITH ")[0]
        own = leaves(self.licence)
        return leaf in own or base in own or any(fnmatchcase(base, pattern) for pattern in self.among)

    def at(self, field: str) -> Reading:
        return replace(self, field=field)


def exact(licence: str, matched: str, among: Iterable[str] = (), note: str = "") -> Reading:
    """A reading that names its licence; unknown when SPDX does not list it."""
    if not (known := canonical(licence)):
        return Reading("unknown", matched)
    return Reading("exact", matched, known, tuple(among), note=note)


def family(patterns: str, matched: str) -> Reading:
    """A reading that leaves a choice among identifiers (comma-separated globs)."""
    return Reading("family", matched, among=tuple(patterns.split(",")))


def from_table(value: str, matched: str) -> Reading:
    """A table's cell: an SPDX expression, ``~GLOB,GLOB`` (family), ``EXPRESSION ~GLOB`` (loose), ``?`` (vague),
    ``!`` (unknown), ``-`` (silent)."""
    if value == "?":
        return Reading("vague", matched)
    if value == "!":
        return Reading("unknown", matched)
    if value == "-":
        return Reading("silent", matched)
    licence, _, patterns = value.partition("~")
    if not licence:
        return family(patterns, matched)
    return exact(licence.strip(), matched, patterns.split(",") if patterns else ())


@cache
def identifiers_like(pattern: str) -> tuple[str, ...]:
    """The SPDX identifiers that a glob stands for, sorted."""
    return tuple(sorted({name for name in known_identifiers().values() if fnmatchcase(name, pattern)}))
