"""Two commits side by side: ratios of each round, their middle and their ends, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compare import Row, Side, Times, compare, lines_of, main, measure_in_turn


def test_the_ratio_is_the_middle_one_of_the_rounds_with_its_ends() -> None:
    rounds = [
        ({"rgb": [10.0, 20.0, 90.0]}, {"rgb": [10.0]}),
        ({"rgb": [40.0]}, {"rgb": [10.0, 30.0]}),
        ({"rgb": [10.0]}, {"rgb": [15.0]}),
    ]
    assert compare(rounds) == [Row("rgb", 20.0, 15.0, 0.5, 0.5, 1.5, 1.0)]


def test_both_commits_are_measured_in_turn_and_every_other_round_begins_with_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    sides, asked = (Side("one", Path("tree-1"), Path("work-1")), Side("two", Path("tree-2"), Path("work-2"))), list[str]()

    def times(side: Side, *_: object) -> Times:
        asked.append(side.name)
        return {side.name: [1.0]}

    monkeypatch.setattr(Side, "times", times)
    assert measure_in_turn(sides, Path("harness"), 3, {}) == [({"one": [1.0]}, {"two": [1.0]})] * 3
    assert asked == ["one", "two", "two", "one", "one", "two"]


def test_a_stage_that_only_one_commit_has_is_left_out() -> None:
    assert [row.stage for row in compare([({"rgb": [1.0], "old": [1.0]}, {"new": [1.0], "rgb": [1.0]})])] == ["rgb"]


def test_a_row_says_both_times_and_the_spread_of_their_ratio() -> None:
    lines = list(lines_of([Row("sdf", 20.0, 15.0, 0.75, 0.7, 0.8, 0.7)], ("one", "two")))
    assert lines[0] == "| stage | one, p50 ms | two, p50 ms | ratio | over the rounds | of the fastest |"
    assert lines[2] == "| sdf | 20.00 | 15.00 | 0.750 | 0.700 to 0.800 | 0.700 |"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["HEAD", "no-such-branch"], "expected two commits of"),
        (["HEAD", "HEAD", "--recipe", "part"], "found some of them, expected all three"),
    ],
)
def test_what_cannot_be_compared_is_refused(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert sentence in capsys.readouterr().err
