"""Sentences on what was taken for the part in the scans of a training or a calibration, and what to set if they differ too much."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdss.errors import BadPart
from mdss.method.grid import is_measured
from mdss.method.point_cloud import MIN_PART_POINTS, Prepared, prepare
from mdss.method.recipe import PointCloudSettings
from mdss.settings import FusionSettings
from trainer.data_checks import GoodPartRange, fault_of, product_fault
from trainer.dataset import LoadedScan
from trainer.ignored_content import IgnoredContent
from trainer.part_measures import Measures

MOST_TIMES = 4.0  # as large as the smallest part; those of one product differ by less in any pose
EXPECTED = "expected a table in all scans or in none, and parts of about one size"
NO_TABLE = "point_cloud.table=none for parts that fill the image or lie on nothing flat"
NOISE = "point_cloud.plane_inlier_mm to four times the sensor's noise"
SAME_MM = 1e-3  # an extent smaller than any sensor's noise, and larger than rounding makes of one number
DARK, BRIGHT_PERCENTILE = 16, 99.0  # of a part's pixels, without highlights; at this percentile a black tire has 70
MOST_BURNT = 0.1  # of the part's pixels
LIT = "expected light and exposure that show all of it, or colour finds little there"
LEAST_OF_GRID = 0.02  # a square with a seventh of the grid's side, about the networks' field of view
MOST_COMPARED = 100  # parts at most, which are compared with one another
TOLERATED = FusionSettings().max_invalid_point_ratio
EACH_ONCE = "expected each part once: a threshold from scans that were trained on, or from one scan many times, keeps no promise"


def sentences_on(parts: Sequence[Prepared], paths: Sequence[Path], known: Sequence[Measures] = ()) -> list[str]:
    """Return all sentences about these scans for the person who trains or calibrates; `known` are measures of good parts."""
    differing = (*scan_sentences(parts, paths), *small_part_sentences(parts), *other_product_sentences(parts, paths, known))
    unseen = (*missing_points_sentences(parts, paths), *lighting_sentences(parts, paths), *flat_cloud_sentences(parts, paths))
    return [*differing, *unseen, *copy_sentences(parts, paths)]


def scan_sentences(parts: Sequence[Prepared], paths: Sequence[Path]) -> list[str]:
    """Return a sentence on what the scans show, and if they differ too much, another on the one that is farthest off.

    Whatever is not table counts as the part: the whole scan if the table is missed, next to nothing if a face of the part is taken for
    it. A model learns from either, and nobody would notice.
    """
    shares = np.array([share_of(part) for part in parts])
    tables = sum(part.has_table for part in parts)
    low, middle, high = np.quantile(shares, (0, 0.5, 1))
    found = f"a table in {tables} of {len(parts)} scans; the part covers {percent(low)} to {percent(high)} % of the image"
    sentences = [f"{found} (median {percent(middle)} %)"]
    if 0 < tables < len(parts) or high > MOST_TIMES * low:
        odd = int(np.argmax(np.abs(np.log(shares / middle))))
        seen = f"{'a' if parts[odd].has_table else 'no'} table and a part of {percent(shares[odd])} %"
        sentences.append(f"{paths[odd]} is farthest off, with {seen}; {EXPECTED}: set {NO_TABLE}, {NOISE}, or crop the scans")
    return sentences


def small_part_sentences(parts: Sequence[Prepared]) -> list[str]:
    """Return a sentence if most parts have so few pixels of the grid that small defects fall between them; an empty list if not."""
    few, whole = float(np.median([np.count_nonzero(part.mask) for part in parts])), parts[0].mask.size
    if few >= LEAST_OF_GRID * whole:
        return []
    found = f"the part has {few:.0f} of the grid's {whole} pixels, expected {ceil(LEAST_OF_GRID * whole)} or more"
    return [f"{found}: crop the scans to the part, or small defects are lost"]


def missing_points_sentences(parts: Sequence[Prepared], paths: Sequence[Path]) -> list[str]:
    """Return a sentence on scans that lack more of the part's points than a station tolerates by default; an empty list if none do."""
    missing = np.array([part.invalid_point_ratio for part in parts])
    count, worst = np.count_nonzero(missing > TOLERATED), int(missing.argmax())
    if not count:
        return []
    found = f"{count} of {len(parts)} scans lack more than {percent(TOLERATED)}% of the part's points"
    tolerated = "a station leaves such parts undecided unless its fusion.max_invalid_point_ratio is larger"
    return [f"{found}, at worst {percent(missing[worst])}% in {paths[worst]}: {tolerated}"]


