"""Asks how well heights alone can tell a dent or a bump from roughness: a matched filter that knows its form and good parts' spectrum.

Of all linear detectors a matched filter has the highest ratio of signal to noise, and where roughness is Gaussian no other detector is
better. It is told more than the station is: that a defect is a round spot, and of which sizes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from bench.command_line import main_of
from mdss.errors import BadInput
from mdss.method.heat import blurred
from mdss.method.metrics import image_auroc
from mdss.method.point_cloud import Prepared
from mdss.method.presets import preset
from trainer.dataset import GOOD, Dataset, Scan
from trainer.synthetic_surface import ramp
from trainer.train import prepare_all

EXAMPLE = "Example: python -m bench.matched_filter --data data/cookie --kind dent --kind bump"
Heights = NDArray[np.float64]  # (S, S) mm
Bool = NDArray[np.bool_]

RADII_MM = (1.8, 2.4, 3.0)  # of the dents and bumps that are drawn
LEVEL_PX = 16.0  # wider forms are the part's own: their mean is taken off
RIM_PX = 7  # a height beside a rim says nothing of roughness
LEAST_POWER = 1e-3  # of the mean: where good parts hold hardly any, the camera's noise decides


@dataclass(frozen=True)
class Relief:
    """A part's heights above the mean of their surroundings, and where they can be asked for a defect."""

    heights: Heights  # 0 beyond the part
    inside: Bool  # (S, S), without the rims
    pitch_mm: float  # between two pixels of the grid

    @classmethod
    def of(cls, part: Prepared) -> Relief:
        """Measure it along the camera's axis."""
        measured = part.mask & np.isfinite(part.xyz).all(axis=2)
        z = np.where(measured, part.xyz[..., 2], 0).astype(np.float32)
        share = np.maximum(blurred(measured.astype(np.float32), LEVEL_PX), np.float32(1e-3))
        heights = np.where(measured, blurred(z, LEVEL_PX) / share - z, 0)
        inside = cv2.erode(measured.astype(np.uint8), np.ones((2 * RIM_PX + 1,) * 2, np.uint8)) > 0
        return cls(heights.astype(np.float64), inside, float(np.nanmedian(np.abs(np.diff(part.xyz[..., 0], axis=1)))))


@dataclass(frozen=True)
class MatchedFilters:
    """One filter for each size of a spot, as good parts make it, and the highest answer that each gives on a good part in the mean."""

    filters: list[NDArray[np.complex128]]
    usual: NDArray[np.float64]  # (2, sizes): upwards and downwards

    @classmethod
    def of(cls, good: Sequence[Relief], radii_mm: Sequence[float]) -> MatchedFilters:
        """Make them from the mean spectrum of good parts' heights. BadInput if no part has heights beyond its rims."""
        if not any(each.inside.any() for each in good):
            raise BadInput(f"train: found good parts without heights more than {RIM_PX} px of the grid from a rim, expected some")
        power = np.mean([_power(each) for each in good], axis=0)
        power += LEAST_POWER * power.mean()
        pitch = float(np.median([each.pitch_mm for each in good]))
        filters = [np.conj(np.fft.fft2(spot(len(power), radius / pitch))) / power for radius in radii_mm]
        return cls(filters, np.mean([_highest(filters, each) for each in good], axis=0))

    def scores(self, part: Relief) -> tuple[float, float]:
        """Return the highest answers on a part, upwards and downwards, as multiples of what the same filter has on good parts."""
        upwards, downwards = (_highest(self.filters, part) / self.usual).max(axis=1)
        return float(upwards), float(downwards)


def spot(side: int, radius_px: float) -> Heights:
    """Return a round spot of height 1 (S, S) about pixel (0, 0), with the rim that drawn dents and bumps have."""
    away = np.minimum(np.arange(side), side - np.arange(side))
    return ramp(np.hypot(*np.meshgrid(away, away)) / radius_px, 1.15, 0.25).astype(np.float64)


def _power(part: Relief) -> Heights:
    window = part.inside * blurred(part.inside.astype(np.float32), LEVEL_PX / 4)
    spectrum = np.abs(np.fft.fft2(part.heights * window)) ** 2 / max(float(np.square(window).sum()), 1.0)
    return np.fft.ifftshift(cv2.GaussianBlur(np.fft.fftshift(spectrum), (0, 0), 1.5))


def _highest(filters: Sequence[NDArray[np.complex128]], part: Relief) -> NDArray[np.float64]:
    spectrum = np.fft.fft2(part.heights)
    answers = [np.fft.ifft2(spectrum * each).real[part.inside] for each in filters]
    return np.array([[(sign * each).max(initial=0) for each in answers] for sign in (1, -1)])


@click.command(epilog=EXAMPLE)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset with scans to train on and to test with.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option(
    "--radius-mm",
    "radii_mm",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    default=RADII_MM,
    show_default=True,
    help="Of a spot.",
)
@click.option("--kind", "kinds", multiple=True, required=True, help="A kind of defects to tell from good parts; give it for each kind.")
def command(**options: Any) -> None:
    """Say for each kind of defect how well the filters tell its parts from good ones, by spots upwards and downwards (image AUROC)."""
    dataset = Dataset.open(options["data"], options["unit"], needs=("train", "test"))
    scans = {kind: [scan for scan in dataset.test if scan.kind == kind] for kind in (GOOD, *options["kinds"])}
    if missing := [kind for kind, found in scans.items() if not found]:
        raise BadInput(f"{dataset.root}/test: found no scans in {missing[0]}, which was asked for")
    filters = MatchedFilters.of(_reliefs(dataset, dataset.train), options["radii_mm"])
    good, *others = (np.array([filters.scores(each) for each in _reliefs(dataset, found)]) for found in scans.values())
    for kind, found in zip(options["kinds"], others, strict=True):
        is_defective = [False] * len(good) + [True] * len(found)
        upwards, downwards = (image_auroc(each.tolist(), is_defective) for each in np.concatenate([good, found]).T)
        click.echo(f"{kind}: image AUROC {upwards:.2f} upwards, {downwards:.2f} downwards ({len(found)} parts, {len(good)} good ones)")


def _reliefs(dataset: Dataset, scans: list[Scan]) -> list[Relief]:
    return [Relief.of(part) for part in prepare_all(dataset, scans, preset("edge"))]


main = main_of(command, "bench.matched_filter")

if __name__ == "__main__":
    sys.exit(main())
