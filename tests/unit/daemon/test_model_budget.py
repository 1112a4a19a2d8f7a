"""Several recipes share one budget: what is loaded, who makes room, and what is refused."""

from __future__ import annotations

import msgspec
from structlog.testing import capture_logs

from daemon.model_budget import MB
from daemon.model_swaps import IDLE_S
from mdss.settings import ModelSettings
from mdss.wire.camera import Nack
from tests.front_door import Station
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


def test_of_two_recipes_that_wait_the_one_that_was_asked_for_last_is_loaded_first() -> None:
    three = ModelSettings(recipes=("cap", "gland", "foam"), preload=("cap",), memory_mb=9)
    station = ModelWorld(three, dict.fromkeys(three.recipes, "0001"))
    station.turns(2)
    station.away = {"rgb-0"}
    for station.wanted in (("gland",), ("gland", "foam")):
        station.turn()
    station.away = set()
    assert station.turn().held == ("cap/0001", "foam/0001")
    assert set(serves(station.turns(4))) == set(three.recipes)


def test_a_reload_that_preloads_no_other_recipe_has_no_refused_model_tried_again() -> None:
    station = ModelWorld(refusals={("sdf-0", "cap/0001"): "its map is not finite"})
    for _ in range(2):
        station.turns(3)
        assert (station.report.failures, station.report.asked, station.plan.held) == (1, 0, ())
        station.swaps.reconfigure(ModelSettings(recipes=("cap",)))


def in_use(station: ModelWorld, recipe: str, turns: int) -> None:
    """Let as many turns go by, in each of which a frame names a recipe."""
    for _ in range(turns):
        station.frames[recipe] = station.frames.get(recipe, 0) + 1
        station.turn()


def crowded() -> ModelWorld:
    """Return a station that judges cap without a rest while frames ask for gland, with room for one of both."""
    station = ModelWorld(TWO, BOTH, sizes={"cap": 1_600_000, "gland": 500_000})
    station.turns(2)
    station.wanted = ("gland",)
    in_use(station, "cap", 20)
    return station


NO_ROOM = "no room beside cap: 1 MB needed, 0 of 2 free (models.memory_mb)"


def test_while_the_others_are_in_use_a_recipe_without_room_says_beside_whom_and_how_much_it_needs() -> None:
    with capture_logs() as logs:
        station = crowded()
    assert serves(station.plan) == {"cap": "0001"}
    assert station.plan.reasons == {"gland": NO_ROOM}
    assert [report.reason for report in station.swaps.reports()] == ["", NO_ROOM]
    assert station.swaps.trouble == f"recipe gland is judged by nothing: {NO_ROOM}"
    assert [each["reason"] for each in logs if each["log_level"] == "warning"] == [NO_ROOM]
    camera = Station.introduced()
    camera.intake.follow(station.plan)
    (nack,) = camera.send(recipe_id="gland")
    assert isinstance(nack, Nack) and nack.code == "NOT_READY"
    assert nack.reason == f"FRAME recipe_id: gland is not judged now: {NO_ROOM}; expected to be sent again"


def test_it_is_loaded_when_the_other_is_idle_and_nothing_is_left_of_the_reason() -> None:
    station = crowded()
    station.turns(int(IDLE_S) - 1)
    assert station.plan.reasons == {"gland": NO_ROOM}
    assert station.turn().reasons == {}, "room is being made"
    assert serves(station.turns(3)) == {"gland": "0001"}
    assert (station.swaps.trouble, [report.reason for report in station.swaps.reports()]) == ("", ["", ""])


def test_it_is_loaded_beside_the_other_when_the_budget_grows() -> None:
    station = crowded()
    assert station.plan.reasons == {"gland": NO_ROOM}
    station.swaps.reconfigure(ModelSettings(recipes=("cap", "gland"), preload=("cap",), memory_mb=3))
    in_use(station, "cap", 3)
    assert serves(station.plan) == BOTH
    assert (station.swaps.trouble, station.plan.reasons) == ("", {})


def test_a_recipe_that_is_larger_than_the_budget_is_refused_in_a_sentence() -> None:
    station = ModelWorld(TWO, BOTH, sizes={"gland": 3 * MB})
    station.wanted = ("gland",)
    station.turns(3)
    assert station.plan.reasons == {"gland": "it takes 3 MB, models.memory_mb allows 2"}
    assert serves(station.plan) == {"cap": "0001"}


def test_a_station_whose_only_recipe_is_larger_than_the_budget_is_hopeless_and_says_why() -> None:
    station = ModelWorld(ModelSettings(recipes=("cap",), memory_mb=2), sizes={"cap": 3 * MB})
    assert (station.swaps.is_hopeless, station.plan.held) == (True, ())
    assert station.swaps.trouble == "recipe cap is judged by nothing: it takes 3 MB, models.memory_mb allows 2"


