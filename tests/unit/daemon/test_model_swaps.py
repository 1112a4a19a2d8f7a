"""Changes of model play their named histories: what every process holds, what judges, and what becomes of a version that is not taken."""

from __future__ import annotations

import pytest

from daemon.model_swaps import LOOK_EVERY_S, ModelReports
from daemon.recipe_models import RecipeModels
from mdss.settings import ModelSettings
from mdss.wire.model_plan import ModelReport, Served
from tests.model_world import NAMES, ModelWorld, serves

DAMAGED = "rgb.safetensors: found the checksum 00"


@pytest.fixture
def station() -> ModelWorld:
    """A station that has served cap 0001 for a while, with a part under way."""
    made = ModelWorld()
    made.turns(2)
    made.under_way = {"cap/0001"}
    return made


def test_the_first_plan_holds_the_champions_and_serves_none_until_all_are_ready() -> None:
    station = ModelWorld(slow={("sdf-0", "cap/0001")})
    assert (station.plan.held, station.plan.serving) == (("cap/0001",), {})
    assert station.turns(3).serving == {}
    station.slow.clear()
    assert station.turn().serving == {"cap": Served("0001", 1)}
    assert (station.report.swaps, station.report.failures) == (0, 0)


def test_ready_all(station: ModelWorld) -> None:
    station.champions["cap"] = "0002"
    assert station.turn().held == ("cap/0001", "cap/0002")
    assert serves(station.plan) == {"cap": "0001"}
    assert station.turn().serving == {"cap": Served("0002", 2)}
    assert station.turns(3).held == ("cap/0001", "cap/0002"), "a part is under way"
    station.under_way = {"cap/0002"}
    assert station.turn().held == ("cap/0002",)
    assert station.report.swaps == 1


def test_the_old_one_is_held_until_ingest_has_read_that_it_judges_no_more(station: ModelWorld) -> None:
    station.under_way, station.deaf = set(), True
    station.champions["cap"] = "0002"
    station.turns(2)
    assert station.turns(3).held == ("cap/0001", "cap/0002"), "it may have just accepted a part"
    station.deaf = False
    assert station.turn().held == ("cap/0002",)


def test_one_refuses(station: ModelWorld) -> None:
    station.refusals["rgb-0", "cap/0002"] = DAMAGED
    station.champions["cap"] = "0002"
    station.turns(2)
    assert (serves(station.plan), station.plan.held) == ({"cap": "0001"}, ("cap/0001",))
    assert station.report.reason == f"rgb-0: {DAMAGED}"
    assert station.swaps.trouble == f"recipe cap is judged by 0001: rgb-0: {DAMAGED}"
    plans = len(station.plans)
    station.turns(5)
    assert (len(station.plans), station.report.failures) == (plans, 1), "it is not tried again and again"
    station.champions["cap"] = "0003"
    station.turns(2)
    assert (serves(station.plan), station.swaps.trouble) == ({"cap": "0003"}, "")


def test_a_version_that_was_refused_is_tried_again_when_somebody_asks_for_the_recipe(station: ModelWorld) -> None:
    station.refusals["rgb-0", "cap/0002"] = DAMAGED
    station.champions["cap"] = "0002"
    station.turns(3)
    station.refusals.clear()
    station.asked_for = ["cap", "unheard-of"]
    assert serves(station.turns(2)) == {"cap": "0002"}


def test_a_plan_that_asks_for_a_refused_version_again_says_so_to_a_process_that_missed_one_between(
    station: ModelWorld,
) -> None:
    station.refusals["rgb-0", "cap/0002"] = DAMAGED
    station.champions["cap"] = "0002"
    first = station.turn()
    assert station.turn().held == ("cap/0001",)
    station.asked_for = ["cap"]
    again = station.turn()
    assert (again.held, again.since["cap/0001"]) == (first.held, first.since["cap/0001"])
    assert (first.since["cap/0002"], again.since["cap/0002"]) == (first.revision, again.revision)


