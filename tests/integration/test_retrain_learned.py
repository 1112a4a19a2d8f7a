"""What a retraining counts as learned already, whatever else has been stored since."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from mdss.method.model_archive import export_model, import_model
from mdss.method.model_store import ModelFolder, nominate, open_champion, promote, save
from tests.retraining import NEW, Plant, noted_as, order_of
from tests.station import NAME
from trainer.model_maker import store_recalibrated
from trainer.retrain_run import retrain

pytestmark = pytest.mark.timeout(180)


def stored_as_trained(store: Path, **data: object) -> ModelFolder:
    """Store the champion's weights once more, as if a training with these entries in its card had made them."""
    first = open_champion(store, NAME)

    def write(folder: Path) -> None:
        for weights in first.path.glob("*.safetensors"):
            shutil.copy(weights, folder)

    return save(store, msgspec.structs.replace(first.card, data=first.card.data | data), first.calibration, write)


def calibrate_again(own: Plant) -> ModelFolder:
    return noted_as(own)


def bring_from_elsewhere(own: Plant) -> ModelFolder:
    elsewhere, file = shutil.copytree(own.store, own.state / "elsewhere", symlinks=True), own.state / "model.tar"
    export_model(stored_as_trained(elsewhere, collected_parts=["of another station"]), file)
    return import_model(own.store, file).model


def bring_a_champion_that_was_calibrated_elsewhere(own: Plant) -> ModelFolder:
    """Import 0003, calibrated from 0002 of its own store, which is not 0002 of this one."""
    elsewhere, file = shutil.copytree(own.store, own.state / "elsewhere", symlinks=True), own.state / "model.tar"
    shutil.rmtree(elsewhere / NAME / "0002")
    other = stored_as_trained(elsewhere)
    export_model(promote(elsewhere, NAME, store_recalibrated(other, other.card, other.calibration, elsewhere).version), file)
    return promote(own.store, NAME, import_model(own.store, file).model.version)


def train_something_else_beside_the_candidate(own: Plant) -> ModelFolder:
    nominate(own.store, NAME, "0002")
    return stored_as_trained(own.store, collected_parts=["of last year"])


@pytest.mark.parametrize(
    "store_newer",
    [
        calibrate_again,
        bring_from_elsewhere,
        bring_a_champion_that_was_calibrated_elsewhere,
        train_something_else_beside_the_candidate,
    ],
)
def test_a_training_that_was_held_back_or_waits_is_not_done_once_more_because_something_newer_is_stored(
    own: Plant, store_newer: Callable[[Plant], ModelFolder]
) -> None:
    stored_as_trained(own.store, collected_parts=[own.collect(number) for number in range(NEW)])
    assert retrain(order_of(own)).outcome == "nothing_new"
    assert store_newer(own).version == "0003"
    assert retrain(order_of(own)).outcome == "nothing_new"
