"""Errors that a person can cause or must act on: what was wrong, where, what to do, and the exit code."""

from __future__ import annotations

from pydantic import ValidationError


class GristmillError(Exception):
    """An outcome with an exit code of its own; printed as one line, never as a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "", result: object = None) -> None:
        super().__init__(message)
        self.message, self.where, self.hint = message, where, hint
        self.result = result  # what there is to show for it, such as the findings of a verification

    def __reduce__(self):  # Prefect carries exceptions between threads and processes
        return _rebuild, (type(self), self.message, self.where, self.hint)


def _rebuild(kind: type[GristmillError], message: str, where: str, hint: str) -> GristmillError:
    return kind(message, where=where, hint=hint)


class UserError(GristmillError):
    """The user's input: recipe, policy, path, empty source."""

    exit_code = 2


class Refused(GristmillError):
    """A gate or a promotion said no, or nothing was kept."""

    exit_code = 3


class VerificationFailed(GristmillError):
    """Bytes do not match their manifest."""

    exit_code = 4


class Stopped(GristmillError):
    """Stopped before the end; the same command goes on from where it was."""

    exit_code = 75


def explain(error: ValidationError, where: str) -> UserError:
    """Turn Pydantic's first complaint into one line that names the key and what is allowed there."""
    problems = error.errors(include_url=False)
    first = problems[0]
    # A discriminated union puts its tag into the path; a person wrote no such key.
    key = ".".join(str(part) for part in first["loc"]) or "(top level)"
    context = first.get("ctx", {})
    hint = f"allowed: {context['expected']}" if "expected" in context else ""
    if "expected_tags" in context:
        hint = f"allowed: {context['expected_tags']}"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        message = f"unknown key '{key}'"
        hint = hint or "remove it, or see the keys with `gristmill recipes NAME` and docs/recipes.md"
    elif first["type"] in ("missing", "missing_argument"):
        message = f"the key '{key}' is missing"
    else:
        message = f"{key}: {first['msg'].removeprefix('Value error, ')}"
    if len(problems) > 1:
        message += f" (and {len(problems) - 1} more)"
    return UserError(message, where=where, hint=hint)
