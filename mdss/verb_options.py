"""Command line options shared by many verbs, and checks of what was typed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from mdss.errors import BadInput


def utf8_only(_context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Refuse bytes that are not UTF-8, as a terminal with another encoding sends them: they could be stored nowhere."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        name = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
        raise BadInput(f"{name}: found {text!r}, expected text in UTF-8: set the terminal to it")
    return text


class FiniteRange(click.FloatRange):
    """A number within a range; NaN, which click accepts for any range, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is no number.", param, ctx)
        return found


config_option = click.option(
    "--config", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The station's settings, a YAML file."
)
reason_option = click.option("--reason", default="", callback=utf8_only, help="Why, for `mdss model history`.")
