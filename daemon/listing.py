"""What verbs that list parts have in common: JSON for programs, who says so, a table, and a time as people read it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import click
from rich.table import Table
from rich.text import Text

from mdss.errors import BadInput, legible
from mdss.terminal import table_console
from mdss.user_name import user
from mdss.verb_options import as_typed

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def named(context: click.Context, option: click.Parameter, name: str) -> str:
    """Refuse a name that says nothing, as that of a shell's variable that is not set."""
    if not name.strip():
        raise BadInput(f"--by: found {name!r}, expected the name of who says so")
    return as_typed(context, option, name)


by_option = click.option("--by", metavar="NAME", default=user, callback=named, show_default="your user name", help="Who says so.")
note_option = click.option("--note", metavar="TEXT", default="", callback=as_typed, help="Why.")
result_argument = click.argument("result_id", callback=as_typed)


def print_table(columns: Iterable[str], lines: Iterable[Iterable[Text]]) -> None:
    """Print results as lines under the names of their columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name == "result", overflow="fold")  # an id must be whole to be copied
    for line in lines:
        table.add_row(*(Text(legible(each.plain), each.style) for each in line))  # of what people and cameras call things
    table_console().print(table)


def at(time_ns: int) -> str:
    """Return a time as people read it, in UTC; what is none, as another program may have written it, as it is."""
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"
