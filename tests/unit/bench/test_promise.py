"""What thresholds promise and keep, in numbers alone."""

from __future__ import annotations

import numpy as np
import pytest

from bench.promise import LINES, main, rates


def test_where_no_good_part_stands_out_a_threshold_keeps_what_it_states() -> None:
    stated, exceeded = rates(LINES[0], 19, 4000, np.random.default_rng(0))
    assert stated == pytest.approx(1 / 20)
    assert exceeded == pytest.approx(stated, abs=0.01)


def test_one_part_of_few_that_stands_out_in_shape_hides_behind_the_limit_that_it_lifts() -> None:
    stated, exceeded = rates(LINES[2], 10, 4000, np.random.default_rng(0))
    assert stated == pytest.approx(1 / 11)
    assert exceeded > 1.2 * stated


def test_the_table_has_a_row_for_each_number_of_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--parts", "5,9", "--rounds", "2"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("| validation parts | stated | none stands out |")
    assert [row.split("|")[1:3] for row in rows] == [[" 5 ", " 16.7% "], [" 9 ", " 10% "]]


@pytest.mark.parametrize("given", ["a", "4", "-3", "10,", "10,4"])
def test_numbers_for_which_there_is_no_threshold_are_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--parts", given, "--rounds", "2"]) == 2
    assert f"--parts: found '{given}', expected numbers from 5 on, such as 10,19,30" in capsys.readouterr().err
