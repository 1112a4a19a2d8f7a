"""Verb `mdss retrain`: trains a recipe again, from curated scans and from what the station collected; the result is the candidate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from mdss import whole_files
from mdss.method.presets import PRESETS
from mdss.settings import load_settings
from mdss.verb_options import FiniteRange, config_option
from trainer.gathering import Shares
from trainer.low_priority import POOLS, lower_priority, use_threads
from trainer.retrain_order import RetrainAmounts, RetrainOrder
from trainer.retrain_outcome import MEANINGS
from trainer.retrain_run import retrain

EXAMPLE = "Example: mdss retrain --config station.yaml --recipe cable_gland"
CODES = "\b\nExit codes:\n" + "\n".join(f"  {code:<4}{meaning}" for code, meaning in MEANINGS.items())
UMASK = 0o027  # kept parts are for the station, and for its group to read, as those of `mdss run`
SOME, MANY, SHARE = click.IntRange(1), click.IntRange(1, 100_000), FiniteRange(0, 0.9)


@click.command("retrain", epilog=f"{CODES}\n\n{EXAMPLE}")
@config_option
@click.option("--recipe", "name", required=True, help="The product to learn anew.")
@click.option("--data", type=click.Path(path_type=Path), help="Curated scans; those that the champion was made from when left out.")
@click.option("--unit", type=click.Choice(["m", "mm"]), help="What their xyz tiffs hold; the champion's, or m with --data.")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), help="Settings to begin with; the champion's own when left out, edge without one."
)
@click.option("--set", "assignments", multiple=True, metavar="SECTION.FIELD=VALUE", help="Change one setting; may be repeated.")
@click.option(
    "--budget",
    type=MANY,
    default=400,
    show_default=True,
    help="Collected parts to take at most: those marked as good first, each kind newest first.",
)
@click.option("--least-new", type=SOME, default=10, show_default=True, help="New good parts below which nothing is trained.")
@click.option("--validation-share", type=SHARE, default=0.3, show_default=True, help="Share of them that sets the threshold.")
@click.option("--gate-share", type=SHARE, default=0.3, show_default=True, help="Share of them that the new model is judged by.")
@click.option("--with-simulated", is_flag=True, help="Learn also from parts that their camera marked as simulated.")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu or cuda:N.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of each branch on a CPU.")
@click.option("--full-speed", is_flag=True, help="Give way to nobody; for a machine on which no station runs.")
@click.option("--promote", is_flag=True, help="Make a candidate that passed the gate the champion at once.")
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as JSON.")
def command(**options: Any) -> None:
    """Retrain a recipe and make the result its candidate, at the lowest priority beside a running station.

    It learns from the curated scans, from accepted parts that the station collected, and from parts that a person marked as good; never
    from others. Refused parts are named with their reasons. An interrupted run goes on where it stopped.
    """
    config, preset, assignments = options.pop("config"), options.pop("preset"), options.pop("assignments")
    threads, as_json, full_speed = options.pop("threads"), options.pop("as_json"), options.pop("full_speed")
    shares = Shares(options.pop("validation_share"), options.pop("gate_share"))
    amounts = RetrainAmounts(shares=shares, **{name: options.pop(name) for name in ("budget", "least_new", "with_simulated")})
    order = RetrainOrder(settings=load_settings(config), preset=preset, assignments=assignments, amounts=amounts, **options)
    os.umask(os.umask(UMASK) | UMASK)
    for pool in POOLS:  # before torch is loaded, and for child processes
        os.environ[pool] = str(threads)
    use_threads(2 * threads)  # two branches are trained side by side
    if not full_speed:
        lower_priority()
    try:
        result = retrain(order)
    except KeyboardInterrupt as stop:
        click.echo(f"retrain: {str(stop) or 'stopped'}", err=True)
        raise
    if as_json:
        click.echo(whole_files.as_json(result), nl=False)
    else:
        click.echo(f"{result.recipe}: {result.sentence}", err=result.exit_code != 0)
    if result.exit_code:
        raise click.exceptions.Exit(result.exit_code)
