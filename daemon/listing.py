"""Shared parts of the verbs that list parts: the options --json, --by and --note, the table, and the format of times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import click
from rich.table import Table
from rich.text import Text

from mdss.errors import BadInput, legible
from mdss.terminal import table_console
from mdss.user_name import user
from mdss.verb_options import utf8_only

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def require_name(context: click.Context, option: click.Parameter, name: str) -> str:
    """Refuse an empty name, such as that of an unset shell variable."""
    if not name.strip():
        raise BadInput(f"--by: found {name!r}, expected the name of the person who decided this")
    return utf8_only(context, option, name)


by_option = click.option(
    "--by", metavar="NAME", default=user, callback=require_name, show_default="your user name", help="Who decided this."
)
note_option = click.option("--note", metavar="TEXT", default="", callback=utf8_only, help="The reason, as a note.")
result_argument = click.argument("result_id", callback=utf8_only)


def print_table(columns: Iterable[str], lines: Iterable[Iterable[Text]]) -> None:
    """Print a table of results."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name == "result", overflow="fold")  # an id must be whole so that it can be copied
    for line in lines:
        # cameras and people choose these names: control characters must not reach the terminal
        table.add_row(*(Text(legible(each.plain), each.style) for each in line))
    table_console().print(table)


def readable_time(time_ns: int, zone: str = "") -> str:
    """Return a time (UTC ns) in a readable form, with its zone behind it; a number that is no valid time is returned as it is."""
    try:
        return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}{zone}"
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"


def utc_time(time_ns: int) -> str:
    """Return a time (UTC ns) in a readable form that names its zone, for where no title of a column does."""
    return readable_time(time_ns, " UTC")
