"""The colour branch: crops that change nothing, maps that lie where the image does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mdss.errors import ModelRefused
from mdss.method import eight_bits, torch_device
from mdss.method.border import BORDER_PX, near_border
from mdss.method.brightness import object_brightness
from mdss.method.contrast import contrast
from mdss.method.description_network import PatchDescriptionNetwork, positions
from mdss.method.eight_bits import EightBitConvolution, highest_inputs
from mdss.method.grid import Grid
from mdss.method.recipe import ColourSettings, Recipe, Scores
from mdss.method.student_teacher import (
    MOST_LEVEL,
    WEIGHTS,
    ColourBranch,
    StudentTeacher,
    Window,
    above_median,
    by_surroundings,
    enlarge,
    padded_image,
    window_pixels,
)
from mdss.method.surroundings import surroundings
from mdss.method.usual import CLASSES, Usual
from mdss.method.weights import write_weights
from tests.precision import needs_bfloat16

SIZE_PX = 128


@pytest.fixture(scope="module")
def networks() -> StudentTeacher:
    torch.manual_seed(0)
    return StudentTeacher(ColourSettings(student_width=0.25))


def image(seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


@pytest.mark.parametrize(("side", "expected"), [(256, 56), (288, 64), (96, 16), (33, 1)])
def test_the_network_gives_as_many_positions_as_it_says(side: int, expected: int) -> None:
    found = PatchDescriptionNetwork(width=0.1)(torch.zeros(1, 3, side, side))
    assert positions(side) == expected == found.shape[-1] == found.shape[-2]


@settings(max_examples=15)
@given(top=st.integers(0, 45), left=st.integers(0, 45), height=st.integers(1, 30), width=st.integers(1, 30))
def test_cropping_to_the_mask_changes_no_value_inside_it(networks: StudentTeacher, top: int, left: int, height: int, width: int) -> None:
    rgb, mask = image()[:64, :64], np.zeros((64, 64), bool)
    mask[top : top + height, left : left + width] = True
    cropped = ColourBranch(networks, ColourSettings(blur_px=0), "cpu", "float32").score_map(rgb, mask)
    whole = ColourBranch(networks, ColourSettings(blur_px=0, mask_scoring=False), "cpu", "float32").score_map(rgb, mask)
    assert np.allclose(cropped[mask], whole[mask], rtol=1e-4, atol=1e-8)
    assert not cropped[~mask].any()


@pytest.mark.parametrize("at", [(40, 40), (61, 83), (100, 33)])
def test_a_change_in_the_image_is_where_the_map_changes(networks: StudentTeacher, at: tuple[int, int]) -> None:
    everywhere = np.ones((SIZE_PX, SIZE_PX), bool)
    branch = ColourBranch(networks, ColourSettings(), "cpu")
    grey = np.full((SIZE_PX, SIZE_PX, 3), 100, np.uint8)
    changed = grey.copy()
    changed[at] = 255
    change = abs(branch.score_map(changed, everywhere) - branch.score_map(grey, everywhere)).astype(np.float64)
    centre = [float((axis * change).sum() / change.sum()) for axis in np.indices(change.shape)]
    assert centre == pytest.approx(at, abs=2.5)


def test_a_map_is_enlarged_with_each_cell_on_the_pixel_it_looks_at() -> None:
    cells = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    heat = enlarge(cells)
    assert np.allclose(heat[::4, ::4], cells, atol=1e-3)
    assert heat[2, 4] == pytest.approx((cells[0, 1] + cells[1, 1]) / 2, abs=1e-3)


def test_without_a_mirrored_border_nothing_is_said_where_the_field_leaves_the_image(networks: StudentTeacher) -> None:
    everywhere = np.ones((SIZE_PX, SIZE_PX), bool)
    heat = ColourBranch(networks, ColourSettings(border="zero", blur_px=0), "cpu").score_map(image(), everywhere)
    assert not heat[:13].any() and not heat[:, :13].any()
    assert (heat[20:100, 20:100] > 0).all()


def test_an_empty_mask_is_scored_as_nothing(networks: StudentTeacher) -> None:
    nothing = np.zeros((SIZE_PX, SIZE_PX), bool)
    assert not ColourBranch(networks, ColourSettings(), "cpu").score_map(image(), nothing).any()


def test_the_blur_comes_after_the_mask(networks: StudentTeacher) -> None:
    mask = np.zeros((SIZE_PX, SIZE_PX), bool)
    mask[40:80, 40:80] = True
    sharp, soft = (ColourBranch(networks, ColourSettings(blur_px=blur), "cpu").score_map(image(), mask) for blur in (0, 4))
    assert soft[39, 60] > 0 == sharp[39, 60]
    assert soft.max() < sharp.max()
    assert soft.sum() == pytest.approx(sharp.sum(), rel=1e-3)


def test_the_window_of_all_cells_is_the_whole_padded_image() -> None:
    padded = torch.from_numpy(padded_image(image(), "reflect"))[None]
    cells = SIZE_PX // 4
    assert Window.whole(cells).crop(padded).shape == (1, 3, SIZE_PX + 32, SIZE_PX + 32)


def test_a_saved_branch_scores_as_before(networks: StudentTeacher, tmp_path: Path) -> None:
    write_weights(networks, tmp_path / WEIGHTS)
    recipe = Recipe(rgb=ColourSettings(student_width=0.25))
    mask = np.ones((SIZE_PX, SIZE_PX), bool)
    before = ColourBranch(networks, recipe.rgb, "cpu").score_map(image(), mask)
    assert np.array_equal(ColourBranch.load(tmp_path, recipe, "cpu").score_map(image(), mask), before)


def test_weights_of_another_width_are_refused_by_the_files_name(networks: StudentTeacher, tmp_path: Path) -> None:
    write_weights(networks, tmp_path / WEIGHTS)
    with pytest.raises(
        ModelRefused, match=r"rgb\.safetensors: student\.conv1\.bias: found a tensor of shape \(32,\), expected a tensor of shape \(64,\)"
    ):
        ColourBranch.load(tmp_path, Recipe(), "cpu")
    with pytest.raises(ModelRefused, match="no such file"):
        ColourBranch.load(tmp_path / "nowhere", Recipe(), "cpu")


@needs_bfloat16
def test_in_bfloat16_the_map_is_the_same_within_a_hundredth_of_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "cpu_gains_by_bfloat16", lambda: True)
    torch.manual_seed(0)
    learner, image = StudentTeacher(ColourSettings(student_width=1.0)), np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    mask = np.ones((128, 128), np.bool_)
    exact, quick = (ColourBranch(learner, ColourSettings(), "cpu", precision).score_map(image, mask) for precision in ("float32", "auto"))
    assert not np.array_equal(quick, exact), "it was not computed otherwise"
    assert np.abs(quick - exact).max() < 0.01 * exact.max()
    assert {value.dtype for value in learner.state_dict().values()} == {torch.float32}


def test_a_branch_in_eight_bits_says_nearly_the_same_and_computes_no_wide_layer_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, mask = ColourSettings(scores_in="int8", student_width=0.25), np.ones((SIZE_PX, SIZE_PX), bool)
    torch.manual_seed(0)
    learner = StudentTeacher(settings)
    learner.peaks.copy_(highest_inputs(learner.wide_layers(), lambda: learner(seen(image()), "squared")))
    exact = ColourBranch(learner, msgspec.structs.replace(settings, scores_in="float"), "cpu", "float32").score_map(image(1), mask)
    branch = ColourBranch(learner, settings, "cpu")
    assert {type(layer) for layer in branch._networks.wide_layers()} == {EightBitConvolution}
    quick = branch.score_map(image(1), mask)
    assert not np.array_equal(quick, exact)
    assert np.abs(quick - exact).max() < 0.05 * exact.max()
    monkeypatch.setattr(eight_bits, "multiplies_eight_bits", lambda: False)
    assert np.allclose(ColourBranch(learner, settings, "cpu").score_map(image(1), mask), quick, rtol=1e-3, atol=1e-4 * exact.max())
    assert {type(layer) for layer in learner.wide_layers()} == {torch.nn.Conv2d}, "the network that learns is another"


def test_weights_that_were_not_measured_for_eight_bits_are_refused(networks: StudentTeacher, tmp_path: Path) -> None:
    write_weights(networks, tmp_path / WEIGHTS)
    recipe = Recipe(rgb=ColourSettings(student_width=0.25, scores_in="int8"))
    with pytest.raises(ModelRefused, match=r"rgb\.safetensors: peaks: found nothing, expected a tensor of shape \(6,\)"):
        ColourBranch.load(tmp_path, recipe, "cpu")


@pytest.mark.parametrize(
    ("tensor", "scores_in"),
    [
        ("student.conv1.weight", "int8"),
        ("teacher.conv3.bias", "int8"),
        ("deviation", "int8"),
        ("peaks", "int8"),
        ("student.conv1.weight", "float"),
    ],
)
def test_what_is_no_number_is_refused_before_eight_bits_or_a_rectifier_hide_it(tensor: str, scores_in: Scores) -> None:
    settings = ColourSettings(student_width=0.25, scores_in=scores_in)
    learner = StudentTeacher(settings)
    learner.state_dict()[tensor].view(-1)[0] = float("nan")
    with pytest.raises(ModelRefused, match=f"StudentTeacher: {tensor}: found what is no finite number"):
        ColourBranch(learner, settings, "cpu")


def ready_for(settings: ColourSettings, networks: StudentTeacher) -> StudentTeacher:
    """Return the same networks with a place for what these settings measure."""
    made = StudentTeacher(settings)
    made.load_state_dict(networks.state_dict(), strict=False)
    return made


def seen(rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> torch.Tensor:
    return window_pixels(Window.whole(SIZE_PX // 4), rgb, "reflect", "cpu")


def test_a_levelled_branch_sees_the_same_part_in_another_light_as_it_was(networks: StudentTeacher) -> None:
    levelled = ColourSettings(student_width=0.25, levelling=0.5)
    with_light = ready_for(levelled, networks)
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[30:100, 20:90] = True
    usual = (image() * 0.6).astype(np.uint8)
    dark = np.rint(usual * 0.8).astype(np.uint8)
    with_light.brightness.fill_(object_brightness(usual, mask))
    branches = (ColourBranch(networks, ColourSettings(student_width=0.25), "cpu"), ColourBranch(with_light, levelled, "cpu"))
    change, left = (np.abs(branch.score_map(dark, mask) - branch.score_map(usual, mask)).max() for branch in branches)
    assert left < 0.1 * change
    too_dark = np.rint(usual * 0.4).astype(np.uint8)  # the limit leaves it at 0.6
    assert np.abs(branches[1].score_map(too_dark, mask) - branches[1].score_map(usual, mask)).max() > 2 * left


def test_half_of_what_all_of_a_part_has_in_common_is_taken_off_and_nothing_falls_below_zero() -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[2:6, 2:6] = True
    heat = np.where(mask, np.float32(0.4), np.float32(0.1))
    heat[3, 3], heat[4, 4] = 1.0, 0.0
    expected = np.where(mask, 0.2, 0)
    expected[3, 3], expected[4, 4] = 0.8, 0.0
    np.testing.assert_allclose(above_median(heat, mask, 0.5), expected, atol=1e-6)
    assert above_median(heat, mask, 0.5).dtype == np.float32
    for unchanged in (above_median(heat, mask, 0.0), above_median(heat, np.zeros_like(mask), 0.5)):
        np.testing.assert_array_equal(unchanged, heat)


def test_the_branch_takes_its_share_of_the_median_off(networks: StudentTeacher) -> None:
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[30:100, 20:90] = True
    plain, less = (ColourBranch(networks, ColourSettings(median_share=share), "cpu").score_map(image(), mask) for share in (0.0, 0.5))
    np.testing.assert_allclose(less, np.maximum(plain - 0.5 * np.median(plain[mask]), 0), atol=1e-6)


def test_a_branch_that_weighs_by_contrast_divides_its_map_by_what_is_usual_there_in_its_own_light(networks: StudentTeacher) -> None:
    settings = ColourSettings(student_width=0.25, by_contrast=True, levelling=0.5)
    weighing = ready_for(settings, networks)
    usual = Usual(np.linspace(0, 40, CLASSES, dtype=np.float32), np.linspace(0.8, 2, CLASSES, dtype=np.float32))
    weighing.usual.copy_(torch.from_numpy(usual.stored()))
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[30:100, 20:90] = True
    weighing.brightness.fill_(0.7 * object_brightness(image(), mask))
    branch = ColourBranch(weighing, settings, "cpu")
    seen, weighed = branch.levelled(image(), mask), branch.score_map(image(), mask)
    plain = branch.map_before_division(seen, mask)
    np.testing.assert_allclose(weighed, plain / usual.at(contrast(seen, mask)), rtol=1e-5)
    assert weighed.dtype == np.float32 and not np.allclose(weighed, plain)


def test_a_branch_that_weighs_by_surroundings_divides_its_map_by_what_it_reaches_around_each_place(networks: StudentTeacher) -> None:
    settings = ColourSettings(student_width=0.25, by_surroundings=0.5)
    weighing = ready_for(settings, networks)
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[30:100, 20:90] = True
    plain = ColourBranch(networks, ColourSettings(student_width=0.25), "cpu").score_map(image(), mask)
    np.testing.assert_array_equal(ColourBranch(weighing, settings, "cpu").score_map(image(), mask), plain)  # nothing is usual yet
    around = surroundings(plain, mask)[mask]
    assert np.ptp(around) > 1e-3 * around.max()
    for level in (1.2, 0.9):
        weighing.level.fill_(float(np.median(around)) / level)
        weighed = ColourBranch(weighing, settings, "cpu").score_map(image(), mask)
        np.testing.assert_allclose(weighed[mask], plain[mask] / (around / float(weighing.level)) ** 0.5, rtol=1e-5)
        assert weighed.dtype == np.float32


def test_a_part_that_is_wrong_throughout_is_excused_no_more_than_a_good_one() -> None:
    heat, mask = np.full((8, 8), 2, np.float32), np.ones((8, 8), np.bool_)
    for times in (MOST_LEVEL, 3, 100):
        np.testing.assert_allclose(by_surroundings(times * heat, mask, 2, 0.5), times * heat / MOST_LEVEL**0.5, rtol=1e-6)
        np.testing.assert_allclose(by_surroundings(heat / times, mask, 2, 0.5), heat / times * MOST_LEVEL**0.5, rtol=1e-6)
    np.testing.assert_array_equal(by_surroundings(heat, ~mask, 2, 0.5), heat)


def test_a_branch_that_weighs_by_the_border_divides_its_map_by_what_is_usual_so_near_to_it(networks: StudentTeacher) -> None:
    settings = ColourSettings(student_width=0.25, by_border=True)
    weighing = ready_for(settings, networks)
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[30:100, :90] = True
    plain = ColourBranch(networks, ColourSettings(student_width=0.25), "cpu").score_map(image(), mask)
    np.testing.assert_array_equal(ColourBranch(weighing, settings, "cpu").score_map(image(), mask), plain)  # ones change nothing
    cues, values = np.linspace(0, BORDER_PX, CLASSES, dtype=np.float32), np.linspace(1, 3, CLASSES, dtype=np.float32)
    weighing.border_usual.copy_(torch.from_numpy(np.stack([cues, values])))
    weighed = ColourBranch(weighing, settings, "cpu").score_map(image(), mask)
    columns = np.arange(SIZE_PX)
    np.testing.assert_allclose(weighed[40:90], plain[40:90] / (1 + 2 * (BORDER_PX - columns).clip(0) / BORDER_PX), rtol=1e-5)
    assert plain[40:90, 0].min() > 0
    tall = Grid(4 * SIZE_PX, 2 * SIZE_PX, SIZE_PX)  # its letterbox is a quarter of the grid on either side
    within = ColourBranch(weighing, settings, "cpu").score_map(image(), mask, tall)
    np.testing.assert_allclose(within, plain / (1 + 2 * near_border(tall) / BORDER_PX), rtol=1e-5)
