"""From maps of good parts to a calibration."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from mdss.method.calibration import Calibration, usual_limit
from mdss.method.fusion import colour_score, fuse
from mdss.method.recipe import FusionSettings, preset
from trainer.calibrate import Maps, calibration_of

PARTS, SIZE_PX = 6, 48


def maps() -> Maps:
    """Return maps of good parts whose highest places do not coincide."""
    random = np.random.default_rng(5)
    rgb, sdf = (list(random.gamma(2.0, scale, (PARTS, SIZE_PX, SIZE_PX)).astype(np.float32)) for scale in (0.02, 0.1))
    return Maps(rgb, sdf, [np.ones((SIZE_PX, SIZE_PX), np.bool_)] * PARTS)


@pytest.mark.parametrize("agreement", [0.0, 0.5])
def test_limit_and_scores_are_of_colour_s_half_as_parts_are_judged_by_it(agreement: float) -> None:
    recipe = msgspec.structs.replace(preset("edge"), fusion=FusionSettings(score="larger", score_floor=2.0, score_agreement=agreement))
    good = maps()
    found = calibration_of(good, recipe)
    halves = [colour_score(rgb, sdf, found) for rgb, sdf in zip(good.rgb, good.sdf, strict=True)]
    assert found.colour_limit == usual_limit(halves, 2.0)
    assert found.validation_scores == tuple(fuse(rgb, sdf, found).score for rgb, sdf in zip(good.rgb, good.sdf, strict=True))
    assert (halves == [float(rgb.max()) for rgb in good.rgb]) == (agreement == 0)


def test_a_calibration_of_before_there_was_agreement_has_none() -> None:
    found = calibration_of(maps(), preset("paper"))
    stored = msgspec.to_builtins(found)
    del stored["fusion"]["score_agreement"]
    assert msgspec.convert(stored, Calibration).fusion.score_agreement == 0
