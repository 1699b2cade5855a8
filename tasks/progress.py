"""Live progress: steps report rows done, whoever runs them decides how it is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID

Advance = Callable[..., None]  # advance(units_done, note="")


class Reporter(Protocol):
    """Where progress goes. `total` is None when it is not known beforehand."""

    def start(self, name: str, total: int | None, unit: str) -> Advance: ...

    def finish(self, name: str, seconds: float) -> None: ...


class Silent:
    """Shows nothing: the default for libraries, tests and workers."""

    def start(self, name: str, total: int | None, unit: str) -> Advance:
        return lambda units, note="": None

    def finish(self, name: str, seconds: float) -> None:
        return None


_reporter: Reporter = Silent()


def show_with(reporter: Reporter) -> None:
    """Send all progress of this process to `reporter`."""
    global _reporter
    _reporter = reporter


@contextmanager
def progress(name: str, total: int | None = None, unit: str = "records") -> Iterator[Advance]:
    """Report one step: ``with progress("pii", len(table)) as advance: advance(1024)``."""
    started = time.perf_counter()
    try:
        yield _reporter.start(name, total, unit)
    finally:
        _reporter.finish(name, time.perf_counter() - started)


class Lines:
    """For logs and pipes: one line when a step that took over 2 s ends."""

    def __init__(self, stream=None) -> None:
        self.stream = stream or sys.stderr
        self.done: dict[str, tuple[int, str]] = {}

    def start(self, name: str, total: int | None, unit: str) -> Advance:
        self.done[name] = (0, unit)

        def advance(units: int, note: str = "") -> None:
            self.done[name] = (self.done[name][0] + units, unit)

        return advance

    def finish(self, name: str, seconds: float) -> None:
        units, unit = self.done.pop(name, (0, ""))
        if seconds >= 2:
            rate = f", {units:,} {unit} ({units / seconds:,.0f}/s)" if units else ""
            print(f"{name}: {seconds:.1f} s{rate}", file=self.stream, flush=True)


class Bars:
    """For a terminal: a rich bar with rate and time left for each step."""

    def __init__(self, console) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:>10,.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[rate]:>12}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self.tasks: dict[str, TaskID] = {}

    def start(self, name: str, total: int | None, unit: str) -> Advance:
        if not self.tasks:
            self.bars.start()
        task = self.bars.add_task(name, total=total, unit=unit, rate="", note="")
        self.tasks[name] = task
        started = time.perf_counter()

        def advance(units: int, note: str = "") -> None:
            done = self.bars.tasks[self.bars.task_ids.index(task)].completed + units
            rate = f"{done / max(time.perf_counter() - started, 1e-6):,.0f}/s"
            self.bars.update(task, advance=units, rate=rate, note=note)

        return advance

    def finish(self, name: str, seconds: float) -> None:
        task = self.tasks.pop(name, None)
        if task is not None:
            self.bars.remove_task(task)
        if not self.tasks:
            self.bars.stop()
        if seconds >= 2:
            self.bars.console.print(f"[dim]{name:<14}{seconds:>7.1f} s[/dim]", highlight=False)