def lighting_sentences(parts: Sequence[Prepared], paths: Sequence[Path]) -> list[str]:
    """Return a sentence on scans whose image is too dark to show much of the part, and another on over-exposed ones."""
    lit = [part.rgb[part.mask] for part in parts]
    dark = [bool(np.percentile(pixels, BRIGHT_PERCENTILE) <= DARK) for pixels in lit]
    burnt = [bool(np.mean((pixels == 255).all(axis=1)) > MOST_BURNT) for pixels in lit]
    ways = (dark, f"nowhere brighter than {DARK} of 255"), (burnt, f"over-exposed in more than {percent(MOST_BURNT)} % of its image")
    return [f"in {sum(ill)} of {len(ill)} scans the part is {way}, as in {paths[ill.index(True)]}; {LIT}" for ill, way in ways if any(ill)]


def flat_cloud_sentences(parts: Sequence[Prepared], paths: Sequence[Path]) -> list[str]:
    """Return a sentence on scans without a table whose points are all the same in one coordinate; an empty list if there are none.

    Without a table there is no other sign of this. With one, such a cloud is all table, and no part is found.
    """
    same = [(path, axis) for part, path in zip(parts, paths, strict=True) if not part.has_table and (axis := constant_coordinate(part.xyz))]
    if not same:
        return []
    path, axis = same[0]
    found = f"{len(same)} of {len(parts)} scans have the same {axis} in all points, for example {path}"
    return [f"{found}; expected it to be measured: was the depth image not filled?"]


def other_product_sentences(parts: Sequence[Prepared], paths: Sequence[Path], known: Sequence[Measures]) -> list[str]:
    """Return a sentence if none of these parts resembles the few good ones that a model keeps: then they are of another product.

    If the parts of a product vary, many may lie outside so few, but never all.
    """
    if not known:
        return []
    usual = GoodPartRange.of(known)
    faults = [fault for part in parts if (fault := product_fault(Measures.of(part), usual))]
    if len(faults) < len(parts):
        return []
    return [f"none of {len(parts)} scans is like the good ones that the model keeps; {paths[0]}: {faults[0][1]}"]


def other_training_sentences(training: Sequence[Prepared], validation: Sequence[Prepared], paths: Sequence[Path]) -> list[str]:
    """Return a sentence if no validation part, from the scans at these paths, resembles the training parts.

    All limits come from validation parts. So what they have in common would never count as a defect.
    """
    usual = GoodPartRange.of([Measures.of(part) for part in training[:: len(training) // MOST_COMPARED + 1]])
    faults = [fault for part in validation if (fault := fault_of(Measures.of(part), usual, 1.0, is_marked_good=False))]
    if len(faults) < len(validation):
        return []
    return [f"none of {len(validation)} validation scans is like those to train on; {paths[0]}: {faults[0][1]}"]


def advice(loaded: LoadedScan, settings: PointCloudSettings) -> str:
    """Return what to set for a scan in which no part was found, if one would be found without a table, or is too thin; otherwise "".

    It also says if the cloud has no depth, if some points are marks for missing ones, or if the part is too small.
    """
    if axis := constant_coordinate(loaded.xyz_mm):
        return f"; {axis} is the same in all points, expected it to be measured"
    beside = IgnoredContent.of(loaded, settings)
    if sentence := beside.mark_sentence() or beside.thin_sentence():
        return f"; {sentence}"
    try:
        prepare(loaded.rgb, loaded.xyz_mm, msgspec.structs.replace(settings, table="none"))
    except BadPart:
        return ""
    small = "crop the scans to the part if it is so small, or " if 0 < beside.part_px < MIN_PART_POINTS else ""
    return f"; {small}set {NO_TABLE}"


def pointless(loaded: LoadedScan) -> str:
    """Return what was expected of a recorded cloud without any point; "" if it has one."""
    return "" if is_measured(loaded.xyz_mm).any() else "; expected x, y, z of each pixel, and NaN or (0, 0, 0) only where none was measured"


def constant_coordinate(cloud: NDArray[np.float32]) -> str:
    """Return the coordinate in which all measured points of a cloud (H, W, 3) are the same; "" if there is none, or no point."""
    points = cloud[is_measured(cloud)]
    sides = np.ptp(points, axis=0) if len(points) else np.full(3, np.inf)
    return "xyz"[int(sides.argmin())] if sides.min() < SAME_MM else ""


def copy_sentences(parts: Sequence[Prepared], paths: Sequence[Path]) -> list[str]:
    """Return a sentence on scans that are copies of others among these; an empty list if there are none.

    No two scans of a part have the same noise. So equal ones were copied, usually from one split into the other.
    """
    first: dict[bytes, Path] = {}
    copies = []
    for part, path in zip(parts, paths, strict=True):
        held = hashlib.sha256(part.xyz.tobytes() + part.rgb.tobytes()).digest()
        if first.setdefault(held, path) != path:
            copies.append((path, first[held]))
    if not copies:
        return []
    path, original = copies[0]
    return [f"{len(copies)} of {len(parts)} scans are copies of others, for example {path} of {original}; {EACH_ONCE}"]


def share_of(part: Prepared) -> float:
    """Return the share of the frame that the part covers."""
    return float(part.mask[part.grid.in_frame].mean())


def percent(share: float) -> str:
    """Return a share in percent with three digits, without the sign."""
    return f"{100 * share:.3g}"
