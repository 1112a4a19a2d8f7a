"""One recipe's models in a running station: which judges, which is on its way in or out, and why one was not taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import structlog

from daemon.published_plan import PublishedPlan
from mdss.wire.model_plan import ModelPlan, Served

log = structlog.get_logger()


class RecipeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe as /status shows it."""

    recipe: str
    champion: str  # the version that the store names; empty where it names none
    version: str  # that judges the next part; empty where the recipe is not loaded
    generation: int
    loading: str = ""  # the version that is being made ready
    memory_bytes: int = 0  # of its versions that are held, as models.memory_mb counts
    swaps: int = 0  # from one version to another, since the station was started
    failures: int = 0
    took_s: float = 0.0  # from when the champion was seen until it judged
    asked: int = 0  # how often a person, a frame or a reload asked for it; champion and reason are of after that
    reason: str = ""  # why the champion does not judge


@dataclass
class RecipeModels:
    """What the supervisor knows of one recipe."""

    name: str
    champion: str = ""
    trouble: str = ""  # why the store does not say which version is the champion
    is_wanted: bool = False  # loaded, or to be loaded
    asked: int = 0  # how often it was asked for
    used_s: float = float("-inf")
    serving: Served | None = None
    coming: str = ""
    coming_since_s: float = 0.0
    held: dict[str, int] = field(default_factory=dict)  # version -> the plan that holds it first
    leaving: dict[str, int] = field(default_factory=dict)  # version -> the plan by which it judges no more
    refused: tuple[str, str] = ("", "")  # version, why
    no_room: str = ""  # beside which others, all of them in use
    deaths: int = 0  # of processes that were to load the coming one
    swaps: int = 0
    failures: int = 0
    took_s: float = 0.0

    @property
    def version(self) -> str:
        """The version that judges the next part once the processes know."""
        return self.serving.version if self.serving else ""

    @property
    def is_due(self) -> bool:
        """Whether another version than the one that judges is to be loaded."""
        return self.is_wanted and not self.coming and self.champion not in ("", self.version, self.refused[0])

    @property
    def reason(self) -> str:
        """Why the champion does not judge, where it is not on its way."""
        return self.trouble or self.refused[1] or self.no_room

    def bring(self, revision: int, now_s: float) -> None:
        """Have the champion loaded."""
        self.coming, self.coming_since_s, self.no_room = self.champion, now_s, ""
        self.held.setdefault(self.champion, revision)

    def wait(self, why: str) -> None:
        """Note beside which recipes there is no room, empty while room is being made."""
        if why and why != self.no_room:
            log.warning("model waits for room", recipe=self.name, version=self.champion, reason=why)
        self.no_room = why

    def switch(self, served: Served, revision: int) -> None:
        """Let the coming version judge from this plan on."""
        self.retire(revision)
        self.serving, self.coming, self.deaths = served, "", 0
        self.leaving.pop(served.version, None)

    def told(self, before: Served | None, now_s: float) -> None:
        """Take that the processes know what serves; `before` is what did until now."""
        if self.serving is None or self.serving == before:
            return
        self.swaps += before is not None
        self.took_s = round(now_s - self.coming_since_s, 3)
        generation = self.serving.generation
        log.info("model serves", recipe=self.name, version=self.version, generation=generation, after_s=self.took_s)

    def retire(self, revision: int) -> None:
        """Let nothing more be judged by the version that serves; it is held until its last part is."""
        if self.serving is not None:
            self.leaving[self.serving.version] = revision
            self.serving = None

    def forget_coming(self) -> None:
        """Let go of the version that was being loaded, unless parts under way need it still."""
        if self.coming not in self.leaving:
            self.held.pop(self.coming, None)
        self.coming = ""

    def refuse(self, version: str, why: str) -> None:
        """Note that a version is not taken; it is not tried again while it is the champion without a break."""
        self.refused, self.failures, self.deaths = (version, why), self.failures + 1, 0

    def free(self, version: str) -> None:
        """Let go of a version by which no part is judged any more."""
        del self.leaving[version]
        if version != self.coming:
            self.held.pop(version, None)

    def is_in(self, plan: ModelPlan) -> bool:
        """Whether a plan says what serves and what is being loaded."""
        return self.serving == plan.serving.get(self.name) and self.held.get(self.coming, 0) <= plan.revision

    def why(self, published: PublishedPlan) -> str:
        """Return why the champion does not judge: also where the processes could not be told that it does."""
        return self.reason if self.is_in(published.plan) else published.trouble or self.reason

    def report(self, nbytes: int, published: PublishedPlan) -> RecipeReport:
        """Return what /status shows: what the processes know, not what they are to know."""
        served = published.served(self.name)
        return RecipeReport(
            recipe=self.name,
            champion=self.champion,
            version=served.version,
            generation=served.generation,
            loading=self.coming if self.is_in(published.plan) else "",
            memory_bytes=nbytes,
            swaps=self.swaps,
            failures=self.failures,
            took_s=self.took_s,
            asked=self.asked,
            reason=self.why(published),
        )
