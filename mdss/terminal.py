"""Consoles that show what they are given as it is: a name may hold :x: or [red], and neither is a picture or a colour in it.

What a terminal would obey, as it does an escape that clears its screen, they write in letters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mdss.errors import legible

TABLE_COLUMNS = 160  # where the output is no terminal, lines of a table are not broken
LEAST_COLUMNS = 80  # a narrower terminal breaks them by itself, and a table that made room for that would cut names to letters


class LegibleConsole(Console):
    """Gives the terminal rich's own orders, and none that stand in a text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is written, piece by piece."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else "\n".join(map(legible, text.split("\n"))), style, control)


def plain_console(**how: Any) -> Console:
    """Return a console that finds no markup, no emoji and no highlight in text; what is to have a colour is a Text with a style."""
    return LegibleConsole(highlight=False, markup=False, emoji=False, **how)


def table_console() -> Console:
    """Return the same for a wide table."""
    console = plain_console()
    least = LEAST_COLUMNS if console.is_terminal else TABLE_COLUMNS
    return console if console.width >= least else plain_console(width=least)
