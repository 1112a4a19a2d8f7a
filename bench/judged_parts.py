"""The parts that an ablation learns from, calibrates on and judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import click
import numpy as np
from numpy.typing import NDArray

from bench.drawn_defects import Defective, with_drawn_defects, with_moved_pieces, with_pieces_moved_in_both
from mdss.errors import BadPart
from mdss.method.point_cloud import Prepared, prepare
from mdss.method.recipe import Recipe
from trainer.branch_inputs import BRANCHES, Branch
from trainer.dataset import Dataset
from trainer.progress import tracked
from trainer.train import prepare_all

JudgedOn = Literal["test", "drawn", "moved", "moved-in-both"]
DAMAGE: Mapping[JudgedOn, Callable[[Prepared, np.random.Generator], Iterator[Defective]]] = {
    "drawn": with_drawn_defects,
    "moved": with_moved_pieces,
    "moved-in-both": with_pieces_moved_in_both,
}
SEED = 0  # of the damage, which is the same for every recipe


@dataclass(frozen=True)
class MarkedPart:
    """One part to be judged, with its ground truth."""

    prepared: Prepared
    truth: NDArray[np.bool_]  # (H, W)
    is_defective: bool
    shows_in: tuple[Branch, ...] = BRANCHES  # the branches that can see its defect, if it has one


@dataclass(frozen=True)
class JudgedParts:
    """A dataset's prepared scans, and the parts to judge: test scans, or validation scans and damaged copies of them."""

    training: list[Prepared]
    validation: list[Prepared]
    judged: list[MarkedPart]

    @classmethod
    def of(cls, dataset: Dataset, recipe: Recipe, judged_on: JudgedOn) -> JudgedParts:
        """Read and prepare all scans that are needed."""
        training, validation = (prepare_all(dataset, scans, recipe) for scans in (dataset.train, dataset.validation))
        return cls(training, validation, test_parts(dataset, recipe) if judged_on == "test" else damaged_parts(validation, judged_on))


def test_parts(dataset: Dataset, recipe: Recipe) -> list[MarkedPart]:
    """Return the test scans; a scan without a part is named and left out, as in an evaluation."""
    found = []
    for scan in tracked(dataset.test, "reading test"):
        loaded = dataset.load(scan)
        try:
            found.append(MarkedPart(prepare(loaded.rgb, loaded.xyz_mm, recipe.point_cloud), loaded.truth, not scan.is_good))
        except BadPart as bad:
            click.echo(f"ablation: {scan.xyz_path} is left out: {bad}", err=True)
    return found


def damaged_parts(good: Sequence[Prepared], judged_on: JudgedOn) -> list[MarkedPart]:
    """Return good parts as they are, and copies of each with drawn defects or moved pieces."""
    found = []
    for number, part in enumerate(good):
        found.append(MarkedPart(part, np.zeros((part.grid.height, part.grid.width), bool), is_defective=False))
        damaged = DAMAGE[judged_on](part, np.random.default_rng((SEED, number)))
        found.extend(MarkedPart(copy.part, copy.truth, is_defective=True, shows_in=copy.shows_in) for copy in damaged)
    return found
