"""What a person sees at the end of a verb: one screen, figures beside their baselines, and what to type next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tasks.home import Home

RULES_SHOWN = 14
PAIRED_NAMES = 54  # letters of two rules' names that fit beside each other on 80 columns
STYLE = {"keep": "green", "redact": "green", "drop": "yellow", "quarantine": "magenta"}


def console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def summary(home: Home, recipe: Any, outcome: dict[str, Any], stages: list[dict[str, Any]]) -> None:
    """The one screen of `gristmill run`."""
    out = console()
    corpus(home, outcome["curate"], out)
    training(outcome["pretrain"], out)
    evaluation(outcome["evaluate"], out)
    promoted = outcome["promote"]
    out.print(f"[bold]model[/bold]    {'promoted' if promoted['promoted'] else 'not promoted'}: {promoted['reason']}")
    reused = sum(stage["reused"] for stage in stages)
    out.print(f"[bold]stages[/bold]   {len(stages)}, of which {reused} were there already")
    links(home, outcome, out)


def corpus(home: Home, result: dict[str, Any], out: Console | None = None) -> None:
    """The closed ledger, the gate, the shards, the root."""
    out = out or console()
    counts = result["counts"]
    out.rule(f"[bold]{result['corpus']}@v{result['version']}[/bold]", align="left")
    parts = " + ".join(f"[{STYLE[name]}]{name} {counts[name]:,}[/]" for name in STYLE)
    out.print(f"[bold]read[/bold]     {counts['read']:,} = {parts}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
    rules = list(result["by_rule"].items())
    shown = rules[:RULES_SHOWN]
    half = (len(shown) + 1) // 2
    widths = [max((len(name) for name, _ in part), default=0) for part in (shown[:half], shown[half:])]
    pairs = 2 if sum(widths) <= PAIRED_NAMES else 1  # a name is never cut short
    half = half if pairs == 2 else len(shown)
    for column in range(2 * pairs):
        table.add_column(justify="right" if column % 2 else "left", no_wrap=True)
    for row in range(half):
        cells = [shown[at] for at in (row, row + half)[:pairs] if at < len(shown)]
        table.add_row(*(text for name, count in cells for text in (name, f"{count:,}")))
    out.print(table)
    if len(rules) > len(shown):
        out.print(f"         and {len(rules) - len(shown)} more rules, on the audit page")
    if widest := next((row for row in result.get("disparities", []) if row["refuses"] and row["certain"] > 1), None):
        most, least = widest["most"], widest["least"]
        out.print(
            f"[bold]widest[/bold]   {widest['rule']} hits {most['rate']:.1%} of {widest['dimension']} "
            f"{most['group'] or 'none'} and {least['rate']:.1%} of {least['group'] or 'none'}",
            soft_wrap=True,
        )
    if scorer := result.get("toxicity_model"):
        out.print(f"[bold]toxicity[/bold] scored by {scorer}")
    if screened := result.get("toxicity_screen"):
        out.print(f"         behind a screen: {cascade(screened)}", soft_wrap=True)
    gate = result["gate"]
    verdict = "[green]passed[/green]" if gate["passed"] else "[red]refused[/red]"
    out.print(f"[bold]gate[/bold]     {verdict}, {gate['checked']} expectations (Great Expectations)")
    splits = ", ".join(f"{name} {count:,}" for name, count in result["splits"].items())
    out.print(f"[bold]shards[/bold]   {result['shards']} WebDataset tars, {result['samples']:,} samples ({splits})")
    out.print(f"[bold]root[/bold]     {result['root']}")
    out.print(f"[bold]kept in[/bold]  {result['path']}", soft_wrap=True)
    if sheets := result.get("contact_sheets"):
        out.print(f"[bold]to see[/bold]   {sheets}", soft_wrap=True)


def cascade(report: dict[str, Any]) -> str:
    """How the toxicity screen did, in a line."""
    told = f"{report['screen_cleared']:,} of {report['documents']:,} cleared, {report['reason']}"
    if report["missed_per_cleared_upper"] is None:
        return told
    told += (
        f" ({report['missed']} toxic in a sample of {report['sampled']:,} cleared: at most "
        f"{report['missed_per_cleared_upper']:.5f} a cleared document, allowed {report['maximum_missed']:g}"
    )
    if share := report["missed_share_of_toxic"]:
        told += f"; {share['value']:.2%} of the toxic missed, {share['low']:.2%} to {share['high']:.2%}"
    return told + ")"


def training(result: dict[str, Any], out: Console | None = None) -> None:
    """Loss and speed."""
    out = out or console()
    out.rule(f"[bold]{result['run_id']}[/bold]", align="left")
    first = f" from {result['first_loss']:.3f}" if result.get("first_loss") else ""
    unit = "images" if (Path(result["encoder"]) / "preprocessor_config.json").is_file() else "useful tokens"
    speed = f", {result['tokens_per_second']:,.0f} {unit}/s" if result.get("tokens_per_second") else ""
    out.print(f"[bold]training[/bold] {result['steps']:,} steps, loss{first} to {result['loss']:.3f}{speed}")
    out.print(f"[bold]encoder[/bold]  {result['encoder']}", soft_wrap=True)


def evaluation(result: dict[str, Any], out: Console | None = None) -> None:
    """Each figure beside its baselines, with its interval."""
    out = out or console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    images = "image-probe" in (result.get("details") or {})
    table.add_column(f"measured on held-out {'images' if images else 'documents'}")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("n", justify="right")
    for metric in result["metrics"]:
        low, high = metric.get("low"), metric.get("high")
        interval = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else ""
        table.add_row(
            metric["name"].removeprefix("eval/"),
            f"{metric['value']:.4f}",
            interval,
            f"{metric.get('n') or '':,}" if metric.get("n") else "",
        )
    out.print(table)
    for remark in result.get("remarks", []):
        out.print(f"         {remark}")


def links(home: Home, outcome: dict[str, Any], out: Console) -> None:
    """The commands that open what was made."""
    out.rule("[bold]look at it[/bold]", align="left")
    uri = outcome["mlflow"].get("uri") or f"sqlite:///{home.mlflow / 'mlflow.db'}"
    for title, command in (
        ("MLflow", f"mlflow ui --backend-store-uri {uri}"),
        ("Prefect", f"PREFECT_HOME={home.prefect} prefect server start"),
        ("audit", f"gristmill audit report {outcome['curate']['corpus']} --home {home.root}"),
        ("page", outcome["audit"]["report"]),
    ):
        out.print(f"[bold]{title:<9}[/bold]{command}", soft_wrap=True)


def comparison(runs: list[str], rows: list[dict[str, Any]]) -> None:
    """Runs as columns."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for run_id in runs:
        table.add_column(run_id, justify="right")
    for row in rows:
        values = [row["values"].get(run_id) for run_id in runs]
        table.add_row(
            row["name"],
            *(
                f"{value:.4g}" if isinstance(value, float) else str(value if value is not None else "")
                for value in values
            ),
        )
    console().print(table)


