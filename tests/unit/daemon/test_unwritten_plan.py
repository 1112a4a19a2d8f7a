"""While the disk refuses the plan of models, what is shown is what judges; the change goes through when there is room."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.model_plan_store import ModelPlanStore
from daemon.model_swaps import LOOK_EVERY_S
from mdss.settings import StationSettings
from mdss.wire.model_plan import PLAN, PlanFile
from tests.model_world import ModelWorld, serves


class Disk:
    """A station on a disk that judges by cap 0001; in either directory something may be in the way of `models.json`."""

    def __init__(self, folder: Path) -> None:
        self.state, self.run = folder / "state", folder / "run"
        for place in (self.state, self.run):
            place.mkdir()
        self.world = ModelWorld(
            plan_store=ModelPlanStore(StationSettings(state_directory=str(self.state), runtime_directory=str(self.run)))
        )
        self.world.turns(2)

    def refuse(self, place: Path) -> None:
        """Let no `models.json` be written into a directory."""
        (place / PLAN).rename(place / "before.json")
        (place / PLAN).mkdir()

    def take(self, place: Path) -> None:
        """Let it be written again."""
        (place / PLAN).rmdir()
        (place / "before.json").rename(place / PLAN)

    def judges(self) -> dict[str, str]:
        """Return by which version ingest has parts judged."""
        plan = PlanFile(self.run).changed()
        assert plan is not None
        return serves(plan)


def refusal(place: Path) -> str:
    return f"{place / PLAN}: cannot be written (Is a directory); expected free space in a folder of the station's own"


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_a_change_that_cannot_be_written_is_not_shown_as_done_and_goes_through_by_itself_once_it_can(disk: Disk) -> None:
    world = disk.world
    disk.refuse(disk.state)
    world.champions["cap"] = "0002"
    with capture_logs() as logs:
        world.turns(5)
    shown = world.report
    assert disk.judges() == {"cap": "0001"}
    assert (shown.champion, shown.version, shown.generation, shown.loading, shown.swaps) == ("0002", "0001", 1, "", 0)
    assert shown.reason == refusal(disk.state)
    assert world.swaps.trouble == f"recipe cap is judged by 0001: {refusal(disk.state)}"
    assert "model serves" not in [each["event"] for each in logs]
    disk.take(disk.state)
    with capture_logs() as logs:
        world.turn()
    shown = world.report
    assert disk.judges() == {"cap": "0002"}
    assert (shown.version, shown.generation, shown.swaps, shown.reason, world.swaps.trouble) == ("0002", 2, 1, "", "")
    assert shown.took_s == 5 * LOOK_EVERY_S, "from when it was seen until it judged"
    assert [each["event"] for each in logs] == ["the plan of models is written again", "model serves"]


def test_it_is_tried_once_a_second_and_said_again_only_where_the_reason_is_another(disk: Disk) -> None:
    world = disk.world
    disk.refuse(disk.state)
    world.champions["cap"] = "0002"
    tries = world.tries
    with capture_logs() as logs:
        for _ in range(100):
            world.turn(0.1)
        assert 8 <= world.tries - tries <= 12
        disk.refuse(disk.run)
        disk.take(disk.state)
        world.turns(3)
    assert [each["reason"] for each in logs if each["log_level"] == "error"] == [refusal(disk.state), refusal(disk.run)]


def test_a_load_that_the_processes_were_not_told_of_is_not_shown_as_under_way(disk: Disk) -> None:
    world = disk.world
    disk.refuse(disk.run)
    world.champions["cap"] = "0002"
    world.turns(3)
    assert (world.report.loading, world.report.reason) == ("", refusal(disk.run))
    disk.take(disk.run)
    world.turn()
    assert (world.report.loading, world.report.reason, world.swaps.trouble) == ("0002", "", "")
    world.turn()
    assert disk.judges() == {"cap": "0002"}


def test_a_version_that_cannot_be_let_go_of_is_trouble_though_the_champion_judges(disk: Disk) -> None:
    world = disk.world
    world.under_way = {"cap/0001"}
    world.champions["cap"] = "0002"
    world.turns(3)
    disk.refuse(disk.run)
    world.under_way = set()
    world.turns(2)
    assert (world.report.version, world.report.reason, world.swaps.trouble) == ("0002", "", refusal(disk.run))
    disk.take(disk.run)
    world.turn()
    assert (world.plan.held, world.swaps.trouble) == (("cap/0002",), "")


def test_a_promotion_that_is_taken_back_meanwhile_leaves_the_old_one_judging_and_nothing_to_complain_of(disk: Disk) -> None:
    world = disk.world
    disk.refuse(disk.run)
    world.champions["cap"] = "0002"
    world.turns(3)
    assert world.swaps.trouble == f"recipe cap is judged by 0001: {refusal(disk.run)}"
    world.champions["cap"] = "0001"
    world.turns(2)
    assert (world.report.version, world.report.generation, world.report.reason, world.swaps.trouble) == ("0001", 1, "", "")
