"""A version that was refused is tried again by itself where that may help, and at no other pace than the one promised."""

from __future__ import annotations

import pytest

from daemon.recipe_models import FIRST_PAUSE_S, LONGEST_PAUSE_S
from mdss.settings import ModelSettings
from tests.model_world import ModelWorld, serves

RGB = "rgb-0", "cap/0001"
UNREADABLE = "rgb.safetensors: cannot be read (Input/output error)"


@pytest.fixture
def station() -> ModelWorld:
    """A station that has served cap 0001 for a while; the link to its champion can be read at each look."""
    made = ModelWorld()
    made.turns(2)
    return made


def test_a_version_that_judged_and_could_not_be_read_for_a_second_judges_again_after_a_pause(station: ModelWorld) -> None:
    station.refusals[RGB] = UNREADABLE
    assert station.turn().serving == {}
    station.refusals.clear()
    assert station.turns(int(FIRST_PAUSE_S) - 1).serving == {}
    assert serves(station.turns(2)) == {"cap": "0001"}
    assert (station.swaps.trouble, station.report.failures) == ("", 1)


def test_a_version_that_judged_and_is_damaged_for_good_is_tried_at_its_pace_and_its_reason_stays(station: ModelWorld) -> None:
    station.refusals[RGB] = UNREADABLE
    station.turn()
    since_s, failures_s = station.clock(), []
    for _ in range(200):
        before = station.report.failures
        assert station.turn().reasons == {"cap": f"rgb-0: {UNREADABLE}"}
        assert station.swaps.trouble == f"recipe cap is judged by nothing: rgb-0: {UNREADABLE}"
        failures_s += [station.clock() - since_s] * (station.report.failures - before)
    assert failures_s == [11.0, 32.0, 73.0, 134.0, 195.0], "10, 20, 40, 60, 60 s of pause, and a second each to be refused"


def test_a_damaged_champion_behind_a_link_that_comes_and_goes_is_not_tried_again_each_time(station: ModelWorld) -> None:
    station.champions["cap"], station.refusals["rgb-0", "cap/0002"] = "0002", UNREADABLE
    station.turns(3)
    for _ in range(30):
        away = station.champions.pop("cap")
        station.turn()
        station.champions["cap"] = away
        station.turns(2)
    assert (serves(station.plan), station.report.failures) == ({"cap": "0001"}, 1 + 3)
    station.refusals.clear()
    assert serves(station.turns(int(LONGEST_PAUSE_S))) == {"cap": "0002"}


def test_a_new_champion_that_is_refused_is_not_tried_again_by_itself_while_the_old_one_judges(station: ModelWorld) -> None:
    station.champions["cap"], station.refusals["rgb-0", "cap/0002"] = "0002", UNREADABLE
    station.turns(2)
    plans = len(station.plans)
    station.turns(200)
    assert (serves(station.plan), len(station.plans)) == ({"cap": "0001"}, plans)


def beside_another() -> ModelWorld:
    """A station that serves cap, and has been asked for a recipe that no process can read yet."""
    made = ModelWorld(ModelSettings(recipes=("cap", "gland"), preload=("cap",)), champions={"cap": "0001", "gland": "0001"})
    made.turns(2)
    made.refusals["rgb-0", "gland/0001"], made.wanted = UNREADABLE, ("gland",)
    assert made.turns(3).reasons == {"gland": f"rgb-0: {UNREADABLE}"}
    return made


def test_a_version_that_never_judged_and_could_not_be_read_for_a_while_judges_after_a_pause() -> None:
    station = beside_another()
    assert serves(station.turns(100)) == {"cap": "0001"}
    station.refusals.clear()
    assert serves(station.turns(int(LONGEST_PAUSE_S) + 2)) == {"cap": "0001", "gland": "0001"}
    assert station.swaps.trouble == ""


def test_a_version_that_never_judged_and_ends_processes_or_is_too_large_is_not_tried_again_by_itself() -> None:
    station = beside_another()
    station.refusals.clear()
    station.slow.add(("rgb-0", "gland/0001"))
    station.turns(int(FIRST_PAUSE_S) + 2)
    for _ in range(2):
        assert station.turn().held == ("cap/0001", "gland/0001")
        station.swaps.ended("rgb-0", "ended with code -9")
    assert station.turns(200).held == ("cap/0001",)
    station.sizes["gland"] = 10**12
    station.asked_for.append("gland")
    failures = station.turns(2) and station.swaps.reports()[1].failures
    assert station.turns(200) and station.swaps.reports()[1].failures == failures
    assert "takes 1000000 MB" in station.swaps.trouble


def test_a_version_that_processes_end_of_while_they_load_it_is_not_tried_again_by_itself(station: ModelWorld) -> None:
    station.refusals[RGB] = UNREADABLE
    station.turn()
    del station.refusals[RGB]
    station.slow.add(RGB)
    station.turns(int(FIRST_PAUSE_S) + 1)
    for _ in range(2):
        assert station.turn().held == ("cap/0001",)
        station.swaps.ended("rgb-0", "ended with code -9")
    station.slow.clear()
    assert station.turns(200).held == ()
