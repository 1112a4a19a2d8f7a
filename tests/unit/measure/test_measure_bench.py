"""What `mdss bench` refuses before it measures anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdss.cli import main

Capture = pytest.CaptureFixture[str]


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
