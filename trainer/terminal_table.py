"""A table in a terminal, as wide as its content where the output is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

FALLBACK_COLUMNS = 160  # where the output is no terminal


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print one line per row, folded where a text is too long."""
    table = Table()
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text) for text in row))
    console = Console()
    (console if console.is_terminal else Console(width=FALLBACK_COLUMNS)).print(table)
