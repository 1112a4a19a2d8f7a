"""Progress: what a person reads in a terminal and in a log."""

from __future__ import annotations

import io
import sys
import time

import pytest

from trainer.progress import LINE_EVERY_S, REPORT_EVERY_S, Meter, Report, tracked


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Terminal(io.StringIO):
    """What stderr is where a person looks on."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that the meter reads."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_a_log_gets_one_line_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("train", 4) as meter:
        for _ in range(4):
            clock.now_s += 2
            meter.step()
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == "train: 4/4, 8 s, 0 s left\n"


def test_an_end_that_comes_when_a_line_is_due_is_said_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("train", 1) as meter:
        clock.now_s += LINE_EVERY_S + 1
        meter.step()
    assert capsys.readouterr().err == "train: 1/1, 31 s, 0 s left\n"


def test_a_log_gets_a_line_now_and_then_with_the_time_left_and_the_last_note(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("train", 40) as meter:
        meter.step("loss 0.5")
        clock.now_s += LINE_EVERY_S + 1
        meter.step()
        assert capsys.readouterr().err == "train: 2/40, 31 s, 589 s left loss 0.5\n"
        clock.now_s += LINE_EVERY_S - 1
        meter.step("loss 0.4")
        assert capsys.readouterr().err == ""


def test_time_left_counts_only_what_was_done_since_the_start(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("resumed", 200, done=100) as meter:
        clock.now_s += 10
        for _ in range(50):
            meter.step()
    assert capsys.readouterr().err == "resumed: 150/200, 10 s, 10 s left\n"


def test_an_end_before_the_first_step_is_said_too(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("train", 4):
        pass
    assert capsys.readouterr().err == "train: 0/4, 0 s, 0 s left\n"


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Meter("train", 3) as meter:
        for _ in range(3):
            meter.step("loss 0.25")
    shown = terminal.getvalue()
    assert "train" in shown and "3/3" in shown and "loss 0.25" in shown
    assert "s left" not in shown


@pytest.mark.parametrize("columns", [40, 64, 71, 72, 80, 120])
def test_from_40_columns_on_a_terminal_cuts_neither_count_nor_time_left_nor_note(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # as rich asks whether it writes to a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")  # escapes would stand between the words
    with Meter("teacher statistics", 4000) as meter:
        meter.reach(3000, "loss 0.250")
    shown = terminal.getvalue()
    assert "3000/4000" in shown and "left -:--:--" in shown and "loss 0.250" in shown


def test_a_bar_shows_a_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Meter("a:x:b [red]", 3) as meter:
        meter.step("c:x:d [red]")
    assert "a:x:b [red]" in terminal.getvalue() and "c:x:d [red]" in terminal.getvalue()


def test_a_loop_is_passed_through_and_counted(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked("abc", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().err.startswith("letters: 3/3")


def test_of_a_loop_over_nothing_nothing_is_shown(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tracked([], "letters")) == []
    assert capsys.readouterr().err == ""


def test_a_loop_left_early_says_how_far_it_came(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    items = tracked("abc", "letters")
    assert (next(items), next(items)) == ("a", "b")
    del items
    assert capsys.readouterr().err.startswith("letters: 1/3")


def test_stages_that_run_at_the_same_time_share_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Meter("colour", 3) as colour, Meter("shape", 5) as shape:
        colour.step("loss 0.25")
        shape.reach(4, "loss 0.5")
    with Meter("afterwards", 1) as meter:
        meter.step()
    shown = terminal.getvalue()
    assert "1/3" in shown and "4/5" in shown and "1/1" in shown
    assert "colour" not in shown[shown.rindex("4/5") + 200 :]


def test_a_child_tells_its_parent_the_first_the_last_and_a_few_steps_between(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Report] = []
    monkeypatch.setattr(Meter, "listener", told.append)
    with Meter("train", 40, done=10) as meter:
        meter.step("loss 0.5")
        clock.now_s += REPORT_EVERY_S + 0.01
        meter.step()
        meter.step("loss 0.4")
    assert [(report.done, report.note) for report in told] == [(10, ""), (12, "loss 0.5"), (13, "loss 0.4")]
    assert {(report.title, report.total) for report in told} == {("train", 40)}
