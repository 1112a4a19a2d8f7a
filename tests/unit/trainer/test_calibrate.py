"""From maps of good parts to a calibration."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from mdss.method.calibration import Calibration, find_threshold, score_limit
from mdss.method.fusion import colour_score, fuse
from mdss.method.grid import Grid
from mdss.method.point_cloud import Prepared
from mdss.method.presets import preset
from mdss.method.recipe import FusionSettings
from trainer import calibrate_verb
from trainer.calibrate import Maps, calibration_of, with_threshold
from trainer.calibrate_verb import chance_above_all, how_far_it_moved, rise_sentence, score_rise_sentence

PARTS, SIZE_PX = 6, 48


def maps() -> Maps:
    """Return maps of good parts whose highest places do not coincide."""
    random = np.random.default_rng(5)
    rgb, sdf = (list(random.gamma(2.0, scale, (PARTS, SIZE_PX, SIZE_PX)).astype(np.float32)) for scale in (0.02, 0.1))
    return Maps(rgb, sdf, [np.ones((SIZE_PX, SIZE_PX), np.bool_)] * PARTS)


def good_part(rows: slice) -> Prepared:
    """Return a part as wide as the image less a pixel on each side, in these rows."""
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[rows, 1:-1] = True
    rgb, xyz = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8), np.ones((SIZE_PX, SIZE_PX, 3), np.float32)
    return Prepared(rgb, xyz, mask, Grid.filled(SIZE_PX), 0.0, has_table=True)


@pytest.mark.parametrize("agreement", [0.0, 0.5])
def test_limit_and_scores_are_of_colour_s_half_as_parts_are_judged_by_it(agreement: float) -> None:
    recipe = msgspec.structs.replace(preset("edge"), fusion=FusionSettings(score="larger", score_floor=2.0, score_agreement=agreement))
    good = maps()
    found = calibration_of(good, recipe)
    halves = [colour_score(rgb, sdf, found) for rgb, sdf in zip(good.rgb, good.sdf, strict=True)]
    assert found.colour_limit == score_limit(halves, 2.0)
    assert found.validation_scores == tuple(fuse(rgb, sdf, found).score for rgb, sdf in zip(good.rgb, good.sdf, strict=True))
    assert (halves == [float(rgb.max()) for rgb in good.rgb]) == (agreement == 0)


def test_a_bad_part_among_the_good_ones_is_named_with_the_threshold_and_by_its_place_where_no_name_is_known_any_more() -> None:
    recipe, parts = preset("edge"), maps()
    names = [f"{number:03d}" for number in range(PARTS)]
    assert "validation part" not in calibration_of(parts, recipe, names=names).threshold.note
    parts.rgb[2][20:24, 20:24] *= 100
    found = calibration_of(parts, recipe, names=names)
    assert re.fullmatch(r"6 good parts .*; validation part 002 scores \d+ times the next: is it good\?", found.threshold.note)
    assert "; validation part 3 of 6 scores " in with_threshold(found, recipe.threshold).threshold.note


def test_a_bad_part_that_lifts_the_limit_of_shape_above_itself_is_asked_about_all_the_same() -> None:
    recipe, parts, good = preset("edge"), maps(), [good_part(slice(1, -1))] * PARTS
    names = [f"{number:03d}" for number in range(PARTS)]
    assert "validation part" not in calibration_of(parts, recipe, good, names).threshold.note
    parts.sdf[2][20:24, 20:24] *= 20
    found = calibration_of(parts, recipe, good, names)
    scores = np.sort(found.validation_scores)
    assert scores[-1] < 2 * scores[-2], "it is like any other's"
    assert re.search(r"; validation part 002 scores \d+ times the next in shape: is it good\?$", found.threshold.note)
    assert "; validation part 3 of 6 scores " in with_threshold(found, recipe.threshold).threshold.note


def test_parts_that_a_branch_scores_far_above_those_of_before_are_said_to_lift_its_limit() -> None:
    recipe, good = preset("edge"), [good_part(slice(1, -1))] * PARTS
    before, other = calibration_of(maps(), recipe, good), maps()
    other.sdf[:] = [heat * np.float32(2.9) for heat in other.sdf]
    assert score_rise_sentence(calibration_of(other, recipe, good), before) == ""
    other.sdf[:] = [heat * np.float32(2) for heat in other.sdf]
    assert calibration_of(other, recipe, good).threshold.value == pytest.approx(before.threshold.value), "which does not show it"
    said = score_rise_sentence(calibration_of(other, recipe, good), before)
    assert said.startswith(
        "in shape these parts score 6 times as high as the good ones of the calibration before, and so much more has to be"
    )
    other.rgb[:] = [heat * np.float32(7) for heat in other.rgb]
    assert score_rise_sentence(calibration_of(other, recipe, good), before).startswith("in colour these parts score 7 times as high as ")
    assert score_rise_sentence(calibration_of(other, recipe), before) == score_rise_sentence(before, calibration_of(other, recipe)) == ""


def test_some_parts_that_hide_each_other_are_asked_about_where_they_lift_a_limit_that_was_well_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, good = preset("edge"), [good_part(slice(1, -1))] * PARTS
    before, other = calibration_of(maps(), recipe, good), maps()
    for number, factor in enumerate((2.2, 4.8, 10.0)):
        other.rgb[number][20:24, 20:24] = factor * other.rgb[number].max()
    found = calibration_of(other, recipe, good)
    assert "validation part" not in found.threshold.note and score_rise_sentence(found, before) == ""
    assert rise_sentence(found, before) == "", "few parts tell no limit"
    monkeypatch.setattr(calibrate_verb, "LIMIT_KNOWN", PARTS)
    times = found.colour_limit / before.colour_limit
    assert (
        rise_sentence(found, before)
        == f"the limit of colour is {times:.0f} times that of the calibration before: are all these parts good?"
    )
    assert rise_sentence(before, before) == rise_sentence(before, found) == ""


def test_how_likely_parts_score_above_all_of_before_is_what_counting_every_order_of_them_says() -> None:
    for count, before in ((3, 4), (5, 2)):
        orders = list(combinations(range(count + before), count))  # the places of the new parts, the lowest score first
        for above in range(count + 1):
            found = sum(len(set(order) - set(range(max(set(range(count + before)) - set(order))))) >= above for order in orders)
            assert chance_above_all(above, count, before) == pytest.approx(found / len(orders))


def test_a_margin_moves_the_threshold_and_outlines_begin_where_they_did() -> None:
    recipe = preset("edge")
    found = calibration_of(maps(), recipe)
    far = with_threshold(found, msgspec.structs.replace(recipe.threshold, margin=3.0))
    assert far.threshold.value == pytest.approx(3 * found.threshold.value)
    assert far.map_level == found.map_level > 0


def test_outlines_begin_where_the_maps_of_good_parts_end_whatever_their_scores_are() -> None:
    recipe = preset("edge")
    found = calibration_of(maps(), recipe)
    assert found.map_level == find_threshold(found.validation_peaks, recipe.threshold).value
    assert found.threshold.value == find_threshold(found.validation_scores, recipe.threshold).value != found.map_level


def test_maps_are_aligned_by_what_they_hold_on_the_parts_unless_the_recipe_takes_all_of_them() -> None:
    on_part, parts = np.arange(SIZE_PX * SIZE_PX).reshape(SIZE_PX, SIZE_PX) % 2 == 0, maps()
    parts = Maps([heat + 100 * ~on_part for heat in parts.rgb], parts.sdf, [on_part] * PARTS)
    ways: tuple[tuple[Literal["foreground", "all"], Any], ...] = (("foreground", on_part), ("all", np.ones_like(on_part)))
    for statistics, pixels in ways:
        recipe = msgspec.structs.replace(preset("edge"), fusion=FusionSettings(statistics=statistics))
        found, seen = calibration_of(parts, recipe).rgb, np.stack(parts.rgb)[:, pixels]
        assert [found.mean, found.std] == pytest.approx([seen.mean(), seen.std()], rel=1e-4)


def test_what_the_smallest_part_covers_is_known_and_nothing_is_too_small_for_a_calibration_of_before_it_was() -> None:
    parts = maps()
    parts.masks[1] = parts.masks[1].copy()
    parts.masks[1][: SIZE_PX // 4] = False
    found, half = calibration_of(parts, preset("edge")), np.arange(SIZE_PX * SIZE_PX).reshape(SIZE_PX, SIZE_PX) < SIZE_PX**2 // 2
    assert found.coverage(half) == pytest.approx(2 / 3)
    stored = msgspec.to_builtins(found)
    del stored["smallest_part_px"]
    assert msgspec.convert(stored, Calibration).coverage(half) == np.inf


def test_how_far_good_parts_run_into_the_edge_is_known_where_their_frames_are() -> None:
    found = calibration_of(maps(), preset("edge"), [good_part(np.s_[10:20]), good_part(np.s_[10:])])
    assert found.most_at_edge_px == SIZE_PX - 2
    assert (found.is_cut_off(65), found.is_cut_off(66)) == (False, True)
    without = calibration_of(maps(), preset("edge"))
    assert without.most_at_edge_px is None and not without.is_cut_off(SIZE_PX)


def test_a_calibration_of_before_there_was_agreement_has_none() -> None:
    found = calibration_of(maps(), preset("paper"))
    stored = msgspec.to_builtins(found)
    del stored["fusion"]["score_agreement"]
    assert msgspec.convert(stored, Calibration).fusion.score_agreement == 0


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (0.5, "the new one is the same"), (0.50001, "the new one is the same"), (0.501, "the new one is 0.2% higher"),
        (0.4, "the new one is 20% lower"), (1.0, "the new one is 2 times that"), (600, "the new one is 1200 times that"),
        (0.025, "20 times the new one"),
    ],
)  # fmt: skip
def test_how_far_a_threshold_moved_is_told_as_people_compare(new: float, words: str) -> None:
    assert how_far_it_moved(0.5, new) == words
    assert how_far_it_moved(0.0, 0.0) == "the new one is the same"
