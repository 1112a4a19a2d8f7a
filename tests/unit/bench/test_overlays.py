"""Pictures for the pages: drawn from a real champion, and refused with the kinds that there are."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from bench.overlays import main
from tests.station import NAME, Trained


def draw(trained: Trained, out: Path, *more: str) -> int:
    return main(["--data", str(trained.data), "--recipe", NAME, "--store", str(trained.store), "--out", str(out), *more])


def test_a_picture_has_a_column_for_each_kind(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "overlays.png"
    assert draw(trained, out) == 0
    kinds = capsys.readouterr().out.strip().partition(": ")[2].split(", ")
    image = cv2.imread(str(out))
    assert image is not None
    assert image.shape[1] / image.shape[0] == pytest.approx(len(kinds) / 2, rel=0.05)


def test_a_kind_that_is_not_there_is_refused_with_those_that_are(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(trained, tmp_path / "o.png", "--kinds", "rust") == 2
    assert "--kinds: found 'rust', expected some of" in capsys.readouterr().err


def test_a_line_without_defects_and_another_kind_of_picture_are_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Trained(tmp_path, trained.store)
    shutil.copytree(trained.data / "test" / "good", tmp_path / "test" / "good")
    assert (draw(good, tmp_path / "o.png"), draw(trained, tmp_path / "o.foo")) == (2, 2)
    said = capsys.readouterr().err
    assert "found no defective part" in said and "o.foo: expected a name that ends with .png" in said
