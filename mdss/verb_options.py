"""`--config`, which most verbs and processes of a station have."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The station's settings, a YAML file."
)
