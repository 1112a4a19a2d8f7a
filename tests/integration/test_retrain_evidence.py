"""Which parts a retraining's gate judges by, and in which order they are taken where there are more than it needs."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from mdss.method.model_store import open_champion
from tests.retraining import FEW, NEW, Plant, noted_as, order_of
from tests.station import GOOD, NAME
from trainer import retrain_gate
from trainer.gathering import Shares
from trainer.retrain_gate import evidence_of
from trainer.retrain_order import RetrainOrder
from trainer.retrain_plan import Plan
from trainer.retrain_planning import plan_of

pytestmark = pytest.mark.timeout(180)


def judging(own: Plant, fewest: int) -> RetrainOrder:
    """Return an order whose parts are all for the gate, which asks for this many good ones."""
    order = order_of(own, amounts=replace(FEW, least_new=1, shares=Shares(validation=0, gate=0.999)))
    return replace(order, limits=msgspec.structs.replace(order.limits, fewest_good=fewest))


def planned(own: Plant) -> Plan:
    champion = open_champion(own.store, NAME)
    return plan_of(judging(own, 1), champion.recipe, champion)


def test_good_curated_test_scans_stand_in_before_parts_that_the_champion_knows_and_no_more_of_either_than_are_needed(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    noted_as(own, collected_parts=["result-0", "result-1"])
    plan = planned(own)
    fresh, stand_in, known = ["part-5", "part-4", "part-3", "part-2"], [f"test/{name}" for name in GOOD], ["part-1", "part-0"]
    for fewest in (1, 4, 5, 7, 8, 1000):
        good = [part.part_id for part in evidence_of(judging(own, fewest), plan).good]
        assert good == [*fresh, *stand_in, *known][: max(fewest, len(fresh))]


def test_of_very_many_parts_the_newest_judge_and_a_part_without_an_id_is_named_by_its_verdict(
    own: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(NEW):
        own.collect(number, part_id="" if number == NEW - 1 else f"part-{number}")
    plan = planned(own)
    monkeypatch.setattr(retrain_gate, "MOST_JUDGED", 3)  # as if there were hundreds
    assert [part.part_id for part in evidence_of(judging(own, 1), plan).good] == ["result-5", "part-4", "part-3"]
