"""Draws a picture of three defective parts for the pages: each image with its truth outlined, and below it what the station sees."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.command_line import main_of
from mdss.errors import BadInput
from trainer.champion import Champion
from trainer.dataset import Dataset, LoadedScan, Scan

EXAMPLE = "Example: python -m bench.overlays --data data/flange --unit m --recipe flange --store models --out docs/overlays_flange.png"
SHOWN = 3
OUTLINE = "#00e5ff"
MOST_HEAT = 0.75  # opacity of the heat at most


@click.command(epilog=EXAMPLE)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset with test scans.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--recipe", required=True, help="Whose champion to ask.")
@click.option("--store", required=True, type=click.Path(path_type=Path), help="The model store.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The picture to write, a .png.")
@click.option("--kinds", default="", metavar="KIND,...", help="Three kinds of defects; the first three where none is named.")
def command(**options: Any) -> None:
    """Draw the first test part of each of three kinds of defects, with the truth outlined and with the fused map over it.

    The first of each kind is taken, not the best.
    """
    out: Path = options["out"]
    if out.suffix.lower() != ".png":
        raise BadInput(f"--out {out}: expected a name that ends with .png")
    champion = Champion.load(options["store"], options["recipe"], "cpu")
    dataset = Dataset.open(options["data"], options["unit"], needs=("test",))
    scans = [dataset.load(scan) for scan in first_of_each(dataset, options["kinds"])]
    out.parent.mkdir(parents=True, exist_ok=True)
    picture(scans, champion).savefig(out, dpi=64)
    click.echo(f"{out}: {', '.join(each.scan.part_id for each in scans)}")


def first_of_each(dataset: Dataset, kinds: str) -> list[Scan]:
    """Return the first scan of each kind. BadInput names a kind that does not exist, or says that there is no defective part."""
    by_kind: dict[str, Scan] = {}
    for scan in dataset.test:
        if not scan.is_good:
            by_kind.setdefault(scan.kind, scan)
    if not by_kind:
        raise BadInput(f"{dataset.root}/test: found no defective part, expected KIND/{{rgb,xyz,gt}} beside good")
    asked = [kind.strip() for kind in kinds.split(",") if kind.strip()] or sorted(by_kind)[:SHOWN]
    for kind in asked:
        if kind not in by_kind:
            raise BadInput(f"--kinds: found {kind!r}, expected some of {', '.join(sorted(by_kind))}")
    return [by_kind[kind] for kind in asked]


def picture(scans: list[LoadedScan], champion: Champion) -> Figure:
    """Return the figure, with one column for each part."""
    figure = Figure(figsize=(4 * len(scans), 8), layout="constrained")
    plots = figure.subplots(2, len(scans), squeeze=False)
    for loaded, (above, below) in zip(scans, plots.T, strict=True):
        scores, heat = score_and_map(loaded, champion)
        above.imshow(loaded.rgb)
        if loaded.truth.any():
            above.contour(loaded.truth, levels=[0.5], colors=[OUTLINE], linewidths=1.2)
        above.set_title(loaded.scan.kind.replace("_", " "))
        half_level = champion.folder.calibration.map_level / 2  # places are outlined above the level
        cover = np.clip((heat - half_level) / max(float(heat.max()) - half_level, half_level), 0, 1)
        below.imshow(loaded.rgb)
        below.imshow(cover, cmap="inferno", alpha=MOST_HEAT * np.sqrt(cover), vmin=0, vmax=1)
        below.set_title(f"score {scores:.3g}, threshold {champion.threshold:.3g}", fontsize=10)
        for axes in (above, below):
            axes.axis("off")
    return figure


def score_and_map(loaded: LoadedScan, champion: Champion) -> tuple[float, NDArray[np.float32]]:
    """Return the fused score, and the fused map at the resolution of the scan (H, W)."""
    prepared = champion.prepare(loaded.rgb, loaded.xyz_mm)
    scores, maps = champion.score(prepared)
    return scores["fused"], prepared.grid.to_original(maps["fused"])


main = main_of(command, "bench.overlays")

if __name__ == "__main__":
    sys.exit(main())