def test_a_version_that_is_larger_than_the_budget_is_refused_while_the_last_one_judges_on() -> None:
    station = ModelWorld(ModelSettings(recipes=("cap",), memory_mb=2), sizes={"cap/0002": 3 * MB})
    station.turns(2)
    station.champions = {"cap": "0002"}
    assert serves(station.turns(3)) == {"cap": "0001"}, "the next start could not load 0002"
    assert station.swaps.trouble == "recipe cap is judged by 0001: it takes 3 MB, models.memory_mb allows 2"
    station.swaps.reconfigure(ModelSettings(recipes=("cap",), memory_mb=3))
    assert serves(station.turns(3)) == {"cap": "0002"}


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


def test_a_recipe_that_is_no_longer_allowed_is_held_for_its_last_part_and_shown_no_more() -> None:
    station = ModelWorld(ModelSettings(recipes=("cap",)), BOTH, under_way={"cap/0001"})
    station.turns(2)
    station.swaps.reconfigure(ModelSettings(recipes=("gland",)))
    assert station.turns(4).held == ("cap/0001", "gland/0001")
    assert [report.recipe for report in station.swaps.reports()] == ["gland"]


def full_of_two() -> ModelWorld:
    """Return a station that judges cap and gland, for which there is room, and that frames ask for ring; the last one named is cap."""
    settings = ModelSettings(recipes=("cap", "gland", "ring"), preload=("cap", "gland"), memory_mb=2)
    station = ModelWorld(settings, BOTH | {"ring": "0001"})
    station.turns(3)
    in_use(station, "gland", 1)
    in_use(station, "cap", 1)
    station.turns(int(IDLE_S))
    station.wanted = ("ring",)
    return station


def test_of_two_idle_recipes_the_one_that_was_used_last_stays() -> None:
    assert serves(full_of_two().turns(4)) == {"cap": "0001", "ring": "0001"}


def test_no_second_recipe_makes_room_while_the_first_is_still_being_let_go_of() -> None:
    station = full_of_two()
    station.deaf = True  # ingest has not read yet that gland is not judged any more
    assert serves(station.turns(5)) == {"cap": "0001"}
    station.deaf = False
    assert serves(station.turns(3)) == {"cap": "0001", "ring": "0001"}


def test_a_refused_recipe_that_no_frame_names_has_none_make_room_when_it_is_tried_again() -> None:
    station = ModelWorld(msgspec.structs.replace(TWO, preload=BOTH), BOTH, refusals={("rgb-0", "gland/0001"): "its weights cannot be read"})
    station.turns(3)
    station.sizes["gland"] = 2 * MB  # another file, mended, that is larger
    station.refusals.clear()
    assert serves(station.turns(60)) == {"cap": "0001"}
    station.frames = {"gland": 1}
    assert serves(station.turns(4)) == {"gland": "0001"}


def test_a_recipe_that_took_so_long_to_load_that_it_makes_room_at_once_keeps_the_other_from_nothing() -> None:
    station = ModelWorld(msgspec.structs.replace(TWO, memory_mb=1), BOTH, slow={("rgb-0", "gland/0001")})
    station.turns(int(IDLE_S))
    station.asked_for = ["gland"]
    assert station.turns(4).held == ("gland/0001",)
    station.wanted = ("cap",)
    in_use(station, "cap", int(IDLE_S))
    station.slow.clear()
    in_use(station, "cap", 4)
    assert serves(station.plan) == {"cap": "0001"}


def test_a_recipe_that_was_larger_than_the_budget_is_tried_again_when_that_grows() -> None:
    station = ModelWorld(TWO, BOTH, sizes={"gland": 3 * MB})
    station.wanted = ("gland",)
    station.turns(3)
    assert serves(station.plan) == {"cap": "0001"}
    station.swaps.reconfigure(ModelSettings(recipes=("cap", "gland"), preload=("cap",), memory_mb=4))
    assert serves(station.turns(3)) == BOTH


def test_a_recipe_that_is_not_judged_at_all_is_loaded_before_another_changes_its_model() -> None:
    station = ModelWorld(ModelSettings(recipes=("cap", "gland"), memory_mb=2), {"cap": "0001"})
    station.turns(2)
    in_use(station, "cap", 1)
    station.champions = {"cap": "0002", "gland": "0001"}
    assert station.turn().held == ("cap/0001", "gland/0001")
    assert serves(station.turns(3)) == {"cap": "0002", "gland": "0001"}
