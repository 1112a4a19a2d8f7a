"""Several recipes share one budget: what is loaded, who makes room, and what is refused."""

from __future__ import annotations

from daemon.model_swaps import IDLE_S, MB
from mdss.settings import ModelSettings
from tests.model_world import ModelWorld, serves

TWO = ModelSettings(recipes=("cap", "gland"), preload=("cap",), memory_mb=2)
BOTH = {"cap": "0001", "gland": "0001"}


def test_a_recipe_that_a_frame_asks_for_is_loaded_beside_the_others_while_there_is_room() -> None:
    station = ModelWorld(TWO, BOTH)
    station.turn()
    assert serves(station.plan) == {"cap": "0001"}
    station.wanted = ("gland",)
    assert serves(station.turns(2)) == {"cap": "0001", "gland": "0001"}


def test_the_recipe_that_was_used_least_recently_makes_room_when_it_is_idle() -> None:
    station = ModelWorld(TWO, BOTH, sizes={"cap": 2 * MB})
    station.turns(2)
    station.frames, station.wanted = {"cap": 1}, ("gland",)
    assert serves(station.turns(int(IDLE_S))) == {"cap": "0001"}, "frames have just named it"
    station.under_way = {"cap/0001"}
    assert serves(station.turns(3)) == {"cap": "0001"}, "a part is under way"
    station.under_way = set()
    assert station.turns(3).held == ("gland/0001",)
    assert serves(station.plan) == {"gland": "0001"}


def test_a_recipe_that_is_larger_than_the_budget_is_refused_in_a_sentence() -> None:
    station = ModelWorld(TWO, BOTH, sizes={"gland": 3 * MB})
    station.wanted = ("gland",)
    station.turns(3)
    assert station.plan.reasons == {"gland": "it takes 3 MB, models.memory_mb allows 2"}
    assert serves(station.plan) == {"cap": "0001"}


def test_the_recipes_that_there_is_room_for_are_loaded_from_the_start_in_the_order_of_the_file() -> None:
    settings = ModelSettings(recipes=("cap", "gland", "ring"), memory_mb=2)
    station = ModelWorld(settings, BOTH | {"ring": "0001"}, sizes={"gland": 2 * MB})
    assert station.plan.held == ("cap/0001", "ring/0001")


def test_a_recipe_that_is_no_longer_allowed_is_let_go_of_and_a_new_one_comes() -> None:
    station = ModelWorld(ModelSettings(recipes=("cap",)), BOTH)
    station.turn()
    station.swaps.reconfigure(ModelSettings(recipes=("gland",)))
    station.turns(4)
    assert (serves(station.plan), station.plan.held) == ({"gland": "0001"}, ("gland/0001",))
    assert [report.recipe for report in station.swaps.reports()] == ["gland"]
