"""What lies in a store, as people and programs are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdss.cli import main
from mdss.method import model_store
from mdss.method.calibration import Calibration, Statistics, Threshold
from mdss.method.model_store import ModelCard
from mdss.method.recipe import FusionSettings, Recipe

LIMIT = Threshold(value=2.0, method="conformal", asked_false_reject_rate=0.05, stated_false_reject_rate=0.05, parts=30)
CALIBRATION = Calibration(
    rgb=Statistics(1.0, 2.0), sdf=Statistics(3.0, 4.0), threshold=LIMIT, map_level=5.0, fusion=FusionSettings(), calibrated_at="now",
    validation_scores=(1.0,),
)  # fmt: skip


@pytest.mark.parametrize("verb", ["list", "verify"])
def test_a_store_that_is_not_there_is_no_store_without_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert main(["model", verb, "--store", str(tmp_path / "modles")]) == 2
    assert capsys.readouterr().err == f"mdss: --store {tmp_path}/modles: no such folder; expected a model store\n"


def test_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "list", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no models\n"


def test_a_list_that_goes_into_a_file_is_not_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = ModelCard(name="gland", recipe=Recipe(), made_at="2026-11-25T02:35:11+00:00", code_version="0")
    model_store.save(tmp_path, card, CALIBRATION, lambda folder: None)
    model_store.promote(tmp_path, "gland", "0001")
    assert main(["model", "list", "--store", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in ("gland", "0001", "champion", "2026-11-25T02:35:11+00:00"))
