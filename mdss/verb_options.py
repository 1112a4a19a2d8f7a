"""Options that many verbs have, and what a terminal may have sent for one."""

from __future__ import annotations

from pathlib import Path

import click

from mdss.errors import BadInput


def as_typed(_context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Refuse bytes that are no text, as a terminal of another encoding sends them: they could be kept nowhere."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        name = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
        raise BadInput(f"{name}: found {text!r}, expected text in UTF-8: set the terminal to it")
    return text


config_option = click.option(
    "--config", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The station's settings, a YAML file."
)
reason_option = click.option("--reason", default="", callback=as_typed, help="Why, for `mdss model history`.")
