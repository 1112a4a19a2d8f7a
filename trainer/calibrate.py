"""Calibrates a trained model on good validation parts: spread of the maps, threshold, level of the outlines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdss.method.calibration import Calibration, Statistics, Threshold, find_threshold, now, outlier_question, score_limit
from mdss.method.fusion import colour_score, fuse
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe, ThresholdSettings
from mdss.method.reference import Reference
from trainer.progress import tracked

Float = NDArray[np.float32]

NO_THRESHOLD = Threshold(value=0.0, method="none", asked_false_reject_rate=0.0, stated_false_reject_rate=0.0, parts=0)


@dataclass(frozen=True)
class Maps:
    """Both branches' maps of some parts, and the masks of the parts."""

    rgb: list[Float]
    sdf: list[Float]
    masks: list[NDArray[np.bool_]]


def maps_of(parts: Sequence[Prepared], colour_map: Callable[[Prepared], Float], shape_map: Callable[[Prepared], Float]) -> Maps:
    """Compute both branches' maps of every part."""
    found = Maps([], [], [])
    for part in tracked(parts, "calibration"):
        found.rgb.append(colour_map(part))
        found.sdf.append(shape_map(part))
        found.masks.append(part.mask)
    return found


def calibration_of(maps: Maps, recipe: Recipe, parts: Sequence[Prepared] = (), names: Sequence[str] = ()) -> Calibration:
    """Return the calibration from the maps of good parts that no training saw.

    The parts themselves make the reference for drift. Their names name a part that does not look good.
    """
    masks = maps.masks if recipe.fusion.statistics == "foreground" else None
    pairs = list(zip(maps.rgb, maps.sdf, strict=True))
    unlimited = Calibration(
        rgb=Statistics.of(maps.rgb, masks),
        sdf=Statistics.of(maps.sdf, masks),
        threshold=NO_THRESHOLD,
        map_level=0.0,
        fusion=recipe.fusion,
        calibrated_at=now(),
        validation_scores=(),
        smallest_part_px=int(min(np.count_nonzero(mask) for mask in maps.masks)),
        most_at_edge_px=max((part.grid.at_edge(part.mask) for part in parts), default=None),
        score_floor=score_limit(peaks_of(maps.sdf), recipe.fusion.score_floor),
    )
    colours = [colour_score(*pair, unlimited) for pair in pairs]
    draft = msgspec.structs.replace(unlimited, colour_limit=score_limit(colours, recipe.fusion.score_floor))
    fused = [fuse(*pair, draft) for pair in pairs]
    scores, peaks = [each.score for each in fused], [float(each.map.max()) for each in fused]
    known = msgspec.structs.replace(
        draft,
        validation_scores=tuple(scores),
        validation_peaks=tuple(peaks),
        reference=Reference.of(peaks_of(maps.rgb), peaks_of(maps.sdf), parts) if parts else None,
    )
    return with_threshold(known, recipe.threshold, names)


def with_threshold(calibration: Calibration, settings: ThresholdSettings, names: Sequence[str] = ()) -> Calibration:
    """Return the calibration with the threshold and the level of the outlines that follow from its scores and peaks.

    The margin does not apply to the level: outlines begin where good parts end.
    """
    scores, peaks = calibration.validation_scores, calibration.validation_peaks
    unmoved = msgspec.structs.replace(settings, margin=1.0)
    return msgspec.structs.replace(
        calibration,
        threshold=find_threshold(scores, settings).with_note(outlier_question_on(calibration, names)),
        map_level=find_threshold(peaks, unmoved).value if peaks else calibration.map_level,
        calibrated_at=now(),
    )


def outlier_question_on(calibration: Calibration, names: Sequence[str] = ()) -> str:
    """Return the question about parts that stand out by their scores; without any, about those that stand out in shape; otherwise "".

    Shape counts only above its limit, which comes from the same parts. Of a few dozen parts, one that stands out far lifts the limit
    above itself. Then its score looks like any other, and shape no longer finds that part's fault. Colour always counts.
    """
    shape = calibration.reference.sdf if calibration.reference else ()
    return outlier_question(calibration.validation_scores, names) or (outlier_question(shape, names, "shape") if shape else "")


def peaks_of(maps: Sequence[Float]) -> list[float]:
    """Return the maximum of each map, which is its score."""
    return [float(heat.max()) for heat in maps]
