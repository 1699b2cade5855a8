"""Make data_policies/licence_tables/{spdx,texts}.tsv from the SPDX License List.

    python benchmarks/licence_tables.py SPDX_FULL_JSON

SPDX_FULL_JSON: ``{identifier: {name, osiApproved, licenseText}}``, as npm's `spdx-license-list` (CC0-1.0) ships in
``spdx-full.json``. The texts themselves are not kept: their normalised words are hashed.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from data_policies.licence_texts import ANCHOR, digest, tokens
from data_policies.spdx import canonical, known_identifiers

FOLDER = Path(__file__).parent.parent / "data_policies" / "licence_tables"
SHORTEST = 12  # words: what is shorter is said by many texts
END = "end of terms and conditions"


def variants(words: list[str]) -> list[tuple[list[str], str]]:
    """(words, "" for the licence itself or "-" for an appendix that grants nothing) of one text.

    Long texts circulate without their title and without the how-to that follows "end of terms and conditions".
    """
    found = [(words, "")]
    joined = " ".join(words) + " "
    if END in joined:
        body, appendix = joined.split(END + " ", 1) if joined.count(END) == 1 else (joined.rsplit(END + " ", 1))
        found += [((body + END).split(), ""), (body.split(), ""), (appendix.split(), "-")]
    if (
        at := joined.find("gnu general public license version 3 29 june 2007", 2000)
    ) > 0:  # the GPL, appended to the LGPL
        found.append((joined[:at].split(), ""))
    for begin in (
        "preamble",
        "terms and conditions for use reproduction and distribution",
        "statement of purpose",
        "creative commons legal code",
    ):
        found += [
            (words_[words_.index(begin.split()[0], at) :], kind)
            for words_, kind in list(found)
            if kind == "" and (at := _find(words_, begin.split())) > 0
        ]
    found += [(words_[at:], kind) for words_, kind in list(found) if kind == "" and (at := _title_end(words_)) > 0]
    return found


def _find(words: list[str], part: list[str]) -> int:
    """Where `part` begins in `words`, within the first 200 words; -1 if nowhere."""
    return next((at for at in range(min(200, len(words))) if words[at : at + len(part)] == part), -1)


#: A beginning that says one of these is part of the licence, and no title.
TERMS = re.compile(
    r"\b(may|must|agree|subject|provided|exclusive|warranty|except|grants?|acknowledges|research|export|if|permission"
    r"|material|condition|constraint|only|not|restricted|use|under|following)\b"
)


def _title_end(words: list[str]) -> int:
    """Where the grant begins after a title; 0 where the beginning is no mere title."""
    starts = (
        "redistribution and use",
        "permission is hereby",
        "permission to use",
        "this software is provided",
        "everyone is permitted",
    )
    end = min((at for start in starts if (at := _find(words, start.split())) >= 0), default=0)
    return end if end <= 25 and not TERMS.search(" ".join(words[:end])) else 0


def main(path: str) -> None:
    listed = json.loads(Path(path).read_text(encoding="utf-8"))
    known = set(known_identifiers().values())
    listed = {name: row for name, row in sorted(listed.items()) if name in known}
    spdx = [f"{name}\t{' '.join(row['name'].split())}\t{int(row['osiApproved'])}" for name, row in listed.items()]
    head = "# SPDX License List (npm spdx-license-list 6.12.0), licences that license-expression knows too:\n"
    head += "# identifier, full name, OSI-approved (1) or not (0).\n"
    (FOLDER / "spdx.tsv").write_text(
        head + "# Made by benchmarks/licence_tables.py (list: CC0-1.0).\n" + "\n".join(spdx) + "\n", encoding="utf-8"
    )
    rows: dict[tuple[str, str], tuple[str, int, str]] = {}
    meant: dict[str, set[str]] = {}
    for name, row in listed.items():
        identifier = canonical(name)
        if (
            identifier != name or "invariants" in name
        ):  # deprecated twins, and GFDL grants that the text does not tell apart
            continue
        for words, kind in variants(tokens(row["licenseText"])[0]):
            if len(words) < SHORTEST:
                continue
            hashed = digest(words)
            meant.setdefault(hashed, set()).add(kind or re.sub("-or-later$", "-only", identifier))
            rows[hashed, kind] = (
                kind or re.sub("-or-later$", "-only", identifier),
                len(words),
                " ".join(words[:ANCHOR]),
            )
    # A text that stands for two licences decides nothing; OFL-1.1, -RFN and -no-RFN are one licence with a remark.
    stems = {
        hashed: min(names, key=len)
        for hashed, names in meant.items()
        if all(name.startswith(min(names, key=len)) for name in names)
    }
    texts = sorted(
        f"{stems[hashed]}\t{count}\t{hashed}\t{anchor}"
        for (hashed, _), (_, count, anchor) in rows.items()
        if hashed in stems
    )
    head = "# Licence texts by hash: identifier (- for an appendix), number of words,\n"
    head += "# first 32 hex of SHA-256 of the normalised words, first words.\n"
    (FOLDER / "texts.tsv").write_text(
        head
        + "# Made by benchmarks/licence_tables.py from the SPDX License List (npm spdx-license-list 6.12.0).\n"
        + "\n".join(texts)
        + "\n",
        encoding="utf-8",
    )
    twice = sorted({tuple(sorted(names)) for names in meant.values() if len(names) > 1})
    print(f"{len(spdx)} licences, {len(texts)} texts; the same text for: {twice}")


if __name__ == "__main__":
    main(sys.argv[1])
