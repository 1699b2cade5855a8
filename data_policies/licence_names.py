"""Free-text licence names -> readings: SPDX expressions, trove classifiers, DEP-5 short names, card tags.

Every rule matches the whole name. A word left over ("MIT, non-commercial") makes the name unknown.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.resources import files

from data_policies.licence_rules import bsd, creative_commons_name, gnu
from data_policies.readings import Reading, exact, from_table, identifiers_like
from data_policies.spdx import canonical, known_exceptions, known_identifiers, leaves, parse

LONGEST = 300  # characters; what is longer, or has several lines, is a text


def read_table(name: str) -> list[str]:
    """The rows of a table of `licence_tables`; lines that start with # are comments."""
    text = (files("data_policies") / "licence_tables" / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def table(name: str) -> dict[str, str]:
    """The first two columns of a table."""
    return dict(line.split("\t")[:2] for line in read_table(name))


def key(name: str) -> str:
    """A name's normal form: lower case, single spaces, versions without v, no article and no word for licence."""
    name = unicodedata.normalize("NFKC", name).lower().replace("licence", "license").replace("®", "").replace("™", "")
    name = re.sub(r"[\"'`´‘’“”()\[\]{},;:<>_/|–—*#=-]+", " ", name)
    name = re.sub(r"\b(?:version|vers|ver|v)\.?\s*(?=\d)", "", name)
    name = re.sub(r"(?<!\d)\.|\.(?!\d)", " ", name)  # a dot belongs between digits only
    kept = [
        word for word in name.split() if word not in ("the", "license", "licenses", "licensed", "under", "agreement")
    ]
    return " ".join(kept)


@cache
def _names() -> dict[str, Reading]:
    """Normal form -> reading: the SPDX list's full names, then our table, which has the last word."""
    full: dict[str, Reading] = {}
    twice = set()
    for name, identifier in ((name, identifier) for identifier, name in table("spdx.tsv").items()):
        normal = key(name)
        if normal in full and full[normal].licence != canonical(identifier):
            twice.add(normal)
        full[normal] = exact(identifier, name)
    ours = {_row_key(name): from_table(value, name) for name, value in table("names.tsv").items()}
    # These are names in themselves, and their normal form is empty.
    bare = {name: Reading("silent", name) for name in ("license", "licence", "")}
    return {normal: reading for normal, reading in full.items() if normal not in twice} | ours | bare


def _row_key(name: str) -> str:
    return name if name.startswith("=") else key(name)


@cache
def _classifiers() -> dict[str, str]:
    return {name.lower(): value for name, value in table("classifiers.tsv").items()}


def read_classifier(value: str) -> list[Reading]:
    """A trove classifier; those not about licences say nothing, unlisted ones are unknown."""
    parts = [" ".join(part.split()) for part in value.split("::")]
    if parts[0].lower() != "license":
        return [Reading("silent", value)]
    name = " :: ".join(parts[1:])
    row = _classifiers().get(name.lower())
    return [from_table(row, name) if row else Reading("unknown", name)]


@lru_cache(maxsize=8192)
def read_name(value: str) -> list[Reading]:
    """A name in free text; a list (``['mit', 'cc-by-4.0']``, a card's tags) gives one reading an item."""
    value = " ".join(value.split()).strip(" .;,'\"")
    if items := _items(value):
        return [reading for item in items for reading in read_name(item)]
    if value.lower().startswith("license :: "):
        return read_classifier(value)
    value = re.sub(r"^(?:spdx-license-identifier|license)\s*:\s*", "", value, flags=re.I)
    return [_compound(value)]


def read_expression(value: str) -> list[Reading]:
    """An SPDX expression by the publisher's word; what is no expression is read as a name."""
    value = " ".join(value.split())
    if value.upper() in ("", "NONE", "NOASSERTION"):
        return [Reading("silent", value)]
    if parse(value) is not None:
        return [_loosen(exact(value, value), value)]
    return read_name(value)


def _items(value: str) -> list[str]:
    """The items of a list literal; [] when `value` is none."""
    if not (value.startswith("[") and value.endswith("]")) or len(value) > LONGEST:
        return []
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        parsed = value[1:-1].split(",")
    return [str(item).strip() for item in parsed if str(item).strip()] if isinstance(parsed, list) else []


def _loosen(reading: Reading, as_found: str) -> Reading:
    """A bare GNU version ("GPL-3.0") is at peace with -only and with -or-later; it concludes -only."""
    bare = re.fullmatch(r"((?:A|L)?GPL|GFDL)-(\d\.\d)", as_found.strip(), flags=re.I)
    if reading.kind != "exact":
        return reading
    return exact(reading.licence, as_found, [f"{bare[1].upper()}-{bare[2]}-*"]) if bare else reading


def _compound(value: str, depth: int = 0) -> Reading:
    """``A or B, and C`` as DEP-5 has it: a comma binds weaker than or, or weaker than and."""
    if len(value) > LONGEST or depth > 20 or "and/or" in value.lower():
        return Reading("unknown", value[:80])
    value = re.sub(r",?\s*\(?at your (?:option|choice)\)?,?", "", value, flags=re.I)
    value = re.sub(r",?\s+or\s+(?:any\s+)?(?:later|newer|above)(?:\s+versions?)?", "+", value, flags=re.I)
    whole = _leaf(value)
    if whole.kind != "unknown" or "(" in value:
        return whole
    spaced = value.replace("_", " ") if " " not in value else value
    for separator, operator in (
        (r",\s*and\s+", "AND"),
        (r",\s*or\s+", "OR"),
        (r"\s+or\s+", "OR"),
        (r"(?:\s+and\s+|\s+&\s+)", "AND"),
    ):
        parts = re.split(separator, spaced, flags=re.I)
        if len(parts) > 1:
            return _join([_compound(part, depth + 1) for part in parts], operator, value)
    return whole


def _join(parts: list[Reading], operator: str, value: str) -> Reading:
    if any(part.kind == "unknown" for part in parts):
        return Reading("unknown", value)
    texts = [part.licence if part.kind == "exact" else "" for part in parts]
    if "GPL-1.0-or-later" in texts:  # the terms of Perl itself: its Artistic License is the one of Perl
        texts = ["Artistic-1.0-Perl" if text == "Artistic-1.0" else text for text in texts]
    if not all(texts):  # one part is only a family: the whole may be any of them, and concludes nothing
        patterns = [pattern for part in parts for pattern in (*part.among, *leaves(part.licence))]
        return Reading("family", value, among=tuple(dict.fromkeys(patterns))) if patterns else Reading("vague", value)
    return exact(f" {operator} ".join(f"({text})" for text in texts), value, [p for part in parts for p in part.among])


def _leaf(value: str) -> Reading:
    """One licence, or an SPDX expression. Our table comes first, in it the rows for a name as it stands (=name)."""
    if reading := _names().get(f"={value.lower()}") or _names().get(key(value)):
        return _loosen(reading, value)
    if parse(value) is not None:
        return _loosen(exact(value, value), value)
    for rule in _RULES:
        if reading := rule(key(value), value):
            return reading
    return Reading("unknown", value[:80])


@cache
def _exceptions() -> dict[str, tuple[str, str]]:
    """An exception's everyday name -> its identifier beside version 2 and beside version 3; "" where there is none."""
    rows = (line.split("\t") for line in read_table("exceptions.tsv"))
    return {name: (second.strip("-"), third.strip("-")) for name, second, third in rows}


_WITH = re.compile(r"(.+?)[ -]+(?:with[ -]+)?(?:the[ -]+)?([a-z][a-z0-9. -]*?)[ -]+exceptions?", re.I)


def _exception(normal: str, value: str) -> Reading | None:
    """GPL-3+ with Bison exception, GPL-2+-libtool-exception: the exception that fits the licence's version."""
    if not (found := _WITH.fullmatch(value)) or " or " in value.lower() or " and " in value.lower():
        return None
    base = _leaf(found[1])
    if base.licence.startswith("LGPL") and found[2].lower() == "openssl":  # its text is another one
        return None
    if base.kind != "exact" or len(leaves(base.licence)) != 1 or " WITH " in base.licence:
        return None
    asked = re.sub(r"[ -]+", " ", found[2].lower())
    third = "-3." in base.licence
    name = _exceptions().get(asked, ("", ""))[third] or known_exceptions().get(
        f"{asked.replace(' ', '-')}-exception", ""
    )
    return exact(f"{base.licence} WITH {name}", value, base.among) if name else None


def _hyphenated(normal: str, value: str) -> Reading | None:
    """An SPDX identifier in other punctuation: EUPL 1.2, "EPL v2"."""
    stem = normal.replace(" ", "-")
    return next(
        (exact(name, value) for name in (stem, f"{stem}.0") if name in known_identifiers() and normal != stem), None
    )


_RULES: tuple[Callable[[str, str], Reading | None], ...] = (gnu, creative_commons_name, bsd, _exception, _hyphenated)


def candidates(reading: Reading) -> tuple[str, ...]:
    """Every SPDX identifier that a reading leaves open, sorted."""
    return tuple(sorted({name for pattern in reading.among for name in identifiers_like(pattern)}))
