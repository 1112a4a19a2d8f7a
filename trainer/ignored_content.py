"""What a scan may hold of the part outside the part that was found: nothing is learned of it, and no defect is found on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Self, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import Grid, is_measured
from mdss.method.point_cloud import MIN_PART_POINTS, dilated, drop_specks, remove_table
from mdss.method.recipe import PointCloudSettings
from mdss.method.table import REMOVAL_DEVIATIONS, Plane, find_table, removal_mm
from trainer.dataset import Dataset, LoadedScan, Scan
from trainer.missing_marks import MissingMark, mark_in
from trainer.table_doubts import Kind, TableDoubt, table_doubt

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

MOST_SCANS = 5  # what a product has, it has in all of them
THIN_SHARE = 0.1  # of the part's pixels: less is only the foot of a round part
LEAST_LIMIT_SHARE = 0.1  # of the limit up to which points count as table: nearer ones are table
OPENED_PX = 3  # narrower strips are slopes that reach down to the table
KINDS = (*get_args(Kind), "thin", "specks", "mark")  # of what there is to say, in the order in which it is said
PIECE_SHARE = 1 / 3  # of the smallest piece that is kept: specks of the sensor itself are smaller


@dataclass(frozen=True)
class IgnoredContent:
    """What one scan holds that counts neither as the part nor as missing; pixels are those of the grid."""

    path: Path
    thin_px: int  # clearly off the table, but so near to it that they count as table
    thin_share: float  # of the frame
    reach_mm: tuple[float, float]  # distance from the table at which they lie, from and to
    part_px: int
    smallest_px: int  # the smallest piece that is kept
    pieces: int  # number of smaller ones off the table
    mark: MissingMark | None
    doubt: TableDoubt | None

    @classmethod
    def of(cls, loaded: LoadedScan, settings: PointCloudSettings) -> Self:
        """Look at one scan."""
        height, width = loaded.rgb.shape[:2]
        grid = Grid(height, width, settings.size_px)
        cloud = grid.points(loaded.xyz_mm)
        measured = is_measured(cloud)
        plane = find_table(loaded.xyz_mm, settings) if settings.table == "auto" else None
        off_table = remove_table(cloud, measured, plane, settings)
        part = drop_specks(off_table, settings.min_component_px)
        thin, reach_mm = np.zeros_like(part), (0.0, 0.0)
        if plane is not None:
            limit_mm = removal_mm(plane, settings)
            reach_mm = max(REMOVAL_DEVIATIONS * plane.deviation_mm, LEAST_LIMIT_SHARE * limit_mm), limit_mm
            near = measured & ~off_table & (plane.distance(cloud) >= reach_mm[0])
            thin = drop_specks(without_thin_strips(near), settings.min_component_px)
        return cls(
            path=loaded.scan.xyz_path,
            thin_px=int(np.count_nonzero(thin)),
            thin_share=float(np.mean(thin[grid.in_frame])),
            reach_mm=reach_mm,
            part_px=int(np.count_nonzero(part)),
            smallest_px=settings.min_component_px,
            pieces=components(off_table & ~dilated(part, settings.dilation_px), ceil(PIECE_SHARE * settings.min_component_px)),
            mark=mark_off(plane, loaded.xyz_mm, settings),
            doubt=table_doubt(plane, loaded.xyz_mm, settings),
        )

    def thin_sentence(self) -> str:
        """Say what of a thin part, or a thin piece of one, counts as table; "" if nothing does."""
        if self.thin_px < max(MIN_PART_POINTS, THIN_SHARE * self.part_px):
            return ""
        low, high = self.reach_mm
        found = f"{100 * self.thin_share:.3g} % of the image lies {low:.2g} to {high:.2g} mm off the table and counts as table"
        return f"{found}; if that belongs to the part, set point_cloud.plane_removal_mm to less than its thickness"

    def specks_sentence(self) -> str:
        """Say how many small pieces count as specks; "" if none do."""
        if not self.pieces:
            return ""
        found = f"pieces off the table of fewer than {self.smallest_px} pixels of the grid are left out as specks: {self.pieces}"
        return f"{found}; if they belong to the part, set point_cloud.min_component_px to less"

    def mark_sentence(self) -> str:
        """Say which points look like marks for missing ones; "" if all look measured."""
        return str(self.mark or "")

    @property
    def sentences(self) -> dict[str, str]:
        """Return what there is to say, by its kind (KINDS)."""
        found: dict[str, str] = {self.doubt.kind: self.doubt.sentence} if self.doubt else {}
        found |= {"thin": self.thin_sentence(), "specks": self.specks_sentence(), "mark": self.mark_sentence()}
        return {kind: sentence for kind, sentence in found.items() if sentence}


def mark_off(plane: Plane | None, xyz_mm: Float, settings: PointCloudSettings) -> MissingMark | None:
    """Return the mark that points off the table bear in a cloud (H, W, 3); a table whose points share one number could be taken for one."""
    measured = is_measured(xyz_mm)
    return mark_in(xyz_mm[measured], remove_table(xyz_mm, measured, plane, settings)[measured])


def without_thin_strips(mask: Bool) -> Bool:
    """Return a mask (S, S) without strips narrower than OPENED_PX."""
    return cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((OPENED_PX, OPENED_PX), np.uint8)).view(bool)


def components(mask: Bool, least_px: int) -> int:
    """Return the number of pieces of a mask (S, S) with at least `least_px` pixels."""
    return cv2.connectedComponents(drop_specks(mask, least_px).view(np.uint8), connectivity=8)[0] - 1


def ignored_content_sentences(scans: Sequence[tuple[Dataset, Scan]], settings: PointCloudSettings) -> list[str]:
    """Return sentences on what most of a few of these scans hold besides the part; an empty list if nothing."""
    chosen = sorted({round(number) for number in np.linspace(0, len(scans) - 1, MOST_SCANS)}) if scans else []
    return sentences_on_some([IgnoredContent.of(dataset.load(scan), settings) for dataset, scan in (scans[number] for number in chosen)])


def sentences_on_some(found: Sequence[IgnoredContent]) -> list[str]:
    """Return a sentence on each thing that more than half of these scans show."""
    sentences, by_scan = [], [(each.path, each.sentences) for each in found]
    for kind in KINDS:
        showing = [(path, said[kind]) for path, said in by_scan if kind in said]
        if 2 * len(showing) > len(found):
            path, sentence = showing[0]
            sentences.append(f"in {len(showing)} of {len(found)} scans that were looked at, as in {path}, {sentence}")
    return sentences
