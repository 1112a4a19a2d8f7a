"""Progress with time left: a bar in a terminal, a line every now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
LINE_EVERY_S = 30.0


class Meter:
    """Counts the steps of one stage; `note` is shown beside the count (a loss, say)."""

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self.title, self.total, self.done, self.note = title, total, done, ""
        self._first, self._started, self._said = done, time.monotonic(), time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description:<22}"),
                BarColumn(bar_width=32),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        else:
            self._say()

    def step(self, note: str = "") -> None:
        """Count one step."""
        self.done, self.note = self.done + 1, note or self.note
        if self._bar:
            self._bar.update(self._task, completed=self.done, note=self.note)
        elif time.monotonic() - self._said > LINE_EVERY_S:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        spent = self._said - self._started
        left = spent / max(1, self.done - self._first) * (self.total - self.done)
        click.echo(f"{self.title}: {self.done}/{self.total}, {spent:.0f} s, {left:.0f} s left {self.note}".rstrip(), err=True)


def tracked(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Yield the items and show how far the loop is."""
    with Meter(title, total) as meter:
        for item in items:
            yield item
            meter.step()
