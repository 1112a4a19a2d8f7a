"""Decides which model versions the processes hold and which of them judges, and changes versions between two frames; no sockets here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from daemon.model_budget import ModelBudget, Sizes
from daemon.published_plan import PublishedPlan, Writer
from daemon.recipe_models import RecipeModels, RecipeReport
from mdss.errors import MdssError
from mdss.settings import ModelSettings
from mdss.wire.model_plan import ModelPlan, ModelReport, Served, model_key

LOOK_EVERY_S = 1.0  # how often the store's links and people's requests are checked
IDLE_S = 5.0  # a recipe that no frame has named for this long may give way to another
MOST_DEATHS = 2  # processes that ended while loading one version: a third would end as well
log = structlog.get_logger()


class Store(Sizes, Protocol):
    """What is asked of the model store."""

    def champion(self, recipe: str) -> str:
        """Return a recipe's champion; MdssError if none can be read."""


class PlanStore(Writer, Protocol):
    """Writes plans and collects requests."""

    def generation_of(self, recipe: str, version: str) -> int:
        """Return the generation for a version: the old one if it judged the recipe last, otherwise a new one."""

    def preload_requests(self) -> Iterable[str]:
        """Return each recipe that people have requested, once."""


@dataclass(frozen=True)
class ModelReports:
    """The processes' latest reports on models: of each holder by name (None if it has not reported in this life), and of ingest."""

    holders: dict[str, ModelReport | None]
    ingest: ModelReport | None = None


