"""`gristmill VERB`: one verb a flow. Heavy imports wait until a verb needs them, so that --help answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.outcome import Outcome, conclude

app = typer.Typer(
    name="gristmill",
    help="From raw corpora to models: curate, shard, pretrain, evaluate, promote, audit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
policies = typer.Typer(help="The rules that admit records.", no_args_is_help=True, rich_markup_mode="rich")
audit = typer.Typer(help="What is in it, may we, and take this out.", no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(policies, name="policies")
app.add_typer(audit, name="audit")

Home = Annotated[
    Path | None, typer.Option("--home", help="where everything is kept (else $GRISTMILL_HOME, else ./gristmill-home)")
]
Json = Annotated[Path | None, typer.Option("--json", help="write the outcome as JSON to this file")]
Set = Annotated[list[str] | None, typer.Option("--set", help="override a recipe's key: dotted.key=value (repeatable)")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="a shipped recipe's name or a YAML path")]


def example(*lines: str) -> str:
    return "[bold]Example[/bold]\n\n" + "\n\n".join(f"  $ gristmill {line}" for line in lines)


@app.command(epilog=example("run", "run my-recipe.yaml --set train.steps=200 --json outcome.json"))
def run(
    recipe: Annotated[
        str, typer.Argument(metavar="[RECIPE]", help="a shipped recipe's name or a YAML path")
    ] = "python-docs",
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """From corpus to model: curate, pretrain, evaluate, promote, audit."""
    from flows import verbs

    conclude("run", json, lambda: verbs.run(recipe, home, tuple(set or ())))


@app.command(epilog=example("curate python-docs", "curate my-recipe.yaml --home /data/gristmill"))
def curate(recipe: RecipeName, home: Home = None, json: Json = None, set: Set = None) -> None:
    """Sources -> a gated corpus version: shards, ledger, manifest."""
    from flows import verbs

    conclude("curate", json, lambda: verbs.curate(recipe, home, tuple(set or ())))


@app.command(epilog=example("pretrain python-docs", "pretrain python-docs --corpus python-docs@v2"))
def pretrain(
    recipe: RecipeName,
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="NAME@vN (else the newest version of the recipe's)")
    ] = None,
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """A corpus version -> a checkpoint, an encoder and an MLflow run."""
    from flows import verbs

    conclude("pretrain", json, lambda: verbs.pretrain(recipe, corpus, home, tuple(set or ())))


RunId = Annotated[str, typer.Argument(metavar="RUN", help="a run's id, as `gristmill ls` shows it")]


@app.command(epilog=example("evaluate python-docs-0123456789ab"))
def evaluate(run: RunId, home: Home = None, json: Json = None, set: Set = None) -> None:
    """A run -> held-out cross-entropy, linear probe, pictures, each beside its baselines."""
    from flows import verbs

    conclude("evaluate", json, lambda: verbs.evaluate(run, home, tuple(set or ())))


@app.command(epilog=example("promote python-docs-0123456789ab"))
def promote(run: RunId, home: Home = None, json: Json = None, set: Set = None) -> None:
    """Give a run's registered model the alias of its recipe, if its numbers allow it (exit 3 if not)."""
    from flows import verbs

    conclude("promote", json, lambda: verbs.promote(run, home, tuple(set or ())))


@app.command(epilog=example("compare python-docs-0123456789ab python-docs-ba9876543210"))
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="runs' ids")],
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """Runs side by side: what was set differently, what came out."""
    from flows import verbs

    conclude("compare", json, lambda: verbs.compare(runs, home))


@app.command(epilog=example("recipes", "recipes python-docs"))
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="show this one whole")] = None,
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """The recipes that ship with Gristmill."""
    from flows import shelf

    conclude("recipes", json, lambda: shelf.recipes(name, tuple(set or ())))


@policies.command("list", epilog=example("policies list"))
def policies_list(home: Home = None, json: Json = None, set: Set = None) -> None:
    """The policies that ship with Gristmill."""
    from flows import shelf

    conclude("policies list", json, shelf.policies_list)


