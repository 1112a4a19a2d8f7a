"""What `mdss bench` refuses before it measures anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdss.cli import main
from measure import bench
from measure.subject import Subject

Capture = pytest.CaptureFixture[str]


class MeasuredError(Exception):
    """Ends a bench where its machine would be measured."""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--store", "models"], "--store, --recipe, --data: found some of them, expected all three"),
        (["--store", "models", "--recipe", "part", "--data", "data", "--preset", "edge"], "--preset: found it beside --store"),
        (["--size", "400"], "size: found '400', expected HEIGHTxWIDTH"),
        (["--json", "nowhere/bench.json"], "--json nowhere/bench.json: found no folder nowhere"),
        (["--store", "models", "--recipe", "part", "--data", "nowhere"], "nowhere: no such folder; expected scans"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_the_load_is_that_before_the_bench_itself_made_a_line_and_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, told = [0.5], []

    def make(*_: object) -> Subject:
        loads.append(2.0)
        return Subject(tmp_path, "part", "m", (), is_trained=False)

    def note(_folder: Path, load_before: float, **_: object) -> None:
        told.append(load_before)
        raise MeasuredError

    monkeypatch.setattr("os.getloadavg", lambda: (loads[-1], 0.0, 0.0))
    monkeypatch.setattr(bench.BenchOptions, "subject", make)
    monkeypatch.setattr("measure.machine.measure_machine", note)
    options = bench.BenchOptions(None, None, None, "m", None, (), None, None, has_reference=False, is_quick=True, cameras=(), processes=())
    with pytest.raises(MeasuredError):
        bench.measure(options, (), tmp_path)
    assert told == [0.5]
