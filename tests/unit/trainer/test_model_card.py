"""What a card says of how a model was made, where the figures are known."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
from torch import nn

from mdss.method.model_store import ModelCard
from mdss.method.recipe import PointCloudSettings, Recipe
from mdss.method.reference import Reference
from tests.fakes import FakeClock
from tests.unit.method.test_model_store import CALIBRATION
from trainer import model_card
from trainer.model_card import StepTimes, card_metrics, completed_card

LIMIT = msgspec.structs.replace(CALIBRATION.threshold, asked_false_reject_rate=0.01, stated_false_reject_rate=0.04)
EVEN = (0.5, 0.5, 0.5, 0.5)
REFERENCE = Reference(rgb=(4.0, 1.0, 2.0, 9.0), sdf=(40.0, 10.0, 20.0, 90.0), brightness=EVEN, valid_point_ratio=EVEN, distance_mm=EVEN)
SCORED = msgspec.structs.replace(
    CALIBRATION, threshold=LIMIT, validation_scores=(400.0, 100.0, 200.0, 900.0), validation_peaks=(7.0,) * 4, reference=REFERENCE
)


def test_a_step_takes_the_seconds_of_its_block_and_what_was_timed_elsewhere_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(model_card, "time", SimpleNamespace(monotonic=clock))
    times = StepTimes({"rgb": 12.34, "sdf": 5.0})
    with times.of("calibration"):
        clock.advance(2.5)
    assert times.seconds == {"rgb": 12.3, "sdf": 5.0, "calibration": 2.5}


def test_a_completed_card_says_how_long_each_step_took_in_all_runs_how_large_the_weights_are_and_what_was_drawn_from_which_seed() -> None:
    recipe = Recipe(seed=7, point_cloud=PointCloudSettings(seed=3))
    card = ModelCard(name="cap", recipe=recipe, made_at="now", code_version="0", seconds={"reading": 3.0, "rgb": 1.0})
    networks = {"rgb": nn.BatchNorm1d(4), "sdf": nn.Linear(2, 1)}  # the first has statistics beside its weights
    made = completed_card(card, networks, {"device": "cpu"}, SCORED, StepTimes({"rgb": 60.0}))
    assert made.seconds == {"reading": 3.0, "rgb": 60.0}
    assert made.sizes == {"rgb": 4 * 4 + 1, "sdf": 2 + 1}
    assert made.seeds == {"training": 7, "point_cloud": 3}
    assert (made.training, made.metrics, made.teacher["kind"]) == ({"device": "cpu"}, card_metrics(SCORED), "distilled")


def test_the_scores_of_good_parts_are_said_of_each_branch_and_of_both_with_the_rate_that_is_promised() -> None:
    assert card_metrics(SCORED) == {
        "threshold": LIMIT.value,
        "stated_false_reject_rate": 0.04,
        "validation_scores": {
            name: {"lowest": scale, "median": 3 * scale, "highest": 9 * scale} for name, scale in (("rgb", 1), ("sdf", 10), ("fused", 100))
        },
    }
    bare = card_metrics(msgspec.structs.replace(SCORED, reference=None))
    assert bare["validation_scores"].keys() == {"fused"}, "a model of an earlier release keeps no scores of its branches"
