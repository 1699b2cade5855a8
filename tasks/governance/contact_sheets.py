"""Contact sheets: what a corpus of images or clips kept, and what each rule kept out, to be seen at a glance.

A picture for ``keep`` and one for every (verdict, rule) of the ledger, in ``contact-sheets/`` of the corpus version,
with ``sheets.json`` saying which records are on which. They are a view, no evidence: the manifest does not know them.
What is drawn was made regular by the media stage; what the stage refused is never decoded, a tile says why it was
refused. Texts beside images or clips are not drawn. Nothing that was erased from any corpus is drawn, in any version.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.curation.media import kind_of
from tasks.governance.contact_tiles import Tile, draw_sheet
from tasks.governance.ledger import VERDICTS, ledger_blocks
from tasks.governance.manifest import read_manifest, versions
from tasks.home import Home
from tasks.progress import progress
from tasks.stages import Stage, publish, read_stage

VERSION = 1
FOLDER = "contact-sheets"
LIST = "sheets.json"
KEPT, REFUSED = 36, 12  # tiles of a sheet at most
_COLUMNS = ["record_id", "content_sha256", "verdict", "rule", "value", "similarity", "detail"]

Sheet = dict[str, Any]


def write_sheets(home: Home, folder: Path) -> list[Sheet]:
    """Draw the contact sheets of the corpus version in `folder`, unless they are there; `read_sheets` of it.

    [] for a corpus of texts, and when the media stage is gone. The bytes depend on the ledger, the stage and what was
    erased: records are drawn by SHA-256 of their id, so that two versions show the same ones wherever both have them.
    """
    stage = _media_stage(home, folder)
    if stage is None:
        return []
    erased = erased_in(home)
    if _is_current(folder, erased):
        return read_sheets(folder)
    chosen, counts = _choose(folder, erased)
    manifest = read_manifest(folder)
    temporary = folder.with_name(f".{folder.name}-{FOLDER}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        _draw(temporary, f"{manifest.name}@v{manifest.version}", stage, chosen, counts)
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        publish(temporary, folder / FOLDER)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return read_sheets(folder)


def read_sheets(folder: Path) -> list[Sheet]:
    """The sheets that lie in the corpus version: {file, verdict, rule, of, records: [{record_id, content_sha256}]}.

    `of`: how many records of the ledger the sheet stands for. [] when there are none.
    """
    found: list[Sheet] = _listed(folder)["sheets"]
    return found


def forget_erased(home: Home) -> list[Path]:
    """Remove all sheets, of any version of any corpus, on which something is that was erased since; their folders."""
    erased = erased_in(home)
    stale = [path.parent for path in sorted((home.root / "corpora").glob(f"*/v*/{FOLDER}"))]
    stale = [folder for folder in stale if not _is_current(folder, erased)]
    for folder in stale:
        shutil.rmtree(folder / FOLDER)
    return stale


def erased_in(home: Home) -> frozenset[str]:
    """Record ids and content digests that the newest version of any corpus says were erased."""
    found: set[str] = set()
    for corpus in (home.root / "corpora").glob("*"):
        if numbers := versions(corpus):
            path = corpus / f"v{numbers[-1]}" / "suppressed.json"
            found.update(json.loads(path.read_text()) if path.is_file() else [])
    return frozenset(found)


def _listed(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / FOLDER / LIST).read_text())
    except (FileNotFoundError, ValueError):
        return {"version": None, "sheets": []}
    return found


def _is_current(folder: Path, erased: frozenset[str]) -> bool:
    listed = _listed(folder)
    on_them = {value for sheet in listed["sheets"] for record in sheet["records"] for value in record.values()}
    return listed["version"] == VERSION and not on_them & erased


def _media_stage(home: Home, folder: Path) -> Stage | None:
    recipe = folder / "recipe.json"
    names = json.loads(recipe.read_text()).get("stages", []) if recipe.is_file() else []
    found = next((home.stages / name for name in names if name.rpartition("-")[0] == "media"), None)
    return read_stage(found) if found is not None and found.is_dir() else None


def _choose(
    folder: Path, erased: frozenset[str]
) -> tuple[dict[tuple[str, str], list[dict[str, Any]]], dict[tuple[str, str], int]]:
    """(ledger rows to draw, number of rows) by (verdict, rule), from one pass over the ledger."""
    best: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = {}
    counts: dict[tuple[str, str], int] = {}
    for block in ledger_blocks(folder / "ledger", _COLUMNS):
        block = block.set_column(block.schema.get_field_index("rule"), "rule", pc.fill_null(block["rule"], ""))
        columns = [block[name].to_pylist() for name in ("record_id", "content_sha256", "verdict", "rule")]
        for row, (record, content, verdict, rule) in enumerate(zip(*columns, strict=True)):
            if record in erased or content in erased:
                continue
            kind = (verdict, rule)
            counts[kind] = counts.get(kind, 0) + 1
            heap = best.setdefault(kind, [])
            order = -int.from_bytes(hashlib.sha256(record.encode()).digest())
            limit = KEPT if verdict == "keep" else REFUSED
            if len(heap) < limit or order > heap[0][0]:
                push = heapq.heappush if len(heap) < limit else heapq.heapreplace
                push(heap, (order, block.slice(row, 1).to_pylist()[0]))
    kinds = sorted(best, key=lambda kind: (VERDICTS.index(kind[0]), kind[1]))
    return {kind: [row for _, row in sorted(best[kind], key=lambda one: -one[0])] for kind in kinds}, counts


def _draw(
    folder: Path,
    corpus: str,
    stage: Stage,
    chosen: dict[tuple[str, str], list[dict[str, Any]]],
    counts: dict[tuple[str, str], int],
) -> None:
    kind, sheets = kind_of(stage), []
    wanted = {row["record_id"] for rows in chosen.values() for row in rows}
    thumbnails = dict(_thumbnails(Path(stage.path), kind, wanted))
    for (verdict, rule), rows in chosen.items():
        file = re.sub(r"[^A-Za-z0-9._-]", "-", f"{verdict}-{rule}" if rule else verdict) + ".png"
        title = f"{corpus}: {verdict}{f' {rule}' if rule else ''}, {len(rows):,} of {counts[verdict, rule]:,}"
        tiles = [_tile(row, thumbnails.get(row["record_id"]), kind) for row in rows]
        (folder / file).write_bytes(draw_sheet(title, tiles))
        records = [{name: row[name] for name in ("record_id", "content_sha256")} for row in rows]
        sheets.append({"file": file, "verdict": verdict, "rule": rule, "of": counts[verdict, rule], "records": records})
    (folder / LIST).write_text(json.dumps({"version": VERSION, "sheets": sheets}, indent=1) + "\n")


def _tile(row: dict[str, Any], picture: Any, kind: str) -> Tile:
    value = row["value"] if row["value"] is not None else row["similarity"]
    told = "" if value is None else f"{value:.4g}"
    why = [] if picture is not None else [f"no {kind} to show", row["rule"]]
    if why and row["rule"].startswith("media."):  # such details say what was found in the file, never what it shows
        why.append(row["detail"] or "")
    return Tile(picture, [row["record_id"][:8], " ".join(filter(None, [row["rule"], told]))], why)


def _thumbnails(folder: Path, kind: str, wanted: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """(record_id, PIL image) of those of the wanted records that were made regular; in memory one row group at once."""
    ids = pa.array(sorted(wanted), pa.string())
    with (
        progress("contact sheets", len(ids)) as advance,
        pq.ParquetFile(folder / "regular.parquet", memory_map=False, pre_buffer=False) as file,
    ):
        for group in range(file.metadata.num_row_groups):
            here = pc.is_in(file.read_row_group(group, ["record_id"], use_threads=False)["record_id"], ids)
            if not pc.any(here).as_py():
                continue
            for row in file.read_row_group(group, use_threads=False).filter(here).to_pylist():
                advance(1)
                if row["regular"] is not None and (picture := _thumbnail(row["regular"], kind)) is not None:
                    yield row["record_id"], picture


def _thumbnail(data: bytes, kind: str) -> Any:
    """None when the bytes, regular as they are said to be, cannot be read: one tile is not worth a corpus."""
    from tasks.curation import audio_pictures
    from tasks.governance.contact_tiles import shrink

    try:
        return audio_pictures.thumbnail(data) if kind == "audio" else shrink(data)
    except (ValueError, OSError):
        return None
