"""A call with a deadline: what does not come back in time is left behind, and the caller goes on.

The call runs in a daemon thread of its own, for Python cannot stop a thread. A call that holds the interpreter's lock
for ever, inside a C extension, cannot be left behind in this way; a scorer that could needs a time-out of its own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")
_local = threading.local()


class _Runner:
    """A thread that runs one call at a time; it ends with its owner."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name="scorer", daemon=True).start()

    def call(self, function: Callable[[], Result], seconds: float) -> Result:
        answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._jobs.put((function, answer))
        try:
            result, error = answer.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer in {seconds:g} s") from None
        if error is not None:
            raise error
        return result

    def __del__(self) -> None:
        self._jobs.put(None)


def _work(jobs: queue.SimpleQueue[Any]) -> None:
    while job := jobs.get():
        function, answer = job
        try:
            answer.put((function(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
            answer.put((None, error))
        del job, function, answer


def call_within(seconds: float, function: Callable[[], Result]) -> Result:
    """`function()`, or TimeoutError after `seconds`. One thread serves all calls of a caller's thread that return."""
    runner = getattr(_local, "runner", None) or _Runner()
    _local.runner = None
    keep = True
    try:
        return runner.call(function, seconds)
    except TimeoutError:
        keep = False  # it may still be at it
        raise
    finally:
        if keep:
            _local.runner = runner
