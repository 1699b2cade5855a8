"""report, trace, verify, diff, erase: what is in it, may we, and take this out."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.common import artifact_key, flow_run_name
from tasks.errors import VerificationFailed
from tasks.governance import verification
from tasks.governance.manifest import find_corpus
from tasks.governance.report import write_report
from tasks.home import Home
from tasks.prefect_task import as_task

verify_task = as_task(verification.verify, "verify")


@flow(name="audit", flow_run_name=flow_run_name, persist_result=False)
def audit(corpus: str, home: str | None = None) -> dict[str, Any]:
    """Verify every byte of a corpus version and write its report; VerificationFailed when bytes differ."""
    place = Home.at(home)
    folder = find_corpus(place, corpus)
    findings = verify_task(folder)
    path, values = write_report(place, folder)
    manifest = values["manifest"]
    name = f"{manifest['name']}@v{manifest['version']}"
    counts = manifest["counts"]
    create_markdown_artifact(
        key=artifact_key(manifest["name"], "audit"),
        markdown=(
            f"# Audit of {name}\n\n**{len(findings)} findings** in a comparison of every byte with the manifest\n\n"
            f"read {counts['read']:,}, kept {counts['keep'] + counts['redact']:,}; root `{manifest['root']}`\n\n"
            f"The page: `{path}`\n"
        ),
        description="Verification and report",
    )
    if findings:
        first = findings[0]
        raise VerificationFailed(
            f"{len(findings)} findings, the first: {first['path']} {first['kind']} {first['record_id'] or ''}".strip(),
            where=str(folder),
            hint="curate again, or restore the version from a copy",
        )
    return {"corpus": name, "verified": True, "root": manifest["root"], "report": str(path)}
