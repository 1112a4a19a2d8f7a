"""Consoles that show what they are given as it is: a name may hold :x: or [red], and neither is a picture or a colour in it."""

from __future__ import annotations

from typing import Any

from rich.console import Console

TABLE_COLUMNS = 160  # where the output is no terminal, lines of a table are not broken
LEAST_COLUMNS = 80  # a narrower terminal breaks them by itself, and a table that made room for that would cut names to letters


def plain_console(**how: Any) -> Console:
    """Return a console that finds no markup, no emoji and no highlight in text; what is to have a colour is a Text with a style."""
    return Console(highlight=False, markup=False, emoji=False, **how)


def table_console() -> Console:
    """Return the same for a wide table."""
    console = plain_console()
    least = LEAST_COLUMNS if console.is_terminal else TABLE_COLUMNS
    return console if console.width >= least else plain_console(width=least)
