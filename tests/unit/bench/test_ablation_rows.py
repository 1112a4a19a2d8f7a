"""The rows of the ablation: each has a name and settings of its own, and a name that does not fit is told before anything is measured."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from bench.ablation import command, main
from bench.ablation_rows import ROWS, chosen_rows
from mdss.method.presets import preset, with_assignments


def test_every_row_has_a_name_of_its_own_and_settings_that_differ_from_the_base() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    recipes = [with_assignments(preset("edge"), row.assignments) for row in ROWS]
    assert len(set(map(msgspec.json.encode, recipes))) == len(ROWS)


def test_an_unknown_row_gets_one_sentence_with_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--work", str(tmp_path / "work"), "--rows", "base,mask-on"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("ablation: row 'mask-on': unknown, expected some of base, d-falling, ")
    assert not (tmp_path / "work").exists()


def test_the_base_and_the_rows_of_teachers_are_always_there() -> None:
    assert [row.name for row in chosen_rows(["sdf-blur-0"], ["a/mine.safetensors"])] == ["base", "sdf-blur-0", "teacher-mine"]
    assert chosen_rows([], []) == ROWS


def test_two_teachers_whose_rows_would_have_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--teacher", "a/mine.safetensors", "--teacher", "b/mine.safetensors", "--teacher", "other"]
    assert main(["--data", str(tmp_path), "--work", str(tmp_path / "work"), *options]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("ablation: --teacher a/mine.safetensors and b/mine.safetensors: found teacher-mine for each, expected")


def test_the_list_names_every_row_with_its_settings() -> None:
    lines = CliRunner().invoke(command, ["--list"]).output.splitlines()
    assert [line.split()[0] for line in lines] == [row.name for row in ROWS]
    assert all(setting in line for row, line in zip(ROWS, lines, strict=True) for setting in row.assignments)


def test_the_example_of_the_help_is_one_that_the_command_would_take() -> None:
    example = CliRunner().invoke(command, ["--help"], terminal_width=300).output.rstrip().rpartition("\n")[2].split()
    assert example[:4] == ["Example:", "python", "-m", "bench.ablation"]
    rows = example[example.index("--rows") + 1].split(",")
    assert {word for word in example if word.startswith("--")} <= {name for option in command.params for name in option.opts}
    assert len(chosen_rows(rows, [])) == len(rows) + 1
