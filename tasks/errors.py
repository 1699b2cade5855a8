"""Errors that a person can cause or must act on: what was wrong, where, what to do, and the exit code."""

from __future__ import annotations

from pydantic import ValidationError

import data_policies.explain


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
    message, hint = data_policies.explain.explain(error)
    if message.startswith("unknown key") and hint == "remove it":
        hint = "remove it, or see the keys with `gristmill recipes NAME` and docs/recipes.md"
    return UserError(message, where=where, hint=hint)
