"""How the commands of `bench` end."""

from __future__ import annotations

import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest

from bench.command_line import main_of
from mdss.errors import BadInput
from trainer.progress import tracked


def test_an_error_is_the_last_line_below_that_of_the_progress_it_broke_off(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def read_all() -> None:
        items = tracked("abc", "reading")
        for item in items:
            raise BadInput(f"{item}: found nothing")

    assert main_of(read_all, "bench.compare")([]) == 2
    assert capsys.readouterr().err == "reading: 0/3, 0 s, 0 s left\ncompare: a: found nothing\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_asks_a_bench_to_end_it_leaves_no_folder_behind(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def measure() -> None:
        with TemporaryDirectory(dir=tmp_path):
            signal.raise_signal(number)

    assert main_of(measure, "bench.overload")([]) == 130
    assert capsys.readouterr().err.endswith("overload: interrupted\n")
    assert list(tmp_path.iterdir()) == []
