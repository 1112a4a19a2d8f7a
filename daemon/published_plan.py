"""The plan of models as the processes have it: a new plan counts only once it is written, and /status reports the written one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from mdss.errors import MdssError
from mdss.wire.model_plan import ModelPlan, Served

TRY_EVERY_S = 1.0  # while the disk refuses, because each attempt blocks on it
NOTHING = Served("", 0)
log = structlog.get_logger()


class Writer(Protocol):
    """Where plans go."""

    def write(self, plan: ModelPlan) -> None:
        """Write a plan for all processes; MdssError if it cannot be written."""


class PublishedPlan:
    """Holds the last plan that was written in `plan`; `trouble` says why the wanted plan could not be written, empty if it was."""

    def __init__(self, writer: Writer, clock: Callable[[], float]) -> None:
        self.plan, self.trouble = ModelPlan(), ""
        self._writer, self._clock, self._try_at_s = writer, clock, float("-inf")

    def served(self, recipe: str) -> Served:
        """Return the model that judges a recipe's next part; an empty version and generation 0 if none does."""
        return self.plan.serving.get(recipe, NOTHING)

    def first_without(self, recipe: str, version: str) -> int:
        """Return the revision of the first plan by which a version judges no more: the next, or the last one if that never let it."""
        return self.plan.revision + (self.served(recipe).version == version)

    def write(self, plan: ModelPlan) -> None:
        """Write a plan for all processes; MdssError if it cannot be written."""
        self._writer.write(plan)
        self.plan = plan

    def follow(self, plan: ModelPlan) -> None:
        """Write the plan if it differs from the last one; after a failure the next attempt waits for a pause."""
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
