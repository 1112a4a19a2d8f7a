"""What is usual: the mean of good parts' places of one kind, between kinds in proportion, and never so little that noise stands out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mdss.method.usual import CLASSES, LEAST, SHARES, Usual


def test_usual_is_what_good_parts_reach_in_each_class_for_one_on_the_whole_part() -> None:
    cues = [np.arange(1000, dtype=np.float32), np.arange(1000, 2000, dtype=np.float32)]
    found = [np.where(each < 1800, np.float32(1), np.float32(3)) for each in cues]
    usual = Usual.of(cues, found)
    assert usual.values == pytest.approx(np.where(np.arange(CLASSES) < np.searchsorted(SHARES, 0.9) + 1, 1, 3) / 1.2, rel=1e-5)
    assert usual.cues[[0, -1]] == pytest.approx([99.5, 1989.5])
    assert usual.at(np.array([1849.5, 5000], np.float32)) == pytest.approx([2.5, 2.5], abs=0.1)  # the last class goes on


def test_between_two_classes_usual_is_in_proportion_and_never_below_its_least() -> None:
    usual = Usual(np.arange(CLASSES, dtype=np.float32), np.linspace(0.1, 2.5, CLASSES, dtype=np.float32))
    assert usual.at(np.array([0, 6, 6.5], np.float32)) == pytest.approx([LEAST, 1.3, 1.4], abs=1e-5)


def test_places_with_the_same_cue_are_of_one_class() -> None:
    cues = np.repeat(np.array([0.25, 1.0], np.float32), (200, 800))
    usual = Usual.of([cues[::2], cues[1::2]], [np.where(each < 1, np.float32(5), np.float32(1)) for each in (cues[::2], cues[1::2])])
    assert usual.at(np.array([0.25, 1.0], np.float32)) == pytest.approx([5 / 1.8, LEAST])
    assert usual.values == pytest.approx([5 / 1.8, *[1 / 1.8] * (CLASSES - 1)])


def test_what_is_stored_is_read_again_and_a_table_of_ones_changes_nothing() -> None:
    usual = Usual.of([np.arange(1000, dtype=np.float32)], [np.arange(1000, dtype=np.float32)])
    read = Usual.read(torch.from_numpy(usual.stored()))
    np.testing.assert_array_equal(read.stored(), usual.stored())
    assert Usual.read(torch.ones(2, CLASSES)).at(np.array([0, 1, 7], np.float32)).tolist() == [1, 1, 1]


def test_a_table_is_left_out_only_if_all_its_values_are_one() -> None:
    assert Usual.read_unless_flat(torch.ones(2, CLASSES)) is None
    values = torch.linspace(1.1, 2, CLASSES)
    for some in (values, torch.cat([torch.ones(CLASSES - 1), values[:1]])):
        read = Usual.read_unless_flat(torch.stack([torch.arange(CLASSES) * 1.0, some]))
        assert read is not None and read.values.tolist() == some.tolist()


@pytest.mark.parametrize("heat", [0.0, 2.0])
def test_parts_that_are_alike_everywhere_or_have_few_pixels_are_held_to_nothing(heat: float) -> None:
    few = Usual.of([np.full(5, 3, np.float32)], [np.full(5, heat, np.float32)])
    assert few.cues.shape == few.values.shape == (CLASSES,)
    assert few.at(np.array([0, 3, 9], np.float32)) == pytest.approx([max(heat / 2, LEAST)] * 3)


def test_no_class_has_more_than_the_most_that_is_allowed() -> None:
    cues = np.repeat(np.array([0.25, 1.0], np.float32), (800, 200))
    found = np.where(cues < 1, np.float32(0), np.float32(5))
    assert Usual.of([cues], [found]).at(np.array([1.0], np.float32)) == pytest.approx([5])
    assert Usual.of([cues], [found], most=3).at(np.array([0.25, 1.0], np.float32)) == pytest.approx([LEAST, 3])


def test_where_good_parts_have_no_such_place_everything_is_usual() -> None:
    nothing = np.empty(0, np.float32)
    np.testing.assert_array_equal(Usual.of([nothing, nothing], [nothing, nothing]).stored(), np.ones((2, CLASSES)))
