"""Changes of model play their named histories: what every process holds, what judges, and what becomes of a version that is not taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from daemon.model_swaps import IDLE_S, LOOK_EVERY_S, MB, ModelSwaps, Words
from daemon.recipe_models import RecipeReport
from mdss.errors import MdssError
from mdss.settings import ModelSettings
from mdss.wire.model_plan import ModelPlan, ModelWord, Served
from tests.fakes import FakeClock

NAMES = ("prepare", "rgb-0", "sdf-0", "fusion")
ONE = ModelSettings(recipes=("cap",))
DAMAGED = "rgb.safetensors: found the checksum 00"


@dataclass
class Station:
    """A store, a desk, and processes that keep to every plan at once, unless a history says otherwise."""

    settings: ModelSettings = ONE
    champions: dict[str, str] = field(default_factory=lambda: {"cap": "0001"})
    sizes: dict[str, int] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    plans: list[ModelPlan] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)
    slow: set[tuple[str, str]] = field(default_factory=set)  # process, key: it is still loading that
    refusals: dict[tuple[str, str], str] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)  # processes that have not spoken in this life
    under_way: set[str] = field(default_factory=set)  # keys of models that open parts are judged by
    deaf: bool = False  # ingest has not read the newest plan
    frames: dict[str, int] = field(default_factory=dict)
    wanted: tuple[str, ...] = ()
    generations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.swaps = ModelSwaps(self.settings, self, self, self.clock)
        self.swaps.begin()

    def champion(self, recipe: str) -> str:
        if recipe not in self.champions:
            raise MdssError(f"{recipe}/champion: no such model")
        return self.champions[recipe]

    def nbytes(self, recipe: str, version: str) -> int:
        return self.sizes.get(recipe, MB)

    def write(self, plan: ModelPlan) -> None:
        self.plans.append(plan)

    def generation_of(self, recipe: str, version: str) -> int:
        if not self.generations or self.generations[-1] != f"{recipe}/{version}":
            self.generations.append(f"{recipe}/{version}")
        return len(self.generations)

    def wishes(self) -> Iterable[str]:
        asked, self.asked_for = self.asked_for, []
        return asked

    def word(self, process: str) -> ModelWord | None:
        """Return what a process says to the newest plan."""
        if process in self.away:
            return None
        held = {key: self.refusals.get((process, key), "") for key in self.plan.held if (process, key) not in self.slow}
        return ModelWord(revision=self.plan.revision, held=held)

    def turn(self, seconds: float = LOOK_EVERY_S) -> ModelPlan:
        """Let time pass, have everybody speak, and return the plan that holds then."""
        self.clock.advance(seconds)
        ingest = ModelWord(
            revision=self.plan.revision - self.deaf, held=dict.fromkeys(self.under_way, ""), wanted=self.wanted, asked=dict(self.frames)
        )
        self.swaps.tick(Words({name: self.word(name) for name in NAMES}, ingest))
        return self.plan

    def turns(self, count: int) -> ModelPlan:
        """Let as many turns go by."""
        for _ in range(count):
            self.turn()
        return self.plan

    @property
    def plan(self) -> ModelPlan:
        return self.plans[-1]

    @property
    def report(self) -> RecipeReport:
        return self.swaps.reports()[0]


@pytest.fixture
def station() -> Station:
    """A station that has served cap 0001 for a while, with a part under way."""
    made = Station()
    made.turns(2)
    made.under_way = {"cap/0001"}
    return made


def serves(plan: ModelPlan) -> dict[str, str]:
    return {recipe: served.version for recipe, served in plan.serving.items()}


def test_the_first_plan_holds_the_champions_and_serves_none_until_all_are_ready() -> None:
    station = Station(slow={("sdf-0", "cap/0001")})
    assert (station.plan.held, station.plan.serving) == (("cap/0001",), {})
    assert station.turns(3).serving == {}
    station.slow.clear()
    assert station.turn().serving == {"cap": Served("0001", 1)}
    assert (station.report.swaps, station.report.failures) == (0, 0)


def test_ready_all(station: Station) -> None:
    station.champions["cap"] = "0002"
    assert station.turn().held == ("cap/0001", "cap/0002")
    assert serves(station.plan) == {"cap": "0001"}
    assert station.turn().serving == {"cap": Served("0002", 2)}
    assert station.turns(3).held == ("cap/0001", "cap/0002"), "a part is under way"
    station.under_way = {"cap/0002"}
    assert station.turn().held == ("cap/0002",)
    assert station.report.swaps == 1


def test_the_old_one_is_held_until_ingest_has_read_that_it_judges_no_more(station: Station) -> None:
    station.under_way, station.deaf = set(), True
    station.champions["cap"] = "0002"
    station.turns(2)
    assert station.turns(3).held == ("cap/0001", "cap/0002"), "it may have just accepted a part"
    station.deaf = False
    assert station.turn().held == ("cap/0002",)


def test_one_refuses(station: Station) -> None:
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


def test_a_version_that_was_refused_is_tried_again_when_somebody_asks_for_the_recipe(station: Station) -> None:
    station.refusals["rgb-0", "cap/0002"] = DAMAGED
    station.champions["cap"] = "0002"
    station.turns(3)
    station.refusals.clear()
    station.asked_for = ["cap", "unheard-of"]
    assert serves(station.turns(2)) == {"cap": "0002"}


def test_dies_while_loading(station: Station) -> None:
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


def test_a_process_that_dies_beside_a_swap_that_it_had_done_its_part_for_is_not_blamed_on_it(station: Station) -> None:
    station.slow.add(("sdf-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turns(2)
    for _ in range(3):
        station.swaps.ended("rgb-0", "ended with code -9")
        station.swaps.ended("ingest", "ended with code -9")
    station.slow.clear()
    assert serves(station.turn()) == {"cap": "0002"}


def test_promoted_twice(station: Station) -> None:
    station.slow.add(("sdf-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turn()
    station.champions["cap"] = "0003"
    assert station.turn().held == ("cap/0001", "cap/0003")
    assert station.turn().serving == {"cap": Served("0003", 2)}


def test_rolled_back_while_loading(station: Station) -> None:
    station.slow.add(("sdf-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turn()
    station.champions["cap"] = "0001"
    station.turn()
    assert (station.plan.held, station.plan.serving) == (("cap/0001",), {"cap": Served("0001", 1)})
    assert station.report.failures == 0


def test_rolled_back_while_parts_of_the_old_one_are_under_way(station: Station) -> None:
    station.champions["cap"] = "0002"
    station.turns(2)
    station.champions["cap"] = "0001"
    assert station.turns(2).serving == {"cap": Served("0001", 3)}
    station.under_way = set()
    assert station.turn().held == ("cap/0001",)


def test_what_a_process_said_before_it_let_go_of_a_version_does_not_count_when_that_comes_again(station: Station) -> None:
    before = ModelWord(revision=station.plan.revision, held={"cap/0001": "", "cap/0002": ""})
    station.slow.add(("sdf-0", "cap/0002"))
    station.champions["cap"] = "0002"
    station.turn()
    station.swaps.tick(Words(dict.fromkeys(NAMES, before)))
    assert serves(station.plan) == {"cap": "0001"}


def test_worker_restarts_after_switch(station: Station) -> None:
    station.champions["cap"] = "0002"
    station.turns(2)
    station.away.add("rgb-0")
    station.swaps.ended("rgb-0", "ended with code -9")
    station.champions["cap"] = "0003"
    assert station.turns(3).serving == {"cap": Served("0002", 2)}
    assert "cap/0003" not in station.plan.held, "nothing begins while a process is away"
    station.away.clear()
    assert serves(station.turns(2)) == {"cap": "0003"}


def test_store_unreadable(station: Station) -> None:
    del station.champions["cap"]
    plans = len(station.plans)
    station.turns(3)
    assert (serves(station.plan), len(station.plans)) == ({"cap": "0001"}, plans)
    assert station.swaps.trouble == "recipe cap is judged by 0001: cap/champion: no such model"
    station.champions["cap"] = "0001"
    station.turn()
    assert station.swaps.trouble == ""


def test_a_process_that_cannot_load_any_more_what_serves_takes_the_recipe_out_of_service() -> None:
    station = Station(ModelSettings(recipes=("cap", "gland")), {"cap": "0001", "gland": "0001"})
    station.turn()
    station.refusals["rgb-0", "cap/0001"] = DAMAGED
    station.turns(2)
    assert (serves(station.plan), station.plan.reasons) == ({"gland": "0001"}, {"cap": f"rgb-0: {DAMAGED}"})


def test_a_station_without_any_model_is_hopeless_and_one_with_another_recipe_is_not() -> None:
    assert Station(champions={}).swaps.is_hopeless
    station = Station(ModelSettings(recipes=("cap", "gland")), {"gland": "0001"})
    assert not station.swaps.is_hopeless
    assert serves(station.turn()) == {"gland": "0001"}
    assert station.plan.reasons == {"cap": "cap/champion: no such model"}
    station.champions["cap"] = "0001"
    assert serves(station.turns(2)) == {"gland": "0001", "cap": "0001"}


TWO = ModelSettings(recipes=("cap", "gland"), preload=("cap",), memory_mb=2)
BOTH = {"cap": "0001", "gland": "0001"}


def test_a_recipe_that_a_frame_asks_for_is_loaded_beside_the_others_while_there_is_room() -> None:
    station = Station(TWO, BOTH)
    station.turn()
    assert serves(station.plan) == {"cap": "0001"}
    station.wanted = ("gland",)
    assert serves(station.turns(2)) == {"cap": "0001", "gland": "0001"}


def test_the_recipe_that_was_used_least_recently_makes_room_when_it_is_idle() -> None:
    station = Station(TWO, BOTH, sizes={"cap": 2 * MB})
    station.turns(2)
    station.frames, station.wanted = {"cap": 1}, ("gland",)
    assert serves(station.turns(int(IDLE_S))) == {"cap": "0001"}, "frames have just named it"
    station.under_way = {"cap/0001"}
    assert serves(station.turns(3)) == {"cap": "0001"}, "a part is under way"
    station.under_way = set()
    assert station.turns(3).held == ("gland/0001",)
    assert serves(station.plan) == {"gland": "0001"}


def test_a_recipe_that_is_larger_than_the_budget_is_refused_in_a_sentence() -> None:
    station = Station(TWO, BOTH, sizes={"gland": 3 * MB})
    station.wanted = ("gland",)
    station.turns(3)
    assert station.plan.reasons == {"gland": "it takes 3 MB, models.memory_mb allows 2"}
    assert serves(station.plan) == {"cap": "0001"}


def test_the_recipes_that_there_is_room_for_are_loaded_from_the_start_in_the_order_of_the_file() -> None:
    settings = ModelSettings(recipes=("cap", "gland", "ring"), memory_mb=2)
    station = Station(settings, BOTH | {"ring": "0001"}, sizes={"gland": 2 * MB})
    assert station.plan.held == ("cap/0001", "ring/0001")


def test_a_recipe_that_is_no_longer_allowed_is_let_go_of_and_a_new_one_comes() -> None:
    station = Station(ModelSettings(recipes=("cap",)), BOTH)
    station.turn()
    station.swaps.reconfigure(ModelSettings(recipes=("gland",)))
    station.turns(4)
    assert (serves(station.plan), station.plan.held) == ({"gland": "0001"}, ("gland/0001",))
    assert [report.recipe for report in station.swaps.reports()] == ["gland"]


def test_a_plan_that_cannot_be_written_is_tried_again(station: Station) -> None:
    full = [True]
    write = station.write

    def refuse(plan: ModelPlan) -> None:
        if full:
            full.pop()
            raise MdssError("models.json cannot be written (No space left on device)")
        write(plan)

    station.write = refuse  # type: ignore[method-assign]
    station.champions["cap"] = "0002"
    assert station.turn().held == ("cap/0001",)
    assert station.turn().held == ("cap/0001", "cap/0002")
    assert serves(station.turn()) == {"cap": "0002"}
