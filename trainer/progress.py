"""Progress with the time left: a bar in a terminal, a line every 30 s elsewhere, reports from a child process to its parent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import ClassVar, Self, TypeVar

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from mdss.terminal import plain_console

T = TypeVar("T")
LINE_EVERY_S = 30.0
REPORT_EVERY_S = 0.2
BAR_FROM_COLUMNS = 72  # title, count, times and a note such as a loss take 65 of them


class Report(msgspec.Struct, frozen=True, tag=True):
    """How far one stage is, as a child process tells its parent."""

    title: str
    total: int
    done: int
    note: str


class Meter:
    """Counts the steps of one stage; `note` (a loss, say) is shown beside the count."""

    listener: ClassVar[Callable[[Report], None] | None] = None  # gets the reports in a child process, which has no terminal

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self.title, self.total, self.done, self.note = title, total, done, ""
        self.first, self.started = done, time.monotonic()

    def __enter__(self) -> Self:
        self._display: Bar | Lines | Reports
        self._display = Reports(self, Meter.listener) if Meter.listener else Bar(self) if sys.stderr.isatty() else Lines(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._display.close()

    def step(self, note: str = "") -> None:
        """Count one step."""
        self.reach(self.done + 1, note)

    def reach(self, done: int, note: str = "") -> None:
        """Set the number of finished steps."""
        self.done, self.note = done, note or self.note
        self._display.show()


class Bar:
    """A bar in the terminal, below those of other stages that run at the same time."""

    _shared: ClassVar[Progress | None] = None
    _open: ClassVar[int] = 0

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        if Bar._shared is None:
            Bar._shared = _bars()
            Bar._shared.start()
        Bar._open += 1
        self._bars: Progress = Bar._shared
        self._task: TaskID = self._bars.add_task(meter.title, total=meter.total, completed=meter.done, note="")

    def show(self) -> None:
        """Move the bar."""
        self._bars.update(self._task, completed=self._meter.done, note=self._meter.note)

    def close(self) -> None:
        """Leave the bar as it is; after the last one, the terminal is free again."""
        self._bars.stop_task(self._task)
        Bar._open -= 1
        if Bar._open == 0:
            Bar._shared = None
            with suppress(OSError):  # a terminal that was closed has nobody to show it to
                self._bars.stop()


def _bars() -> Progress:
    """Return bars of which a narrow terminal cuts no number: it shortens the bar, then leaves it out, then breaks the title."""
    console = plain_console(stderr=True)
    numbers = (MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn)
    count, spent, remaining = (number(table_column=Column(no_wrap=True)) for number in numbers)
    left, note = TextColumn("left"), TextColumn("{task.fields[note]}", markup=False)
    if console.width < BAR_FROM_COLUMNS:
        title = TextColumn("{task.description}", markup=False, table_column=Column())
        return Progress(title, count, left, remaining, note, console=console)
    title = TextColumn("{task.description:<22}", markup=False)
    return Progress(title, BarColumn(bar_width=32), count, spent, left, remaining, note, console=console)


class Lines:
    """A line every LINE_EVERY_S, for logs."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._said = meter, meter.started

    def show(self) -> None:
        """Write a line if the last one is old enough; `close` writes the one for the last step."""
        if self._meter.done < self._meter.total and time.monotonic() - self._said > LINE_EVERY_S:
            self.close()

    def close(self) -> None:
        """Write a line."""
        meter, self._said = self._meter, time.monotonic()
        spent = self._said - meter.started
        left = spent / max(1, meter.done - meter.first) * (meter.total - meter.done)
        click.echo(f"{meter.title}: {meter.done}/{meter.total}, {spent:.0f} s, {left:.0f} s left {meter.note}".rstrip(), err=True)


class Reports:
    """Reports of a child to its parent, which shows them: the first and the last step, and a few a second in between."""

    def __init__(self, meter: Meter, listener: Callable[[Report], None]) -> None:
        self._meter, self._listener = meter, listener
        self.close()

    def show(self) -> None:
        """Send a report if the last one is old enough."""
        if time.monotonic() - self._told > REPORT_EVERY_S:
            self.close()

    def close(self) -> None:
        """Send a report."""
        meter, self._told = self._meter, time.monotonic()
        self._listener(Report(meter.title, meter.total, meter.done, meter.note))


def tracked(items: Collection[T], title: str) -> Iterator[T]:
    """Yield the items and show how many are done; of none, nothing is shown."""
    return tracked_stream(items, title, len(items))


def tracked_stream(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Yield items that come one by one, `total` of them, and show how many are done; of none, nothing is shown."""
    if not total:
        return
    with Meter(title, total) as meter:
        for item in items:
            yield item
            meter.step()
