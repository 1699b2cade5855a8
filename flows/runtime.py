"""What must be settled before Prefect is imported: where it keeps its state, and how loud it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tasks.home import Home
from tasks.progress import Bars, Lines, show_with

DEFAULTS = {
    # The terminal has its own progress and error line; Prefect's log goes to its UI alone.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Without an API URL Prefect starts a server of its own for the run, on loopback.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_CLI_COLORS": "false",
}


def prepare(home: Path | str | None) -> Home:
    """Settle HOME and Prefect's environment, unless the user has; show progress on the terminal. Call before flows."""
    place = Home.at(home)
    os.environ.setdefault("PREFECT_HOME", str(place.prefect))
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    return place


def enter(home: Home) -> None:
    """Make Prefect's folder: it cannot make one in a HOME that does not exist. Call when the input has been checked."""
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)


def show_progress() -> None:
    """A bar on a terminal, a line a step elsewhere; on standard error, so that piped output stays clean."""
    from rich.console import Console

    console = Console(stderr=True)
    show_with(Bars(console) if console.is_terminal else Lines(sys.stderr))
