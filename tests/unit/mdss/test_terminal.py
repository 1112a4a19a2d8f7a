"""What consoles show: names as they are, whatever stands in them, in every verb."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from mdss.terminal import plain_console, table_console

ROOT = Path(__file__).resolve().parents[3]
ODD = "cap:x:2 [red] 100"


def test_a_name_is_shown_as_it_is_in_a_line_and_in_a_table() -> None:
    shown = io.StringIO()
    table = Table(ODD)
    table.add_row(ODD)
    console = plain_console(file=shown, force_terminal=True)
    console.print(ODD)
    console.print(table)
    assert shown.getvalue().count(ODD) == 3


def test_no_order_to_a_terminal_that_stands_in_a_text_is_given_to_it() -> None:
    shown, loud = io.StringIO(), "clear \x1b[2J round \u202e"
    table = Table("what somebody called it, and how")
    table.add_row(Text(loud, style="red"))
    console = plain_console(file=shown, force_terminal=True, color_system="standard")
    console.print(loud)
    console.print(table)
    said = shown.getvalue()
    assert said.count(r"clear \x1b[2J round \u202e") == 2
    assert "\x1b[31mclear" in said and "\x1b[2J" not in said and "\u202e" not in said


def test_a_table_is_as_wide_as_its_lines_where_nobody_looks_on(capsys: pytest.CaptureFixture[str]) -> None:
    table_console().print("word " * 30)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_in_a_narrow_terminal_a_table_leaves_it_to_that_to_break_its_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # as rich asks whether it writes to a terminal
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("process", "state", "pid", "done", "waiting", "restarts", "heard", box=None)
    table.add_row("prepare", "degraded", "31792", "471", "0", "2", "0.7 s ago")
    table_console().print(table)
    assert "prepare  degraded" in capsys.readouterr().out


def test_every_console_is_one_of_these() -> None:
    packages = ("mdss", "daemon", "workers", "trainer", "demo", "measure", "bench")
    makers = [path for package in packages for path in (ROOT / package).rglob("*.py") if "Console(" in path.read_text("utf-8")]
    assert makers == [ROOT / "mdss" / "terminal.py"]
