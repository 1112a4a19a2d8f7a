"""One scan of a synthetic line: a part in its pose, with or without a defect, as the camera sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdss.errors import MdssError
from trainer.dataset import GOOD
from trainer.synthetic_camera import Pose, View, look, photograph
from trainer.synthetic_defects import KINDS, VISIBLE_MM, DefectKind
from trainer.synthetic_products import PRODUCTS
from trainer.synthetic_surface import Bool, Float, PartCoordinates, Surface

TRIES = 40
MIN_TRUTH_PX, MIN_TRUTH_MM2 = 6, 2.5
VISIBLE_LEVELS = 18  # of 255, in the channel that changes most
VISIBLE_PART = 0.5  # share of the marked pixels that must show the change

Photograph = tuple[NDArray[np.uint8], Float]


@dataclass(frozen=True)
class SyntheticScan:
    """What the camera sees of one part, and where it is defective."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    xyz_mm: Float  # (H, W, 3), NaN where no point was measured
    truth: Bool  # (H, W)


@dataclass(frozen=True)
class PosedPart:
    """A part as it lies under the camera, before it gets a defect."""

    surface: Surface
    place: PartCoordinates
    pose: Pose
    view: View
    camera_seed: np.random.SeedSequence  # all photographs of one subject share noise, light and exposure

    def photograph(self, surface: Surface) -> Photograph:
        """Return image and cloud of this part with another surface."""
        return photograph(surface, self.view, self.pose, np.random.default_rng(self.camera_seed))


def draw_scan(product: str, kind: str, view: View, seed: Sequence[int]) -> SyntheticScan:
    """Draw a part of the product, good or with a defect of this kind; part and camera do not depend on the kind."""
    part_seed, camera_seed, defect_seed = np.random.SeedSequence(seed).spawn(3)
    subject = draw_subject(product, view, part_seed, camera_seed)
    before = subject.photograph(subject.surface)
    if kind == GOOD:
        return SyntheticScan(*before, np.zeros(before[0].shape[:2], np.bool_))
    random = np.random.default_rng(defect_seed)
    for _ in range(TRIES):
        surface, truth = KINDS[kind].draw(subject.surface, subject.place, random)
        if np.count_nonzero(truth) >= max(MIN_TRUTH_PX, MIN_TRUTH_MM2 / view.pitch_mm**2):
            after = subject.photograph(surface)
            if shows(KINDS[kind], before, after, truth):
                return SyntheticScan(*after, truth)
    raise MdssError(f"{kind} on a {product} of {view.height_px}x{view.width_px} px: found no place where it shows in {TRIES} tries")


def draw_subject(product: str, view: View, part_seed: np.random.SeedSequence, camera_seed: np.random.SeedSequence) -> PosedPart:
    """Draw a good part in a random pose."""
    made = PRODUCTS[product]
    random = np.random.default_rng(part_seed)
    shift = random.uniform(-made.shift_mm, made.shift_mm, 2)
    pose = Pose(float(np.radians(random.uniform(-made.rotation_deg, made.rotation_deg))), (float(shift[0]), float(shift[1])))
    place = look(view, pose)
    return PosedPart(made.make(place, random), place, pose, view, camera_seed)


def shows(kind: DefectKind, before: Photograph, after: Photograph, truth: Bool) -> bool:
    """Return whether the marked pixels differ in all that this kind changes: colour in the image, shape in the cloud."""
    levels = np.abs(after[0][truth].astype(np.int16) - before[0][truth]).max(axis=1)
    if kind.colour and np.mean(levels >= VISIBLE_LEVELS) < VISIBLE_PART:
        return False
    z_before, z_after = before[1][truth][:, 2], after[1][truth][:, 2]
    moved = np.abs(np.nan_to_num(z_after) - np.nan_to_num(z_before)) > VISIBLE_MM  # a point that appears or disappears counts as moved
    return not kind.shape or bool(np.mean(moved) >= VISIBLE_PART)
