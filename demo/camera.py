"""The demo's camera, a separate process: sends the test parts of a synthetic line in mixed order."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from daemon.recording import NOT_MEASURED, RecordedPair, find_pairs, read_pair
from mdss.client import FrameSender

SOURCE = "camera-1"
DONE_WITHIN_S = 120.0


def mixed_parts(data: Path, seed: int) -> dict[str, RecordedPair]:
    """Return part id -> scan in the order in which the parts come; the id does not reveal a part's defect."""
    pairs = find_pairs(data, "test")
    order = np.random.default_rng(seed).permutation(len(pairs))
    return {f"part-{place:03d}": pairs[number] for place, number in enumerate(order, start=1)}


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path))
@click.option("--endpoint", required=True)
@click.option("--recipe", required=True)
@click.option("--seed", required=True, type=int)
def command(data: Path, endpoint: str, recipe: str, seed: int) -> None:
    """Send every part as fast as the station gives credit, and wait until all are judged."""
    with FrameSender(endpoint, SOURCE, send_timeout_s=DONE_WITHIN_S) as sender:
        for part_id, pair in mixed_parts(data, seed).items():
            rgb, xyz = read_pair(pair)
            sender.send(rgb, xyz, part_id=part_id, recipe_id=recipe, unit="m", invalid=NOT_MEASURED, is_simulated=True)
        if not sender.wait_until_done(DONE_WITHIN_S) or sender.rejected:
            raise click.ClickException(f"{sender.outstanding} parts without an answer, {len(sender.rejected)} refused")


if __name__ == "__main__":
    command()
