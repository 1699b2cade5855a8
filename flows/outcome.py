"""How every verb ends: one JSON envelope, one line for an error, one exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import GristmillError, Stopped, UserError


@dataclass
class Outcome:
    """What a verb did: stages touched, and the result that ``--json`` writes."""

    result: Any = None
    stages: list[dict[str, Any]] = field(default_factory=list)


def conclude(verb: str, json_file: Path | None, work: Callable[[], Outcome]) -> None:
    """Run a verb's work, write the envelope, print an error as one line, and leave with the exit code."""
    outcome = Outcome()
    error: GristmillError | None = None
    try:
        if json_file is not None and not json_file.absolute().parent.is_dir():
            raise UserError("the folder of --json does not exist", where=str(json_file), hint="create it first")
        outcome = work()
    except KeyboardInterrupt:
        error = Stopped("stopped", hint="run the same command again: it goes on from where it was")
    except GristmillError as caught:
        error = caught
    except Exception as caught:  # noqa: BLE001 - the last stand: a bug is reported as one, with its traceback
        error = _wrapped(caught)
        if error is None:
            _write(json_file, verb, outcome, {"message": f"a bug: {type(caught).__name__}", "where": "", "hint": ""}, 1)
            traceback.print_exc()
            _leave(1)
    if error is None:
        _write(json_file, verb, outcome, None, 0)
        _leave(0)
    assert error is not None
    outcome.result = error.result
    described = {"message": error.message, "where": error.where, "hint": error.hint}
    _write(json_file, verb, outcome, described, error.exit_code)
    print(one_line(error), file=sys.stderr)
    _leave(error.exit_code)


def one_line(error: GristmillError) -> str:
    """What was wrong, where, and what to do, on one line."""
    where = f" [{error.where}]" if error.where else ""
    hint = f" ({error.hint})" if error.hint else ""
    return " ".join(f"gristmill: {error.message}{where}{hint}".split())


def _wrapped(error: BaseException) -> GristmillError | None:
    """Our error inside another library's (Prefect wraps what a task raises)."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, GristmillError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _write(path: Path | None, verb: str, outcome: Outcome, error: dict[str, str] | None, code: int) -> None:
    if path is None or not path.absolute().parent.is_dir():
        return
    envelope = {
        "verb": verb,
        "ok": code == 0,
        "exit_code": code,
        "error": error,
        "stages": outcome.stages,
        "result": outcome.result,
    }
    path.write_text(json.dumps(envelope, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def _leave(code: int) -> None:
    """Leave without waiting for other libraries' threads: after an interrupt Daft's would not end."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code == Stopped.exit_code:
        os._exit(code)
    sys.exit(code)
