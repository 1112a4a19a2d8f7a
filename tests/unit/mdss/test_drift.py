"""Drift: what is new is told and named, what is chance is not, however small the reference and however long the line runs."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.drift_line import Draw, StationDrift, normal, quantiles, reference, skewed, stepped, streams, unluckiest_reference
from mdss.drift import BLOCK_PARTS, KEPT_BLOCKS, REST_BLOCKS, WINDOWS, DriftLimits, rank
from mdss.drift_record import QUANTITIES, Quantity, Range, read_record, record_path, sentence_of, warnings_of, write_record
from mdss.errors import MdssError
from tests.fakes import refuses_with

WINDOW_PARTS = BLOCK_PARTS * WINDOWS[-1]


@pytest.mark.parametrize(("draw", "parts"), [(normal, 23), (skewed, 40), (stepped, 23), (normal, 5)])
def test_good_parts_give_no_more_false_warnings_than_stated_though_each_station_keeps_its_one_small_reference(
    draw: Draw, parts: int
) -> None:
    warned = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        warned.append(len(StationDrift.of(reference(random, draw, parts)).run(streams(random, draw, 2000)).onsets()))
    assert sum(warned) <= 4  # 40,000 parts


@pytest.mark.parametrize("parts", [23, 40])
def test_the_rate_holds_for_a_station_whose_reference_is_as_unlucky_as_it_may_be_in_every_quantity(parts: int) -> None:
    onsets = StationDrift.of(unluckiest_reference(parts)).run(streams(np.random.default_rng(3), normal, 40_000)).onsets()
    assert len(onsets) <= 4  # as stated; with limits for the average station there are more than a dozen


def test_a_reference_unluckier_than_that_gives_one_warning_that_lasts_and_no_flood() -> None:
    off = {name: quantiles(23) for name in QUANTITIES} | {"sdf": quantiles(23, 1.0)}
    line = StationDrift.of(off).run(streams(np.random.default_rng(4), normal, 10_000))
    assert [quantity for _, quantity in line.onsets()] == ["sdf"]
    assert line.comparison.is_warned_of("sdf")


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_shift_of_two_deviations_is_named_within_two_blocks_and_no_other_quantity_is(name: Quantity) -> None:
    random = np.random.default_rng(5)
    line = StationDrift.of(reference(random, normal, 23)).run(streams(random, normal, 100))
    line.run(streams(random, normal, 2 * BLOCK_PARTS, **{name: 20.0}))
    assert [quantity for _, quantity in line.onsets()] == [name]


@pytest.mark.parametrize("shift", [-10.0, 10.0])
def test_a_shift_of_one_deviation_is_told_within_a_window_to_a_station_of_average_luck(shift: float) -> None:
    line = StationDrift.of({name: quantiles(40) for name in QUANTITIES})
    line.run(streams(np.random.default_rng(6), normal, 300)).run(streams(np.random.default_rng(7), normal, WINDOW_PARTS, rgb=shift))
    assert [quantity for _, quantity in line.onsets()] == ["rgb"]


def test_a_warning_says_about_which_part_the_drift_began_and_is_over_once_the_parts_are_as_before() -> None:
    line = StationDrift.of({name: quantiles(40) for name in QUANTITIES}).run(streams(np.random.default_rng(8), normal, 400))
    line.run(streams(np.random.default_rng(9), normal, 300, brightness=-30.0)).run(streams(np.random.default_rng(10), normal, 400))
    (began, onset), (over, end) = line.changes
    assert (onset.quantity, onset.is_onset, onset.since.part_id) == ("brightness", True, "part-401")
    assert (began, over) == (400 + BLOCK_PARTS, 700 + REST_BLOCKS * BLOCK_PARTS)
    assert (end.quantity, end.is_onset, end.since) == ("brightness", False, onset.since)
    assert not line.comparison.is_warned_of("brightness")


def test_one_defective_part_in_ten_is_no_drift() -> None:
    random = np.random.default_rng(11)
    parts = streams(random, normal, 5000)
    for name in ("rgb", "sdf"):
        parts[name][::10] += 1000
    assert StationDrift.of({name: quantiles(40) for name in QUANTITIES}).run(parts).onsets() == []


def test_a_difference_without_consequence_is_no_drift_even_where_the_reference_does_not_vary_at_all() -> None:
    constant = {name: [100.0] * 23 for name in QUANTITIES} | {"valid_point_ratio": [1.0] * 23}
    differing = {"rgb": 101.0, "sdf": 99.0, "brightness": 100.5, "valid_point_ratio": 0.9995, "distance_mm": 100.05}
    near = {name: np.full(500, differing[name]) for name in QUANTITIES}
    assert StationDrift.of(constant).run(near).onsets() == []
    near["valid_point_ratio"] = np.full(500, 0.99)
    assert StationDrift.of(constant).run(near).onsets() == [(BLOCK_PARTS, "valid_point_ratio")]


def test_equal_values_rank_in_the_middle() -> None:
    assert [rank(value, [1.0, 2.0, 2.0, 3.0]) for value in (0, 1, 2, 3, 4)] == [0.0, 0.125, 0.5, 0.875, 1.0]


@pytest.mark.parametrize(("parts", "low", "median", "high"), [(11, 1, 5, 9), (40, 4, 19.5, 35), (1, 0, 0, 0)])
def test_the_record_says_where_the_middle_of_the_reference_lies_and_eight_in_ten_of_it(
    parts: int, low: float, median: float, high: float
) -> None:
    shuffled = np.random.default_rng(0).permutation(np.arange(float(parts))).tolist()
    record = StationDrift.of(dict.fromkeys(QUANTITIES, shuffled)).comparison.record()
    assert record.reference_parts == parts
    assert set(record.reference.values()) == {Range(low=low, median=median, high=high)}


def test_the_limits_are_wider_for_fewer_reference_parts_and_for_fewer_false_warnings() -> None:
    few, many, strict = DriftLimits.of(23, 1.0), DriftLimits.of(200, 1.0), DriftLimits.of(23, 0.1)
    assert all(few.windows[blocks] > many.windows[blocks] for blocks in WINDOWS)
    assert all(strict.windows[blocks] > few.windows[blocks] for blocks in WINDOWS)
    assert (few.windows[1] > few.windows[8], strict.rest) == (True, few.rest)


def test_a_process_that_starts_again_goes_on_from_the_record(tmp_path: Path) -> None:
    base = {name: quantiles(40) for name in QUANTITIES}
    line = StationDrift.of(base).run(streams(np.random.default_rng(12), normal, 300, sdf=20.0))
    assert len(line.onsets()) == 1
    (tmp_path / "drift").mkdir()
    write_record(tmp_path, line.comparison.record())
    stored = read_record(tmp_path, "cap")
    assert stored is not None
    again = StationDrift.of(base)
    again.comparison.resume(stored)
    assert again.comparison.record() == stored
    assert again.run(streams(np.random.default_rng(13), normal, 100, sdf=20.0)).changes == []  # warned of already
    assert [quantity for _, quantity in StationDrift.of(base).run(streams(np.random.default_rng(13), normal, 100, sdf=20.0)).onsets()] == [
        "sdf"
    ]


def test_a_record_of_other_reference_parts_another_recipe_or_another_model_is_left_alone() -> None:
    same = {name: quantiles(40) for name in QUANTITIES}
    stored = StationDrift.of(same).run(streams(np.random.default_rng(14), normal, 300)).comparison.record()
    for reference_parts, record, parts in (
        ({name: quantiles(39, 0.1) for name in QUANTITIES}, stored, 0),
        (same, msgspec.structs.replace(stored, model_version="0099"), 0),
        (same, msgspec.structs.replace(stored, recipe="lid"), 0),
        (same, stored, 300),
    ):
        other = StationDrift.of(reference_parts)
        other.comparison.resume(record)
        assert other.comparison.record().parts == parts


def test_no_more_blocks_are_kept_than_a_record_shows_and_they_are_the_latest() -> None:
    line = StationDrift.of({name: quantiles(40) for name in QUANTITIES})
    line.run(streams(np.random.default_rng(16), normal, BLOCK_PARTS * (KEPT_BLOCKS + 2)))
    blocks = line.comparison.record().blocks
    assert (len(blocks), blocks[0].first_part_id) == (KEPT_BLOCKS, f"part-{2 * BLOCK_PARTS + 1}")


def test_a_warning_is_read_back_as_a_sentence_and_a_damaged_record_is_named_and_warns_of_nothing(tmp_path: Path) -> None:
    line = StationDrift.of({name: quantiles(40) for name in QUANTITIES}).run(
        streams(np.random.default_rng(15), normal, 100, distance_mm=30.0)
    )
    record = line.comparison.record()
    write_record(tmp_path, record)
    (warned,) = warnings_of(tmp_path, ["cap", "never-seen"])
    assert (warned.recipe, warned.quantity, warned.since_part_id) == ("cap", "distance_mm", "part-1")
    assert warned.sentence == sentence_of(record, "distance_mm", record.warnings["distance_mm"])
    assert "at calibration 100" in warned.sentence and "part-1" in warned.sentence
    write_record(tmp_path, msgspec.structs.replace(record, format="mdss.drift.v9"))
    with pytest.raises(
        MdssError, match=r"cap\.json: found format 'mdss\.drift\.v9', expected '.*'; without the file the comparison begins anew"
    ):
        read_record(tmp_path, "cap")
    record_path(tmp_path, "cap").write_text('{"format": 1}')
    with pytest.raises(MdssError, match=r"cap\.json.*expected a record of drift"):
        read_record(tmp_path, "cap")
    assert warnings_of(tmp_path, ["cap"]) == ()


def test_a_record_that_this_user_may_not_read_is_no_damaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", refuses_with(errno.EACCES))  # whoever runs this may be root
    with pytest.raises(MdssError) as refused:
        read_record(tmp_path, "cap")
    assert str(refused.value) == f"{record_path(tmp_path, 'cap')}: cannot be read (Permission denied)"


def test_the_figure_that_is_shown_is_beyond_its_limit_when_the_warning_begins() -> None:
    line = StationDrift.of({name: quantiles(40) for name in QUANTITIES})
    line.run(streams(np.random.default_rng(8), normal, BLOCK_PARTS, sdf=60.0, brightness=-60.0))
    assert line.comparison.is_warned_of("sdf") and line.comparison.drift("sdf") > 1
    assert line.comparison.is_warned_of("brightness") and line.comparison.drift("brightness") < -1


def in_blocks(parts: int, *shifts: float) -> StationDrift:
    """Return a line whose parts' brightness ranks so far from the middle of the reference, block by block; all else is as calibrated."""
    base = sorted(quantiles(parts))
    above = [min(parts - 1, round(parts * (0.5 + shift))) for shift in shifts]  # the reference part just above
    values = [(base[number - 1] + base[number]) / 2 if shift else 100.0 for number, shift in zip(above, shifts, strict=True)]
    seen = {name: np.full(BLOCK_PARTS * len(shifts), 100.0) for name in QUANTITIES} | {"brightness": np.repeat(values, BLOCK_PARTS)}
    return StationDrift.of(dict.fromkeys(QUANTITIES, base)).run(seen)