@policies.command("show", epilog=example("policies show open-definition"))
def policies_show(
    name: Annotated[str, typer.Argument(help="a shipped policy's name or a YAML path")],
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """One policy, as it is written."""
    from flows import shelf

    conclude("policies show", json, lambda: shelf.policies_show(name))


@policies.command("check", epilog=example("policies check my-policy.yaml"))
def policies_check(
    name: Annotated[str, typer.Argument(help="a shipped policy's name or a YAML path")],
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """Is this a valid policy? Exit 2 names the key that is not."""
    from flows import shelf

    conclude("policies check", json, lambda: shelf.policies_check(name))


@policies.command(
    "calibrate",
    epilog=example("policies calibrate my-policy.yaml --corpus python-docs --texts hostile.jsonl --out screens/mine"),
)
def policies_calibrate(
    name: Annotated[str, typer.Argument(metavar="POLICY", help="a shipped policy's name or a YAML path")],
    out: Annotated[Path, typer.Option("--out", help="the folder to write the screen into")],
    corpus: Annotated[
        list[str] | None, typer.Option("--corpus", help="NAME[@vN]: learn from its stored scores (repeatable)")
    ] = None,
    texts: Annotated[
        list[str] | None, typer.Option("--texts", help="files to score and learn from: JSON lines ... (repeatable)")
    ] = None,
    teach: Annotated[
        list[str] | None, typer.Option("--teach", help="files to learn from only: the figures are of the others")
    ] = None,
    missed: Annotated[float, typer.Option("--missed", help="share of toxic texts that may be cleared")] = 0.01,
    clear: Annotated[float, typer.Option("--clear", help="share of harmless texts to clear, at most")] = 0.95,
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """Train and pin a cheap screen that clears harmless texts before the policy's toxicity model sees them."""
    from flows import calibrate

    conclude(
        "policies calibrate",
        json,
        lambda: calibrate.calibrate(
            name, tuple(corpus or ()), tuple(texts or ()), tuple(teach or ()), out, missed, clear, home
        ),
    )


CorpusName = Annotated[
    str, typer.Argument(metavar="NAME[@vN]", help="a corpus, its newest version unless one is named")
]


@audit.command("report", epilog=example("audit report python-docs"))
def audit_report(corpus: CorpusName, home: Home = None, json: Json = None, set: Set = None) -> None:
    """What is in a corpus version, by which rules, and which models saw it: a page."""
    from flows import verbs

    conclude("audit report", json, lambda: verbs.audit_report(corpus, home))


@audit.command("trace", epilog=example("audit trace 0123456789abcdef0123456789abcdef"))
def audit_trace(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="a record's id, a unique prefix of it, or its uri")],
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """One record: its verdict and rule, the corpora that hold it, the runs and models that saw it."""
    from flows import verbs

    conclude("audit trace", json, lambda: verbs.audit_trace(record, home))


@audit.command("verify", epilog=example("audit verify python-docs@v1"))
def audit_verify(corpus: CorpusName, home: Home = None, json: Json = None, set: Set = None) -> None:
    """Do the bytes match the manifest? Every shard, sample, the ledger and the root (exit 4 if not)."""
    from flows import verbs

    conclude("audit verify", json, lambda: verbs.audit_verify(corpus, home))


@audit.command("diff", epilog=example("audit diff python-docs --policy strict"))
def audit_diff(
    corpus: CorpusName,
    policy: Annotated[str, typer.Option("--policy", help="a shipped policy's name or a YAML path")],
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """What would this policy change? Decided from stored scores, nothing is scored again."""
    from flows import verbs

    conclude("audit diff", json, lambda: verbs.audit_diff(corpus, policy, home))


@audit.command("erase", epilog=example("audit erase 0123456789abcdef0123456789abcdef --reason 'request 17' --yes"))
def audit_erase(
    records: Annotated[list[str], typer.Argument(metavar="RECORD...", help="record ids, unique prefixes or uris")],
    reason: Annotated[str, typer.Option("--reason", help="why, for the certificate")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this only what would happen is shown")] = False,
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """Take records out: a new corpus version without them, and the list of the runs that saw them."""
    from flows import verbs

    conclude("audit erase", json, lambda: verbs.audit_erase(records, reason, yes, home))


@app.command(epilog=example("deploy --check", "deploy --check --file prefect.yaml"))
def deploy(
    check: Annotated[bool, typer.Option("--check", help="validate only; nothing is registered")] = False,
    file: Annotated[Path, typer.Option("--file", help="the deployment file")] = Path("prefect.yaml"),
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """Validate prefect.yaml offline: keys, entrypoints, parameters, schedules (Prefect itself has no dry run)."""
    from flows import deployments

    conclude("deploy", json, lambda: deployments.deploy(check, file))


@app.command(epilog=example("ls"))
def ls(home: Home = None, json: Json = None, set: Set = None) -> None:
    """The corpora and runs under HOME."""
    from flows import shelf

    conclude("ls", json, lambda: shelf.ls(home))


@app.command(epilog=example("gc", "gc --yes"))
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="delete; without this only what would go is shown")] = False,
    home: Home = None,
    json: Json = None,
    set: Set = None,
) -> None:
    """Delete stages that no corpus version was made from, and what an interrupted run left behind."""
    from flows import shelf

    conclude("gc", json, lambda: shelf.gc(home, yes))


def main(arguments: list[str] | None = None) -> Any:
    """The console entry point."""
    return app(arguments)


__all__ = ["Outcome", "app", "main"]

if __name__ == "__main__":
    main()
