"""A station's models in a fake world: a store, plans, and processes that keep to every plan at once, unless a history says otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from daemon.model_budget import MB
from daemon.model_plan_store import ModelPlanStore
from daemon.model_swaps import LOOK_EVERY_S, ModelReports, ModelSwaps
from daemon.recipe_models import RecipeReport
from mdss.errors import MdssError
from mdss.settings import ModelSettings
from mdss.wire.model_plan import ModelPlan, ModelReport
from tests.fakes import FakeClock

NAMES = ("prepare", "rgb-0", "sdf-0", "fusion")
ONE = ModelSettings(recipes=("cap",))


@dataclass
class ModelWorld:
    """A store, plans, and processes that keep to every plan at once, unless a history says otherwise."""

    settings: ModelSettings = ONE
    champions: dict[str, str] = field(default_factory=lambda: {"cap": "0001"})
    sizes: dict[str, int] = field(default_factory=dict)  # of a recipe's versions, or of one: cap, cap/0002
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
    plan_store: ModelPlanStore | None = None  # where plans and generations go to the disk as well
    tries: int = 0  # to write a plan

    def __post_init__(self) -> None:
        self.swaps = ModelSwaps(self.settings, self, self, self.clock)
        self.swaps.begin()

    def champion(self, recipe: str) -> str:
        if recipe not in self.champions:
            raise MdssError(f"{recipe}/champion: no such model")
        return self.champions[recipe]

    def nbytes(self, recipe: str, version: str) -> int:
        return self.sizes.get(f"{recipe}/{version}", self.sizes.get(recipe, MB))

    def write(self, plan: ModelPlan) -> None:
        self.tries += 1
        if self.plan_store is not None:
            self.plan_store.write(plan)
        self.plans.append(plan)

    def generation_of(self, recipe: str, version: str) -> int:
        if self.plan_store is not None:
            return self.plan_store.generation_of(recipe, version)
        if not self.generations or self.generations[-1] != f"{recipe}/{version}":
            self.generations.append(f"{recipe}/{version}")
        return len(self.generations)

    def preload_requests(self) -> Iterable[str]:
        asked, self.asked_for = self.asked_for, []
        return asked

    def word(self, process: str) -> ModelReport | None:
        """Return what a process says to the newest plan."""
        if process in self.away:
            return None
        held = {key: self.refusals.get((process, key), "") for key in self.plan.held if (process, key) not in self.slow}
        return ModelReport(revision=self.plan.revision, held=held)

    def turn(self, seconds: float = LOOK_EVERY_S) -> ModelPlan:
        """Let time pass, have everybody speak, and return the plan that holds then."""
        self.clock.advance(seconds)
        ingest = ModelReport(
            revision=self.plan.revision - self.deaf, held=dict.fromkeys(self.under_way, ""), wanted=self.wanted, asked=dict(self.frames)
        )
        self.swaps.tick(ModelReports({name: self.word(name) for name in NAMES}, ingest))
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


def without_models() -> ModelSwaps:
    """Return the models of a station whose processes need none."""
    return ModelWorld(ModelSettings(recipes=())).swaps


def serves(plan: ModelPlan) -> dict[str, str]:
    """Return which version judges each recipe."""
    return {recipe: served.version for recipe, served in plan.serving.items()}
