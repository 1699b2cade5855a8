"""Rules for the licence names that vary too much for a table: GNU, Creative Commons, n-clause BSD.

Each takes a name's normal form (`data_policies.licence_names.key`) and the name itself, and matches the whole of it or
returns None.
"""

from __future__ import annotations

import re

from data_policies.readings import Reading, exact, family
from data_policies.spdx import canonical

_GNU = {
    "gpl": "GPL",
    "general public": "GPL",
    "lgpl": "LGPL",
    "lesser general public": "LGPL",
    "library general public": "LGPL",
    "lesser gpl": "LGPL",
    "library gpl": "LGPL",
    "lpgl": "LGPL",
    "library or lesser general public": "LGPL",
    "lesser or library general public": "LGPL",
    "agpl": "AGPL",
    "affero general public": "AGPL",
    "affero gpl": "AGPL",
    "gfdl": "GFDL",
    "fdl": "GFDL",
    "free documentation": "GFDL",
}
_GNU_NAME = re.compile(
    r"(?:gnu )?(" + "|".join(sorted(_GNU, key=len, reverse=True)) + r")(?: (?:a|l)?gpl| gfdl| fdl)?( niv)?"
    r" ?v?(\d(?:\.\d)?)?(?:\.0)? ?(\+|or later|or newer|plus|only)?( no invariants?(?: sections?)?)?"
    r"(?: (?:a|l)?gpl ?v?\d(?:\.\d)?\+?)?(?: (?:29|30|19|3|june|november|february|1991|1999|2007|1989))*"
)
_GNU_VERSIONS = {
    "GPL": ("1.0", "2.0", "3.0"),
    "LGPL": ("2.0", "2.1", "3.0"),
    "AGPL": ("1.0", "3.0"),
    "GFDL": ("1.1", "1.2", "1.3"),
}


def gnu(normal: str, value: str) -> Reading | None:
    """GPL-2+, LGPLv2.1, "GNU General Public License v3 or later (GPLv3+)", GFDL-NIV-1.3+."""
    if not (found := _GNU_NAME.fullmatch(normal)):
        return None
    kind, version, later = _GNU[found[1]], found[3], found[4]
    if not version:
        return family(f"{kind}-*", value)
    version = version if "." in version else f"{version}.0"
    repeated = re.search(r"gpl ?v?(\d(?:\.\d)?)(\+?)$", normal)
    if version not in _GNU_VERSIONS[kind] or (repeated and not version.startswith(repeated[1])):
        return None
    suffix = "or-later" if (later and later != "only") or (repeated and repeated[2]) else "only"
    stem = f"{kind}-{version}" + ("-no-invariants" if found[2] or found[5] else "")
    loose = [f"{stem}-*"] if suffix == "only" and later != "only" else []
    return exact(f"{stem}-{suffix}", value, loose)


_CC_PARTS = {
    "attribution": "by",
    "noncommercial": "nc",
    "non commercial": "nc",
    "noderivatives": "nd",
    "noderivs": "nd",
    "no derivatives": "nd",
    "no derivs": "nd",
    "sharealike": "sa",
    "share alike": "sa",
}
#: The jurisdictions that Creative Commons ported its licences to: two other letters are no port but something else.
_CC_PORTS = (
    "ae|ar|at|au|az|be|bg|br|ca|ch|cl|cn|co|cr|cz|de|dk|ec|ee|eg|es|fi|fr|gb|ge|gr|gt|hk|hr|hu|ie|igo|il|in|it|jo|jp|kr|"
    "lu|mk|mt|mx|my|ng|nl|no|nz|pe|ph|pl|pr|pt|ro|rs|scotland|se|sg|si|th|tw|ug|uk|us|ve|vn|za"
)
_CC_NAME = re.compile(
    rf"(?:cc|creative commons) ?(by(?: (?:nc|nd|sa))*) ?(\d\.\d)?(?: ({_CC_PORTS}))?"
    r"(?: international| unported| generic| public| cc)*(?: cc by(?: (?:nc|nd|sa))* ?(?:\d\.\d)?)?"
)


def creative_commons_name(normal: str, value: str) -> Reading | None:
    """cc-by-sa-3.0-us, "Creative Commons Attribution Share Alike 4.0 International"."""
    for words, part in _CC_PARTS.items():
        normal = re.sub(rf"\b{words}\b", part, normal)
    normal = re.sub(r"(?<=by)(?=nc|nd|sa)|(?<=nc)(?=nd|sa)", " ", normal)
    if not (found := _CC_NAME.fullmatch(normal)):
        return None
    return creative_commons(found[1].split(), found[2] or "", found[3] or "", value)


def creative_commons(parts: list[str], version: str, port: str, matched: str) -> Reading:
    """The reading for a Creative Commons licence by its parts (by, nc, nd, sa), version and port.

    SPDX lists few ports; the others are concluded as the unported text of the same version, with a note.
    """
    order = [part for part in ("by", "nc", "nd", "sa") if part in parts]
    stem = "CC-" + "-".join(order).upper()
    if not version:
        return family(f"{stem}-[0-9]*", matched)
    wanted = f"{stem}-{version}"
    if port and (ported := canonical(f"{wanted}-{port.upper()}")):
        return exact(ported, matched)
    return exact(wanted, matched, note=f"port {port}" if port else "")


_BSD_CLAUSES = {"0": "0BSD", "1": "BSD-1-Clause", "2": "BSD-2-Clause", "3": "BSD-3-Clause", "4": "BSD-4-Clause"}
_BSD_WORDS = {"zero": "0", "one": "1", "two": "2", "three": "3", "four": "4"}
_BSD_NAME = re.compile(
    r"(?:(?:new|modified|revised|simplified) )?"
    r"(?:bsd ?(\d)(?: clauses?)?|(\d) clauses? bsd|bsd (?:new|simplified) (\d) clauses?)"
    r"(?: (?:new|or|revised|modified|simplified|freebsd))*"
)


def bsd(normal: str, value: str) -> Reading | None:
    """BSD-3, "3-Clause BSD", "BSD (three clause)", 'BSD 3-Clause "New" or "Revised" License'."""
    normal = " ".join(_BSD_WORDS.get(word, word) for word in normal.split())
    if not (found := _BSD_NAME.fullmatch(normal)):
        return None
    clauses = found[1] or found[2] or found[3]
    contradicts = ("simplified" in normal and clauses != "2") or (
        ("new" in normal or "revised" in normal) and clauses != "3"
    )
    return exact(_BSD_CLAUSES[clauses], value) if clauses in _BSD_CLAUSES and not contradicts else None
