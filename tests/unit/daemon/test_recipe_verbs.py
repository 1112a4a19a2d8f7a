"""How long `mdss recipe preload --wait` waits: until the station has looked, and knows."""

from __future__ import annotations

import time

import pytest

from daemon import recipe_verbs
from daemon.recipe_models import RecipeReport
from daemon.recipe_verbs import wait_for
from daemon.status import StationReport
from mdss.errors import MdssError
from mdss.settings import Settings
from tests.model_world import ModelWorld


def station_of(world: ModelWorld, monkeypatch: pytest.MonkeyPatch) -> list[RecipeReport]:
    """Let the verb ask a station that has a turn after each answer; return what it was told."""
    told: list[RecipeReport] = []

    def ask(_place: object) -> StationReport:
        told.append(world.report)
        world.turn()
        return StationReport(station="test", state="running", reason="", is_ready=True, uptime_s=0.0, models=(told[-1],))

    monkeypatch.setattr(recipe_verbs, "request_report", ask)
    monkeypatch.setattr(recipe_verbs, "LOOK_EVERY_S", 0.0)
    return told


def wait(before: RecipeReport) -> RecipeReport:
    """Wait for the recipe, as long as it takes."""
    return wait_for(Settings(), before, time.monotonic() + 60)


def test_a_recipe_without_a_champion_ends_the_wait_once_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ModelWorld(champions={})
    told, before = station_of(world, monkeypatch), world.report
    world.asked_for = ["cap"]
    with pytest.raises(MdssError, match=r"^recipe cap: cap/champion: no such model$"):
        wait(before)
    assert [report.asked for report in told] == [0, 1]


def test_what_the_station_said_before_it_was_asked_ends_no_wait_for_a_champion_that_has_come_since(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ModelWorld(champions={})
    told, before = station_of(world, monkeypatch), world.report
    world.asked_for, world.champions = ["cap"], {"cap": "0001"}
    assert wait(before).version == "0001"
    assert told[0].reason == "cap/champion: no such model"


def test_a_champion_that_the_station_has_not_seen_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ModelWorld()
    world.turns(2)
    told, before = station_of(world, monkeypatch), world.report
    world.asked_for, world.champions = ["cap"], {"cap": "0002"}
    assert (before.version, wait(before).version) == ("0001", "0002")
    assert (told[0].version, told[0].champion) == ("0001", "0001")