def test_a_refused_version_that_still_judges_parts_under_way_is_asked_for_again_as_well(station: ModelWorld) -> None:
    station.under_way = {"cap/0001"}
    station.refusals["rgb-0", "cap/0001"] = DAMAGED
    assert station.turns(2).serving == {}
    station.refusals.clear()
    station.asked_for = ["cap"]
    again = station.turn()
    assert again.since["cap/0001"] == again.revision
    assert serves(station.turn()) == {"cap": "0001"}


def test_dies_while_loading(station: ModelWorld) -> None:
    station.slow.add(("rgb-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turn()
    station.away.add("rgb-0")
    station.swaps.ended("rgb-0", "ended with code -9")
    assert station.turns(3).held == ("cap/0001",), "its next life must not die of it"
    station.away.clear()
    assert station.turn().held == ("cap/0001", "cap/0002"), "it may have died of something else"
    station.swaps.ended("rgb-0", "ended with code -9")
    station.turns(3)
    assert (station.plan.held, serves(station.plan)) == (("cap/0001",), {"cap": "0001"})
    assert station.report.reason == "2 processes ended while they loaded it, the last of them rgb-0: ended with code -9"


def test_a_process_that_dies_beside_a_swap_that_it_had_done_its_part_for_is_not_blamed_on_it(station: ModelWorld) -> None:
    station.slow.add(("sdf-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turns(2)
    for _ in range(3):
        station.swaps.ended("rgb-0", "ended with code -9")
        station.swaps.ended("ingest", "ended with code -9")
    station.slow.clear()
    assert serves(station.turn()) == {"cap": "0002"}


def test_promoted_twice(station: ModelWorld) -> None:
    station.slow.add(("sdf-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turn()
    station.champions["cap"] = "0003"
    assert station.turn().held == ("cap/0001", "cap/0003")
    assert station.turn().serving == {"cap": Served("0003", 2)}


def test_rolled_back_while_loading(station: ModelWorld) -> None:
    station.slow.add(("sdf-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turn()
    station.champions["cap"] = "0001"
    station.turn()
    assert (station.plan.held, station.plan.serving) == (("cap/0001",), {"cap": Served("0001", 1)})
    assert station.report.failures == 0


def test_rolled_back_while_parts_of_the_old_one_are_under_way(station: ModelWorld) -> None:
    station.champions["cap"] = "0002"
    station.turns(2)
    station.champions["cap"] = "0001"
    assert station.turns(2).serving == {"cap": Served("0001", 3)}
    station.under_way = set()
    assert station.turn().held == ("cap/0001",)


def test_what_a_process_said_before_it_let_go_of_a_version_does_not_count_when_that_comes_again(station: ModelWorld) -> None:
    before = ModelReport(revision=station.plan.revision, held={"cap/0001": "", "cap/0002": ""})
    station.slow.add(("sdf-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turn()
    station.swaps.tick(ModelReports(dict.fromkeys(NAMES, before)))
    assert serves(station.plan) == {"cap": "0001"}


def test_worker_restarts_after_switch(station: ModelWorld) -> None:
    station.champions["cap"] = "0002"
    station.turns(2)
    station.away.add("rgb-0")
    station.swaps.ended("rgb-0", "ended with code -9")
    station.champions["cap"] = "0003"
    assert station.turns(3).serving == {"cap": Served("0002", 2)}
    assert "cap/0003" not in station.plan.held, "nothing begins while a process is away"
    station.away.clear()
    assert serves(station.turns(2)) == {"cap": "0003"}


def test_store_unreadable(station: ModelWorld) -> None:
    del station.champions["cap"]
    plans = len(station.plans)
    station.turns(3)
    assert (serves(station.plan), len(station.plans)) == ({"cap": "0001"}, plans)
    assert station.swaps.trouble == "recipe cap is judged by 0001: cap/champion: no such model"
    station.champions["cap"] = "0001"
    station.turn()
    assert station.swaps.trouble == ""


def test_what_a_process_could_not_load_while_the_store_was_away_is_tried_again_once_it_is_back(station: ModelWorld) -> None:
    del station.champions["cap"]
    station.refusals["rgb-0", "cap/0001"] = "cap/0001/SHA256SUMS: no such file"
    assert station.turns(2).serving == {}
    assert station.plan.reasons == {"cap": "cap/champion: no such model"}
    station.refusals.clear()
    assert station.turns(9).serving == {}
    station.champions["cap"] = "0001"
    assert serves(station.turns(2)) == {"cap": "0001"}


def test_a_refusal_from_before_the_store_was_back_takes_nothing_out_of_service_when_it_is_heard_after_that(station: ModelWorld) -> None:
    del station.champions["cap"]
    station.turn()
    late = ModelReport(revision=station.plan.revision, held={"cap/0001": "cap/0001/SHA256SUMS: no such file"})
    station.champions["cap"] = "0001"
    station.turn()
    station.swaps.tick(ModelReports({name: late if name == "rgb-0" else station.word(name) for name in NAMES}))
    assert serves(station.turn()) == {"cap": "0001"}


def test_a_process_that_cannot_load_any_more_what_serves_takes_the_recipe_out_of_service() -> None:
    station = ModelWorld(ModelSettings(recipes=("cap", "gland")), {"cap": "0001", "gland": "0001"})
    station.turn()
    station.refusals["rgb-0", "cap/0001"] = DAMAGED
    station.turns(2)
    assert (serves(station.plan), station.plan.reasons) == ({"gland": "0001"}, {"cap": f"rgb-0: {DAMAGED}"})


def test_a_station_without_any_model_is_hopeless_and_one_with_another_recipe_is_not() -> None:
    assert ModelWorld(champions={}).swaps.is_hopeless
    station = ModelWorld(ModelSettings(recipes=("cap", "gland")), {"gland": "0001"})
    assert not station.swaps.is_hopeless
    assert serves(station.turn()) == {"gland": "0001"}
    assert station.plan.reasons == {"cap": "cap/champion: no such model"}
    station.champions["cap"] = "0001"
    assert serves(station.turns(2)) == {"gland": "0001", "cap": "0001"}


def test_before_anything_is_judged_a_death_is_not_blamed_on_the_model_that_was_being_loaded() -> None:
    station = ModelWorld(slow={("sdf-0", "cap/0001")})
    station.turn()
    for _ in range(3):
        station.swaps.ended("sdf-0", "ended with code -9")
        assert station.turn().held == ("cap/0001",)
    station.slow.clear()
    assert (serves(station.turn()), station.report.failures) == ({"cap": "0001"}, 0)


def test_a_death_that_another_version_was_blamed_for_is_not_counted_against_the_next(station: ModelWorld) -> None:
    station.slow |= {("rgb-0", "cap/0002"), ("rgb-0", "cap/0003")}
    for version in ("0002", "0003"):
        station.champions["cap"] = version
        station.turns(2)
        station.swaps.ended("rgb-0", "ended with code -9")
    station.slow.clear()
    assert (serves(station.turns(3)), station.report.failures) == ({"cap": "0003"}, 0)


def test_a_process_that_ends_for_good_while_it_loads_does_not_leave_the_change_hanging(station: ModelWorld) -> None:
    station.slow.add(("rgb-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turns(2)
    station.swaps.ended("rgb-0", "ended with code -9")
    for _ in range(3):
        station.clock.advance(LOOK_EVERY_S)
        left = {name: station.word(name) for name in NAMES if name != "rgb-0"}  # the supervisor does not start it again
        station.swaps.tick(ModelReports(left, ModelReport(revision=station.plan.revision, held={"cap/0001": ""})))
    assert serves(station.plan) == {"cap": "0002"}


def test_a_version_that_is_loaded_again_while_its_last_parts_are_judged_stays_loaded() -> None:
    recipe = RecipeModels("cap")
    for generation, version in enumerate(("0001", "0002"), start=1):
        recipe.champion = version
        recipe.load(generation, 0.0)
        recipe.switch(Served(version, generation), generation + 1)
    recipe.champion = "0001"
    recipe.load(4, 0.0)
    recipe.free("0001")
    assert set(recipe.held) == {"0001", "0002"} and not recipe.leaving
