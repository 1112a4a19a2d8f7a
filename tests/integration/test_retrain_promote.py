"""`mdss retrain --promote` where somebody else changes the champion meanwhile: what the gate did not compare with is not replaced."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mdss.errors import MdssError
from mdss.method.model_store import ModelFolder, linked_version, open_champion, promote
from tests.retraining import NEW, Plant, answered, noted_as, order_of, record_of
from tests.station import NAME
from trainer import retrain_run
from trainer.gate_terms import GateOutcome
from trainer.model_maker import store_recalibrated
from trainer.retrain_order import RetrainOrder
from trainer.retrain_plan import Plan
from trainer.retrain_run import model_of, retrain

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def _parts(own: Plant) -> None:
    """As many new parts as a training is worth."""
    for number in range(NEW):
        own.collect(number)


def links(own: Plant) -> list[str | None]:
    """Return champion, previous and candidate."""
    return [linked_version(own.store / NAME, link) for link in ("champion", "previous", "candidate")]


@pytest.fixture
def before_the_gate(monkeypatch: pytest.MonkeyPatch, own: Plant, passing: None) -> None:
    """Let somebody calibrate the champion while the model is trained, before the gate asks which one it is."""

    def meanwhile(order: RetrainOrder, plan: Plan) -> ModelFolder:
        noted_as(own)
        return model_of(order, plan)

    monkeypatch.setattr(retrain_run, "model_of", meanwhile)


def after_the_gate(monkeypatch: pytest.MonkeyPatch, act: Callable[[ModelFolder], object]) -> None:
    """Let somebody change the champion after the gate has compared with the one before, and passed the model."""

    def meanwhile(_order: RetrainOrder, _plan: Plan, model: ModelFolder) -> GateOutcome:
        outcome = answered(model, is_passed=True)
        act(model)
        return outcome

    monkeypatch.setattr(retrain_run, "run_gate", meanwhile)


def test_a_model_that_passed_beside_a_champion_that_was_calibrated_during_the_training_replaces_that_one(
    own: Plant, before_the_gate: None
) -> None:
    result = retrain(order_of(own, promote=True))
    assert (result.outcome, result.version, links(own)) == ("candidate", "0003", ["0003", "0002", None])


def test_who_became_champion_after_the_gate_had_compared_is_not_overruled(own: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    after_the_gate(monkeypatch, lambda model: promote(own.store, NAME, model.version))
    with pytest.raises(MdssError, match="found 0002 as the champion, expected 0001 as when the retrain of 0002 began"):
        retrain(order_of(own, promote=True))
    assert record_of(own).outcome == "failed"


def test_nor_is_who_became_the_first_champion_meanwhile(own: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    made = open_champion(own.store, NAME)
    other = store_recalibrated(made, made.card, made.calibration, own.store)
    (own.store / NAME / "champion").unlink()
    monkeypatch.setattr(retrain_run, "model_of", lambda _order, _plan: made)
    after_the_gate(monkeypatch, lambda _: promote(own.store, NAME, other.version))
    with pytest.raises(MdssError, match="found 0002 as the champion, expected none as when the retrain of 0001 began"):
        retrain(order_of(own, data=own.data, promote=True, preset="demo"))
    assert links(own) == ["0002", None, None]
