"""The plan of models that the processes have: another takes its place once it is written, and what is said of models is what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from mdss.errors import MdssError
from mdss.wire.model_plan import ModelPlan, Served

TRY_EVERY_S = 1.0  # while the disk refuses: each try waits for it
NOTHING = Served("", 0)
log = structlog.get_logger()


class Writer(Protocol):
    """Where plans go."""

    def write(self, plan: ModelPlan) -> None:
        """Let every process know; MdssError where that is not possible."""


class PublishedPlan:
    """`plan` is the last that was written; `trouble` says why it is not the one that is wanted, empty where it is."""

    def __init__(self, desk: Writer, clock: Callable[[], float]) -> None:
        self.plan, self.trouble = ModelPlan(), ""
        self._desk, self._clock, self._try_at_s = desk, clock, float("-inf")

    def served(self, recipe: str) -> Served:
        """Return what judges a recipe's next part: without a name, generation 0, where nothing does."""
        return self.plan.serving.get(recipe, NOTHING)

    def write(self, plan: ModelPlan) -> None:
        """Let every process know a plan; MdssError where that is not possible."""
        self._desk.write(plan)
        self.plan = plan

    def follow(self, plan: ModelPlan) -> None:
        """Write a plan where it is another; where that fails, the next try is after a pause."""
        if msgspec.structs.replace(plan, revision=self.plan.revision) == self.plan:
            self.trouble = ""
        elif self._clock() >= self._try_at_s:
            self._try(plan)

    def _try(self, plan: ModelPlan) -> None:
        try:
            self.write(plan)
        except MdssError as error:
            if str(error) != self.trouble:
                log.error("the plan of models was not written: what judges stays as it was", reason=str(error))
            self.trouble, self._try_at_s = str(error), self._clock() + TRY_EVERY_S
            return
        if self.trouble:
            log.info("the plan of models is written again")
        self.trouble = ""
