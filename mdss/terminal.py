"""Consoles that print text literally: a name may contain :x: or [red] without becoming a picture or a colour.

Characters that a terminal would obey, such as an escape that clears the screen, are written as letters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mdss.errors import legible

TABLE_COLUMNS = 160  # table width where the output is no terminal, so that lines are not broken
LEAST_COLUMNS = 80  # a narrower terminal breaks the lines itself; a table fitted to it would cut names down to letters


class LegibleConsole(Console):
    """Sends rich's own control codes to the terminal, but none that are part of a text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is written, segment by segment."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else "\n".join(map(legible, text.split("\n"))), style, control)


def plain_console(**how: Any) -> Console:
    """Return a console without markup, emoji and highlighting; colours come only from Text with a style."""
    return LegibleConsole(highlight=False, markup=False, emoji=False, **how)


def table_console() -> Console:
    """Return such a console for a wide table."""
    console = plain_console()
    least = LEAST_COLUMNS if console.is_terminal else TABLE_COLUMNS
    return console if console.width >= least else plain_console(width=least)
