"""From which depth on, and up to which, the shape branch sees a dent: dents of known depth pressed into good test scans."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from bench.command_line import main_of
from mdss.errors import BadInput
from mdss.method.point_cloud import Prepared
from mdss.method.viewing import away_from_camera
from trainer.champion import Champion
from trainer.dataset import Dataset
from trainer.progress import tracked

EXAMPLE = "Example: python -m bench.dent --data data/flange --unit m --recipe flange --store models"
DEPTHS_MM = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)

Float = NDArray[np.float32]


@click.command(epilog=EXAMPLE)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset with test/good.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--recipe", required=True, help="Whose champion to ask.")
@click.option("--store", required=True, type=click.Path(path_type=Path), help="The model store.")
@click.option("--radius-mm", type=click.FloatRange(0.5, 50), default=3.0, show_default=True, help="Of the dents, from middle to rim.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Where the dents lie.")
def command(**options: Any) -> None:
    """Measure from which depth on a dent stands above the noise of good parts, and up to which depth.

    Each good test scan gets one dent, at a random place that no edge of the part runs through. It is deepest in the middle and level
    with the surface at its rim. It is seen if the shape branch scores higher than on every good scan without one.
    """
    champion = Champion.load(options["store"], options["recipe"], "cpu")
    dataset = Dataset.open(options["data"], options["unit"], needs=("test",))
    scans = [dataset.load(scan) for scan in dataset.test if scan.is_good]
    if not scans:
        raise BadInput(f"{options['data'] / 'test' / 'good'}: found no scan, expected good parts")
    parts = [champion.prepare(scan.rgb, scan.xyz_mm) for scan in scans]
    good = scores_of(champion, parts, "good")
    lines = [
        f"{len(good)} good scans score {np.median(good):.4f} in the middle and {good.max():.4f} at most",
        "| depth | median score | of the highest good score | seen |",
        "|---:|---:|---:|---:|",
    ]
    for depth_mm in DEPTHS_MM:
        random = np.random.default_rng(options["seed"])
        dented = [replace(part, xyz=dent(part.xyz, depth_mm, options["radius_mm"], random)) for part in parts]
        found = scores_of(champion, dented, f"{depth_mm} mm")
        lines.append(
            f"| {depth_mm} mm | {np.median(found):.4f} | {np.median(found) / good.max():.1f} | {np.mean(found > good.max()):.0%} |"
        )
    click.echo("\n".join(lines))


def scores_of(champion: Champion, parts: Sequence[Prepared], title: str) -> NDArray[np.float64]:
    """Return the shape branch's score of each part."""
    return np.array([float(champion.shape_map(part).max()) for part in tracked(parts, title)])


def dent(xyz: Float, depth_mm: float, radius_mm: float, random: np.random.Generator) -> Float:
    """Return the cloud (S, S, 3) mm with one dent, away from the camera, around a random point of the part.

    No edge of the part runs through the dent. BadInput if there is no such place.
    """
    measured = np.isfinite(xyz).all(axis=2)
    deeper = away_from_camera(xyz).astype(np.float32)
    points = xyz[measured]
    sideways = points - (points @ deeper)[:, None] * deeper
    for middle in random.permutation(len(points)):
        away = np.linalg.norm(sideways - sideways[middle], axis=1)
        near = away < radius_mm
        height = points[near] @ deeper
        if np.ptp(height) < radius_mm:  # an edge would make it more
            break
    else:
        raise BadInput(f"--radius-mm {radius_mm:g}: found no place of that size without an edge of the part, expected less")
    profile = np.clip(1 - (away / radius_mm) ** 2, 0, None)
    changed = xyz.copy()
    changed[measured] = points + np.float32(depth_mm) * profile[:, None].astype(np.float32) * deeper
    return changed


main = main_of(command, "bench.dent")

if __name__ == "__main__":
    sys.exit(main())