def difference(result: dict[str, Any]) -> None:
    """What another policy would change."""
    out = console()
    out.print(
        f"{result['corpus']} under {result['policy']['name']}: "
        f"{result['changed']:,} of {result['records']:,} records change"
    )
    table = Table(box=None, pad_edge=False)
    for title in ("source", "now", "then", "records", "example"):
        table.add_column(title, justify="right" if title == "records" else "left")
    for row in result["changes"]:
        table.add_row(row["source"], row["now"], row["then"], f"{row['records']:,}", row["examples"][0])
    out.print(table)
    if result["needs_scoring"]:
        out.print(f"{result['needs_scoring']:,} records would need scores that no earlier policy asked for")


def erasure(result: dict[str, Any]) -> None:
    """What was, or would be, taken out, and who had seen it."""
    out = console()
    would = "would be " if result["dry_run"] else ""
    for item in result["corpora"]:
        target = "" if result["dry_run"] else f" -> v{item['version']}, root {item['root'][:16]}"
        out.print(f"{item['corpus']}@v{item['from_version']}{target}: {len(item['records'])} records {would}erased")
        out.print(f"  shards {would}rewritten: {', '.join(item['shards_rewritten'])}")
        still = ", ".join(f"v{number}" for number in item["versions_that_still_hold_them"])
        out.print(f"  still on disk in {still}: delete those folders when no one needs them")
    for run in result["runs"]:
        names = ", ".join(f"{m['model']} v{m['version']}" for m in run["models"]) or "no registered model"
        out.print(f"  seen by run {run['run_id']} from step {run['first_step']} ({names})")
    out.print(
        "nothing was changed; add --yes to do it" if result["dry_run"] else f"certificate: {result['certificate']}"
    )
