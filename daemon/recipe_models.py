"""The models of one recipe in a running station: which version judges, which is being loaded or freed, and why one was refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import structlog

from daemon.published_plan import PublishedPlan
from mdss.wire.model_plan import ModelPlan, Served

FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 60.0  # from a refusal to the next attempt that nobody asked for; each refusal doubles it
log = structlog.get_logger()


class RecipeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe as /status shows it."""

    recipe: str
    champion: str  # version that the store names as champion; empty if it names none
    version: str  # version that judges the next part; empty if the recipe is not loaded
    generation: int
    loading: str = ""  # version that is being loaded
    memory_bytes: int = 0  # bytes of its loaded versions, as models.memory_mb counts them
    swaps: int = 0  # changes from one version to another since the station was started
    failures: int = 0
    took_s: float = 0.0  # seconds from seeing the champion until it judged
    asked: int = 0  # how often a person, a frame or a reload asked for it; champion and reason are from after that
    reason: str = ""  # why the champion does not judge


@dataclass
class RecipeModels:
    """The supervisor's knowledge of one recipe."""

    name: str
    champion: str = ""
    trouble: str = ""  # why the champion could not be read from the store
    is_wanted: bool = False  # loaded, or to be loaded
    asked: int = 0  # how often it was asked for
    used_s: float = float("-inf")
    serving: Served | None = None
    coming: str = ""
    coming_since_s: float = 0.0
    held: dict[str, int] = field(default_factory=dict)  # version -> revision of the plan that asked for it last
    leaving: dict[str, int] = field(default_factory=dict)  # version -> revision of the plan in which it judges no more
    refused: tuple[str, str] = ("", "")  # version, reason
    again_s: float = float("-inf")  # what was refused is not tried again by itself before
    pause_s: float = FIRST_PAUSE_S  # after the next refusal
    is_retried: bool = False  # it was refused while nothing judged, or judged itself, and nothing has judged since
    is_back: bool = False  # the store was away and is back: what was refused is to be tried again
    no_room: str = ""  # which recipes in use leave no room for it
    deaths: int = 0  # processes that ended while loading the coming version
    swaps: int = 0
    failures: int = 0
    took_s: float = 0.0

    @property
    def version(self) -> str:
        """The version that judges the next part, once the plan is written."""
        return self.serving.version if self.serving else ""

    @property
    def is_due(self) -> bool:
        """Whether the champion has to be loaded: it is wanted, not the judging version, not being loaded and not refused."""
        return self.is_wanted and not self.coming and self.champion not in ("", self.version, self.refused[0])

    @property
    def reason(self) -> str:
        """Why the champion does not judge; while it is tried again by itself, why it was refused before."""
        return self.trouble or self.no_room or self.refused[1]

    def load(self, revision: int, now_s: float) -> None:
        """Have the champion loaded."""
        self.coming, self.coming_since_s, self.no_room = self.champion, now_s, ""
        self.held[self.champion] = revision

    def note_no_room(self, why: str) -> None:
        """Note which recipes leave no room; empty while room is being made."""
        if why and why != self.no_room:
            log.warning("model waits for room", recipe=self.name, version=self.champion, reason=why)
        self.no_room = why

    def switch(self, served: Served, revision: int) -> None:
        """Let the coming version judge from this plan on."""
        self.retire(revision)
        self.serving, self.coming, self.is_retried = served, "", False
        self.forget_refusal()
        self.leaving.pop(served.version, None)

    def plan_written(self, before: Served | None, now_s: float) -> None:
        """Take note that the plan is written: count and log a change of the judging model; `before` is what judged until now."""
        if self.serving is None or self.serving == before:
            return
        self.swaps += before is not None
        self.took_s = round(now_s - self.coming_since_s, 3)
        generation = self.serving.generation
        log.info("model serves", recipe=self.name, version=self.version, generation=generation, after_s=self.took_s)

    def retire(self, revision: int) -> None:
        """Let the judging version judge nothing more; it stays loaded until its last part is judged."""
        if self.serving is not None:
            self.leaving[self.serving.version] = revision
            self.serving = None

    def forget_coming(self) -> None:
        """Drop the version that was being loaded, unless parts under way still need it."""
        coming, self.coming = self.coming, ""
        self._let_go(coming)

    def refuse(self, version: str, why: str, now_s: float, *, for_good: bool) -> None:
        """Note that a version was refused; it is tried again by itself after a pause, unless for good or because another one judges."""
        self.refused, self.failures, self.deaths, self.no_room = (version, why), self.failures + 1, 0, ""
        self.again_s, self.pause_s = now_s + self.pause_s, min(2 * self.pause_s, LONGEST_PAUSE_S)
        self.is_retried = not for_good and (self.is_retried or self.version in ("", version))

    def forget_refusal(self) -> None:
        """Begin anew with another champion, or with one that judges now."""
        self.refused, self.deaths, self.pause_s = ("", ""), 0, FIRST_PAUSE_S

    def ask_again_if_due(self, revision: int, now_s: float) -> None:
        """Have what was refused tried again, if the store is back or nothing judges; no refusal from before this plan counts."""
        if self.trouble or now_s < self.again_s:
            return
        if self.is_back or (self.is_retried and self.refused[0]):
            self.is_back, self.refused, self.held = False, ("", self.refused[1]), dict.fromkeys(self.held, revision)

    def comes_before(self, idle: RecipeModels) -> bool:
        """Return whether an idle recipe makes room for this one; for one that may be refused once more, only if frames named it since."""
        return not self.refused[1] or self.used_s > idle.used_s

    def free(self, version: str) -> None:
        """Free a version that judges no part any more, unless it is being loaded again."""
        del self.leaving[version]
        self._let_go(version)

    def _let_go(self, version: str) -> None:
        """Hold a version no longer, if it neither judges nor is being loaded nor has parts under way."""
        if version not in (self.version, self.coming, *self.leaving):
            self.held.pop(version, None)

    def is_in(self, plan: ModelPlan) -> bool:
        """Return whether a plan contains both what judges and what is being loaded."""
        return self.serving == plan.serving.get(self.name) and self.held.get(self.coming, 0) <= plan.revision

    def full_reason(self, published: PublishedPlan) -> str:
        """Return why the champion does not judge, including that the plan could not be written."""
        return self.reason if self.is_in(published.plan) else published.trouble or self.reason

    def report(self, nbytes: int, published: PublishedPlan) -> RecipeReport:
        """Return the entry for /status; it shows the plan as the processes know it, not as it should be."""
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
            reason=self.full_reason(published),
        )
