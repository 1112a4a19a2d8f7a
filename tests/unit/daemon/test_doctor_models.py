"""`mdss doctor` and the workers agree on which models are whole, though the first reads no weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.doctor_models import model_findings
from daemon.finding import Case
from daemon.recipe_models import RecipeReport
from daemon.status import StationReport
from mdss.errors import ModelRefused
from mdss.method import model_store, store_files
from mdss.method.store_files import CARD, SUMS
from mdss.settings import ModelSettings, Settings
from tests.unit.method.test_model_store import store_one


def nothing(model: Path) -> None:
    """Leave the model as it is."""


def no_champion(model: Path) -> None:
    (model.parent / "champion").unlink()


def another_byte(model: Path) -> None:
    (model / "report" / "training.html").write_text("pages")


def one_file_less(model: Path) -> None:
    (model / "rgb.safetensors").unlink()


def unsigned_weights(model: Path) -> None:
    (model / "sdf.safetensors").write_bytes(b"shape")


def no_sums(model: Path) -> None:
    (model / SUMS).unlink()


def sums_without_the_card(model: Path) -> None:
    lines = (model / SUMS).read_text().splitlines()
    (model / SUMS).write_text("\n".join(line for line in lines if not line.endswith("model.json")))


def sums_that_are_none(model: Path) -> None:
    (model / SUMS).write_text("checksums\n")


def sums_that_lead_outside(model: Path) -> None:
    text = (model / SUMS).read_text()
    (model / SUMS).write_text(text + f"{hashlib.sha256(b'colour').hexdigest()}  ../0001/rgb.safetensors\n")


def another_version_in_its_place(model: Path) -> None:
    other = store_one(model.parent.parent).path
    shutil.rmtree(model)
    other.rename(model)


def another_recipe_in_its_place(model: Path) -> None:
    shutil.rmtree(model)
    store_one(model.parent.parent, "cap").path.rename(model)


def a_setting_of_a_newer_release(model: Path) -> None:
    card = json.loads((model / CARD).read_bytes())
    card["recipe"]["rgb"]["hue"] = 1.0
    (model / CARD).write_text(json.dumps(card))
    store_files.write_sums(model)


@pytest.mark.parametrize(
    "damage",
    [
        *(nothing, no_champion, another_byte, one_file_less, unsigned_weights, no_sums, sums_without_the_card, sums_that_are_none),
        *(sums_that_lead_outside, another_version_in_its_place, another_recipe_in_its_place, a_setting_of_a_newer_release),
    ],
)
def test_a_model_is_whole_for_both_or_for_neither(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    model_store.promote(tmp_path, "gland", store_one(tmp_path).version)
    damage(tmp_path / "gland" / "0001")
    (found,) = model_findings(Case(Settings(models=ModelSettings(store=str(tmp_path), recipes=("gland",)))))
    try:
        model_store.open_champion(tmp_path, "gland")
    except ModelRefused:
        assert found.level == "bad" and str(tmp_path / "gland") in found.found
    else:
        assert damage is nothing
        assert (found.level, found.found) == (
            "ok",
            f"{tmp_path / 'gland' / '0001'}: every file has its checksum, and this release reads it",
        )


def test_each_recipe_is_looked_at(tmp_path: Path) -> None:
    model_store.promote(tmp_path, "gland", store_one(tmp_path).version)
    found = list(model_findings(Case(Settings(models=ModelSettings(store=str(tmp_path), recipes=("gland", "cap"))))))
    assert [(finding.subject, finding.level) for finding in found] == [("model gland", "ok"), ("model cap", "bad")]


def test_where_the_store_has_none_of_the_recipes_its_disk_is_thought_of_before_a_training(tmp_path: Path) -> None:
    case = Case(Settings(models=ModelSettings(store=str(tmp_path), recipes=("gland", "cap"))))
    assert all(finding.advice.startswith("mount the disk of models.store") for finding in model_findings(case))
    (tmp_path / "gland").mkdir()
    assert all(finding.advice.startswith("train it") for finding in model_findings(case))


def test_a_champion_that_the_running_station_did_not_take_is_told_with_the_reason(tmp_path: Path) -> None:
    model_store.promote(tmp_path, "gland", store_one(tmp_path).version)
    models = tuple(
        RecipeReport(recipe=name, champion="0002", version=version, generation=1, reason=reason)
        for name, version, reason in (("gland", "0001", "rgb-0: no memory"), ("cap", "0002", ""))
    )
    report = StationReport(station="s", state="degraded", reason="", is_ready=True, uptime_s=1.0, models=models)
    settings = Settings(models=ModelSettings(store=str(tmp_path), recipes=("gland",)))
    whole, found = model_findings(Case(settings, report=report))
    assert whole.level == "ok"
    assert (found.subject, found.level) == ("champion gland", "weak")
    assert found.found == "the station judges by 0001: rgb-0: no memory"
