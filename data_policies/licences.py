"""Licence evidence -> what is declared, what is concluded, and why. A doubt is a problem, never a licence.

Each (field, value) becomes readings (`data_policies.readings`); `conclude` weighs them. Nothing here decides whether a
licence is allowed: that is the policy's (`data_policies.spdx.admitted`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from data_policies.licence_names import LONGEST, candidates, read_classifier, read_expression, read_name
from data_policies.licence_texts import recognise
from data_policies.licence_urls import read_url
from data_policies.obligations import obligations
from data_policies.opt_outs import FIELDS as OPT_OUT_FIELDS
from data_policies.readings import Reading, exact
from data_policies.spdx import canonical, leaves

#: The concluded expression changes with these tables and rules; raise it when either does.
DETECTOR_VERSION = 3

PROBLEMS = ("", "missing", "unknown", "conflict", "vendored")
FIELDS = ("expression", "name", "text", "url", "classifier", "vendored")  # the order of authority
DECLARED_LENGTH = 200
DETAIL_LENGTH = 400
LONGEST_LINE = 1000  # characters of a value that are looked at for `declared` and `detail`


@dataclass(frozen=True)
class Conclusion:
    """What follows from one record's licence evidence.

    `licence`: concluded SPDX expression, "" with any problem. `problem`: one of PROBLEMS. `detail`: which field matched
    what. `declared`: as found, one line. `obligations`: comma-joined from attribution, notice, share-alike.
    """

    licence: str
    problem: str
    detail: str
    declared: str
    obligations: str


def conclude(fields: Sequence[tuple[str, str]]) -> Conclusion:
    """Weigh (field, value) pairs; fields as in FIELDS, or ``file``. ValueError on a field that is none of them.

    A ``file`` is a licence file that lies beside: it is asked only when nothing else names a licence ("BSD" as a name
    and "BSD License" as a classifier do not say which), and then as a ``text``. The order of the pairs does not count,
    except in `declared` and `detail` among pairs of the same field.
    """
    fields = [pair for pair in fields if pair[0] not in OPT_OUT_FIELDS]  # no word on the licence
    if strange := sorted({field for field, _ in fields} - {*FIELDS, "file"}):
        raise ValueError(f"unknown licence evidence field {strange[0]!r}; known: {', '.join(FIELDS)}, file")
    stated = [pair for pair in fields if pair[0] != "file"]
    files = [("text", value) for field, value in fields if field == "file"]
    concluded = _conclude(stated)
    if files and concluded.problem in ("unknown", "missing"):
        with_files = _conclude([*stated, *files])
        if not with_files.problem or not stated:
            return with_files
    return concluded


def _conclude(fields: Sequence[tuple[str, str]]) -> Conclusion:
    ordered = sorted(fields, key=lambda pair: FIELDS.index(pair[0]))
    vendored = [value for field, value in ordered if field == "vendored"]
    own = [(field, value) for field, value in ordered if field != "vendored"]
    readings = [reading for field, value in own for reading in _read(field, value)]
    readings = [reading for reading in readings if reading.kind != "silent"]
    licence, problem, reason = _weigh(readings)
    if vendored and not readings:
        problem, reason = "vendored", f"inside {_line(vendored[0])[:60]}"
    detail = "; ".join(part for part in (reason, *(_evidence(reading) for reading in readings)) if part)
    return Conclusion(licence, problem, _cut(detail, DETAIL_LENGTH), _declared(own), obligations(licence))


def _read(field: str, value: str) -> list[Reading]:
    if field in ("expression", "name") and ("\n" in value.strip() or len(value) > LONGEST):
        field = "text"
    elif field in ("name", "text") and re.fullmatch(r"<?https?://\S+", value.strip(), flags=re.I):
        field = "url"
    readers: dict[str, Callable[[str], list[Reading]]] = {
        "expression": read_expression,
        "name": read_name,
        "classifier": read_classifier,
        "url": read_url,
        "text": _read_text,
    }
    return [reading.at(field) for reading in readers[field](value)]


def _read_text(text: str) -> list[Reading]:
    """A whole text; a text of one short line is a name."""
    if not text.strip():
        return [Reading("silent", "")]
    if "\n" not in text.strip() and len(text) <= LONGEST:
        return read_name(text)
    found = recognise(text)
    size = f"sha256 {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    if not found.licences:
        part = f", {', '.join(found.fragments)} and more" if found.fragments else ""
        return [
            Reading(
                "unknown", f"{size}{part}", among=found.fragments, note="forbids" if _forbids(found.leftover) else ""
            )
        ]
    # A GNU text does not say whether later versions are granted: the notice beside the program does.
    loose = [
        re.sub(r"(-only|-or-later)$", "-*", name) for name in found.licences if name.endswith(("-only", "-or-later"))
    ]
    return [exact(" AND ".join(found.licences), size, loose)]


_FORBIDS = re.compile(
    r"non ?-?commercial|commercial use|commons clause|no derivat|proprietary|confidential|trade secret"
    r"|evaluation|academic|research (?:purposes? )?only"
    r"|(?:may|must|shall) not (?:be )?(?:use|copy|copied|distribut|sell|sold|train)"
    r"|machine learning|artificial intelligence|\bai\b"
    r"|prior written (?:consent|approval) of|for good,? not evil|prohibited from"
)


def _forbids(text: str) -> bool:
    return bool(_FORBIDS.search(text.lower()))


def _weigh(readings: list[Reading]) -> tuple[str, str, str]:
    """(licence, problem, reason)."""
    if not readings:
        return "", "missing", ""
    exacts = [reading for reading in readings if reading.kind == "exact"]
    exacts.sort(key=lambda reading: (FIELDS.index(reading.field), -len(leaves(reading.licence)), reading.licence))
    families = [reading for reading in readings if reading.kind == "family"]
    unknown = [reading for reading in readings if reading.kind == "unknown"]
    if not exacts:
        if _disjoint(families):
            return "", "conflict", f"{families[0].field} and another field name different licences"
        return "", "unknown", "no field names its licence" if not unknown else f"{unknown[0].field} not recognised"
    chosen = _primary(exacts)
    for reading in exacts:
        if not _agrees(reading, chosen):
            return "", "conflict", f"{chosen.field} says {chosen.licence}, {reading.field} says {reading.licence}"
    for reading in families:
        if not any(reading.covers(leaf) for leaf in leaves(chosen.licence)):
            return "", "conflict", f"{chosen.field} says {chosen.licence}, {reading.field} says {reading.matched}"
    for reading in unknown:
        if problem := _doubt(reading, chosen):
            return "", problem, f"{chosen.field} says {chosen.licence}, {reading.field} not recognised"
    return chosen.licence, "", ""


def _primary(exacts: list[Reading]) -> Reading:
    """The reading of the field with the most authority; where it is loose, the first that says it precisely."""
    top = exacts[0]
    if not top.among or len(leaves(top.licence)) > 1:
        return top
    precise = (other for other in exacts if not other.among and len(leaves(other.licence)) == 1 and _agrees(top, other))
    return next(precise, top)


def _agrees(reading: Reading, chosen: Reading) -> bool:
    """Is all that `reading` names within what `chosen` names? The same licences joined differently disagree.

    Beside "MIT OR Apache-2.0" a classifier "MIT" is no conflict; a second name "MIT" is: which of the two holds?
    """
    if reading.licence == chosen.licence:
        return True
    own, wanted = leaves(reading.licence), leaves(chosen.licence)
    if reading.field == chosen.field and len(own) != len(wanted):
        return False
    if len(own) > 1 and set(own) == set(wanted):
        return _same_terms(reading.licence, chosen.licence)
    covered = all(leaf in wanted or any(leaf == name.split(" WITH ")[0] for name in wanted) for leaf in own)
    return covered or (len(own) == 1 and any(reading.covers(leaf) for leaf in wanted))


def _same_terms(one: str, other: str) -> bool:
    """The same operator over the same terms, in whatever order."""
    kinds = {operator for expression in (one, other) for operator in ("AND", "OR") if f" {operator} " in expression}
    return len(kinds) == 1 and "(" not in one + other


def _doubt(reading: Reading, chosen: Reading) -> str:
    """The problem that an unrecognised field makes beside a recognised one; "" where it makes none.

    A publisher's expression or name stands beside a text that has more in it than that licence (third parties'
    notices), unless the rest forbids something. An address of the project's own copy says nothing against a name.
    All else is doubt.
    """
    stated = chosen.field in ("expression", "name")
    if reading.field == "text" and stated and not reading.note:
        named = leaves(chosen.licence)
        fits = any(
            fragment in named or fragment in (leaf.split(" WITH ")[0] for leaf in named) for fragment in reading.among
        )
        return "" if chosen.field == "expression" or fits or not reading.among else "conflict"
    if reading.field == "url" and stated:
        return ""
    if reading.matched in ("dual", "multiple", "mixed", "various") and len(leaves(chosen.licence)) > 1:
        return ""
    return "unknown"


def _disjoint(families: list[Reading]) -> bool:
    """Do two of these leave no licence in common?"""
    sets = [set(candidates(reading)) for reading in families]
    return any(not (one & other) for index, one in enumerate(sets) for other in sets[index + 1 :])


def _evidence(reading: Reading) -> str:
    said = {
        "exact": reading.licence,
        "family": "|".join(reading.among),
        "vague": "no licence named",
        "unknown": "not recognised",
    }[reading.kind]
    shown = (
        ""
        if reading.kind == "exact" and canonical(reading.matched) == reading.licence
        else f" ({_line(reading.matched)[:80]})"
    )
    note = f", {reading.note}" if reading.note and reading.kind == "exact" else ""
    return f"{reading.field}: {said}{shown}{note}"


def _declared(fields: Iterable[tuple[str, str]]) -> str:
    """The value of the field with the most authority, in one line; classifiers together."""
    pairs = [(field, value) for field, value in fields if value.strip()]
    classifiers = "; ".join(
        value for field, value in pairs if field == "classifier" and value.lower().startswith("license")
    )
    for field, value in pairs:
        if field == "classifier":
            break
        if "\n" in value.strip() or len(value) > LONGEST:
            return _summary(value)
        if _line(value).upper() not in ("UNKNOWN", "NONE"):
            return _cut(_line(value), DECLARED_LENGTH)
    return _cut(_line(classifiers), DECLARED_LENGTH)


def _summary(text: str) -> str:
    """``text: <first line> (sha256 abcdef012345, N bytes)``, without the holder's name where another line will do."""
    lines = [line.strip() for line in text.splitlines() if re.search(r"\w", line)]
    first = next(
        (line for line in lines if not re.match(r"\W*(?:\(c\)|©|copyright|portions)", line, flags=re.I)),
        lines[0] if lines else "",
    )
    data = text.encode("utf-8", "surrogatepass")
    tail = f" (sha256 {hashlib.sha256(data).hexdigest()[:12]}, {len(data)} bytes)"
    return "text: " + _cut(_line(first), DECLARED_LENGTH - 6 - len(tail)) + tail


def _line(value: str) -> str:
    """One printable line without e-mail addresses: it goes into the ledger."""
    line = re.sub(r"\S+@\S+", "<email>", " ".join(value[:LONGEST_LINE].split()))  # cut first: the pattern is quadratic
    return "".join(character if character.isprintable() else "?" for character in line)


def _cut(line: str, length: int) -> str:
    return line if len(line) <= length else line[: length - 3] + "..."


@cache
def tables_digest() -> str:
    """Hex SHA-256 of the detector's tables, in the order of their names."""
    folder = files("data_policies") / "licence_tables"
    digest = hashlib.sha256()
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith((".tsv", ".txt")):
            digest.update(f"{entry.name}\0".encode() + entry.read_bytes())
    return digest.hexdigest()