def test_a_line_that_has_just_begun_is_not_held_to_the_limit_of_more_blocks_than_it_has() -> None:
    assert in_blocks(40, 0.25, 0.25, 0.25).onsets() == []
    assert in_blocks(40, 0.25, 0.25, 0.25, 0.25).onsets() == [(4 * BLOCK_PARTS, "brightness")]


def test_a_drift_began_with_the_first_block_that_was_off_by_half_as_much() -> None:
    ((warned, onset),) = in_blocks(40, 0, 0.2, 0.3, 0.3).changes
    assert (warned, onset.since.part_id) == (4 * BLOCK_PARTS, f"part-{BLOCK_PARTS + 1}")


def test_a_warning_of_one_block_ends_after_as_many_at_rest_as_any() -> None:
    changes = in_blocks(23, 0, 0, 0, 0.45, 0, 0, 0, 0, 0).changes
    assert [(number // BLOCK_PARTS, change.is_onset) for number, change in changes] == [(4, True), (4 + REST_BLOCKS, False)]


def test_the_figure_that_is_shown_is_that_of_the_window_that_is_nearest_to_a_warning_to_either_side() -> None:
    for shift in (0.2, -0.2):
        once, twice = (in_blocks(40, *[shift] * blocks).comparison.drift("brightness") / shift for blocks in (1, 2))
        assert twice > once > 0