class ModelSwaps:
    """Decides which versions are held and which of them judges; `tick` looks at everything once."""

    def __init__(self, settings: ModelSettings, store: Store, plan_store: PlanStore, clock: Callable[[], float]) -> None:
        self._settings, self._store, self._plan_store, self._clock = settings, store, plan_store, clock
        self._budget = ModelBudget(store, settings.memory_mb)
        self._recipes = {name: RecipeModels(name) for name in settings.recipes}
        self._published, self._look_at_s = PublishedPlan(plan_store, clock), float("-inf")
        self._reports, self._asked = ModelReports({}), dict[str, int]()
        self._has_served = False

    @property
    def trouble(self) -> str:
        """Return which recipe is not judged by its champion and why, or why the plan could not be written; empty if all is well."""
        told = self._published
        bad = ((each.name, why) for each in self._recipes.values() if each.is_wanted and (why := each.full_reason(told)))
        return next((f"recipe {name} is judged by {told.served(name).version or 'nothing'}: {why}" for name, why in bad), told.trouble)

    @property
    def is_hopeless(self) -> bool:
        """Whether no recipe can be judged, now or later, although some should be."""
        wanted = [each for each in self._recipes.values() if each.is_wanted]
        return bool(wanted) and not any(each.serving or each.coming or each.is_due for each in wanted)

    def reports(self) -> tuple[RecipeReport, ...]:
        """Return a report on every recipe in the settings."""
        named = (each for each in self._recipes.values() if each.name in self._settings.recipes)
        return tuple(each.report(self._budget.taken(each), self._published) for each in named)

    def begin(self) -> None:
        """Write the first plan, which loads at once everything that is to be preloaded."""
        now_s = self._look_at_s = self._clock()
        for recipe in map(self._recipes.__getitem__, recipes_to_preload(self._settings)):
            recipe.is_wanted = True
            self._read(recipe)
            if not recipe.is_due or not self._is_possible(recipe):
                continue
            if self._budget.needed(recipe) <= self._budget.free(self._recipes.values()):
                recipe.load(1, now_s)
            else:
                log.warning("no room for this recipe beside those before it: it is loaded when a frame names it", recipe=recipe.name)
                recipe.is_wanted = False
        self._published.write(self._wanted_plan())

    def ended(self, process: str, why: str) -> None:
        """Take note that a process ended unasked. If it was loading a version, that version may be why: it is left out for now."""
        is_known = self._has_served and process in self._reports.holders
        for recipe in self._recipes.values():
            if is_known and recipe.coming and not self._holds(recipe, self._reports.holders[process]):
                recipe.deaths += 1
                version, deaths = recipe.coming, recipe.deaths
                recipe.forget_coming()
                if deaths >= MOST_DEATHS:
                    whose = f"{deaths} processes ended while they loaded it, the last of them {process}"
                    self._fail(recipe, version, f"{whose}: {why}", for_good=True)  # the next attempt would end another process

    def request(self, recipe: str) -> None:
        """Have a recipe loaded, even if its version was refused before; it counts as used now."""
        if recipe in self._settings.recipes:
            wanted = self._recipes[recipe]
            wanted.is_wanted, wanted.used_s, wanted.refused = True, self._clock(), ("", "")
            wanted.asked += 1
            self._read(wanted)

    def reconfigure(self, settings: ModelSettings) -> None:
        """Apply other recipes and another budget from now on; newly preloaded recipes are loaded."""
        before, self._settings, self._budget = self._settings, settings, ModelBudget(self._store, settings.memory_mb)
        for name in settings.recipes:
            self._recipes.setdefault(name, RecipeModels(name))
        for recipe in self._recipes.values():
            if recipe.name not in settings.recipes:
                self._give_up(recipe)
            elif settings.memory_mb != before.memory_mb:
                recipe.refused = ("", "")
        for name in set(recipes_to_preload(settings)) - set(recipes_to_preload(before)):
            self.request(name)

    def tick(self, reports: ModelReports) -> None:
        """Check the store when it is due, evaluate all reports, and write a new plan if anything changes."""
        self._reports = reports
        self._look()
        if reports.ingest is not None:
            self._hear(reports.ingest)
        for recipe in self._recipes.values():
            self._complete_swap(recipe)
            self._free_unused(recipe)
        self._recipes = {name: each for name, each in self._recipes.items() if each.held or name in self._settings.recipes}
        self._begin_next()
        self._publish()

    def _look(self) -> None:
        now_s = self._clock()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        for name in self._plan_store.preload_requests():
            self.request(name)
        for recipe in self._recipes.values():
            self._read(recipe)

    def _read(self, recipe: RecipeModels) -> None:
        """Read which version is the champion; if that fails, the old one stays."""
        trouble, recipe.trouble = recipe.trouble, ""
        before = recipe.champion
        try:
            recipe.champion = self._store.champion(recipe.name)
        except MdssError as error:
            recipe.trouble = str(error)
        if recipe.trouble and recipe.trouble != trouble and recipe.is_wanted:
            log.error("the champion cannot be read", recipe=recipe.name, reason=recipe.trouble)
        if recipe.champion != before:
            recipe.forget_refusal()
        recipe.is_back = recipe.is_back or (trouble != "" and not recipe.trouble)
        recipe.ask_again_if_due(self._next, self._clock())
        if recipe.coming not in ("", recipe.champion):
            log.info("model not needed any more", recipe=recipe.name, version=recipe.coming)
            recipe.forget_coming()

    def _hear(self, ingest: ModelReport) -> None:
        for name, count in ingest.asked.items():
            if name in self._recipes and count != self._asked.get(name, 0):
                self._recipes[name].used_s = self._clock()
        self._asked = ingest.asked
        for name in ingest.wanted:
            if name in self._settings.recipes and not self._recipes[name].is_wanted:
                self.request(name)

    def _complete_swap(self, recipe: RecipeModels) -> None:
        """Switch to the coming version if every process is ready; give it up if one of them refuses it."""
        for version in filter(None, (recipe.coming, recipe.version)):
            if why := self._refusal(recipe, version):
                self._fail(recipe, version, why)
        if recipe.coming and (holders := self._reports.holders) and all(self._holds(recipe, report) for report in holders.values()):
            served = Served(recipe.coming, self._plan_store.generation_of(recipe.name, recipe.coming))
            recipe.switch(served, self._next)
            self._has_served = True

    def _holds(self, recipe: RecipeModels, report: ModelReport | None) -> bool:
        key = model_key(recipe.name, recipe.coming)
        return report is not None and report.revision >= recipe.held[recipe.coming] and report.held.get(key) == ""

    def _refusal(self, recipe: RecipeModels, version: str) -> str:
        """Return which process cannot use a version, and why; empty if none refuses it."""
        key, since = model_key(recipe.name, version), recipe.held[version]
        heard = ((name, report) for name, report in self._reports.holders.items() if report is not None and report.revision >= since)
        return next((f"{name}: {why}" for name, report in heard if (why := report.held.get(key, ""))), "")

    def _fail(self, recipe: RecipeModels, version: str, why: str, *, for_good: bool = False) -> None:
        judge = self._published.served(recipe.name).version
        log.error("model not taken", recipe=recipe.name, version=version, still_judges=judge, reason=why)
        recipe.refuse(version, why, self._clock(), for_good=for_good)
        if version == recipe.coming:
            recipe.forget_coming()
        if version == recipe.version:
            recipe.retire(self._published.first_without(recipe.name, recipe.version))

    def _free_unused(self, recipe: RecipeModels) -> None:
        """Free versions that judge no part under way, once ingest has read that they judge no more."""
        ingest = self._reports.ingest
        for version, revision in list(recipe.leaving.items()):
            if ingest is not None and ingest.revision >= revision and model_key(recipe.name, version) not in ingest.held:
                recipe.free(version)

    def _begin_next(self) -> None:
        """Start one load, if none is running and every process has reported; recipes that nothing judges yet come first."""
        recipes = sorted(self._recipes.values(), key=lambda each: (each.serving is not None, -each.used_s))
        if any(each.coming for each in recipes) or None in self._reports.holders.values():
            return
        for recipe in recipes:
            if recipe.is_due and (self._has_room(recipe) if recipe.serving is None else self._is_possible(recipe)):
                log.info("model is being loaded", recipe=recipe.name, version=recipe.champion)
                recipe.load(self._next, self._clock())
                return

    def _is_possible(self, recipe: RecipeModels) -> bool:
        """Return whether the champion fits into the budget at all; if not, it is refused."""
        if why := self._budget.too_large(recipe):
            self._fail(recipe, recipe.champion, why, for_good=True)
        return not why

    def _has_room(self, recipe: RecipeModels) -> bool:
        """Return whether the budget has room for this recipe; if not, the least recently used idle recipe is given up."""
        if not self._is_possible(recipe):
            return False
        others = [each for each in self._recipes.values() if each is not recipe and each.held]
        if self._budget.needed(recipe) <= self._budget.free(others):
            return True
        idle = [each for each in others if each.serving and self._is_idle(each) and recipe.comes_before(each)]
        if idle and not any(each.leaving for each in others):
            victim = min(idle, key=lambda each: each.used_s)
            log.info("model makes room", recipe=victim.name, version=victim.version, wanted=recipe.name)
            self._give_up(victim)
        is_made = bool(idle) or any(each.serving is None for each in others)
        recipe.note_no_room("" if is_made else self._budget.crowded(recipe, others))
        return False

    def _is_idle(self, recipe: RecipeModels) -> bool:
        """Return whether no part of a recipe is under way and no frame has named it for a while."""
        under_way = self._reports.ingest.held if self._reports.ingest is not None else {}
        return self._clock() - recipe.used_s >= IDLE_S and model_key(recipe.name, recipe.version) not in under_way

    def _give_up(self, recipe: RecipeModels) -> None:
        recipe.is_wanted, recipe.no_room = False, ""
        if recipe.coming:
            recipe.forget_coming()
        recipe.retire(self._published.first_without(recipe.name, recipe.version))

    @property
    def _next(self) -> int:
        """The revision of the next plan."""
        return self._published.plan.revision + 1

    def _wanted_plan(self) -> ModelPlan:
        """Return the plan as it should be now."""
        recipes = tuple(self._recipes.values())
        serving = {each.name: each.serving for each in recipes if each.serving is not None}
        since = {model_key(each.name, version): revision for each in recipes for version, revision in each.held.items()}
        reasons = {each.name: each.reason for each in recipes if each.reason and each.serving is None}
        return ModelPlan(revision=self._next, serving=serving, held=tuple(since), since=since, reasons=reasons)

    def _publish(self) -> None:
        """Write the plan if it changed; changes of the judging model are counted and logged only once it is written."""
        before = self._published.plan
        self._published.follow(self._wanted_plan())
        if self._published.plan is not before:
            for recipe in self._recipes.values():
                recipe.plan_written(before.serving.get(recipe.name), self._clock())


def recipes_to_preload(settings: ModelSettings) -> tuple[str, ...]:
    """Return the recipes that are loaded without being asked for."""
    return settings.recipes if settings.preload is None else settings.preload
