"""Stamps each frame with the model that the plan names for its recipe, and tracks which recipes were asked for in vain."""

from __future__ import annotations

from collections.abc import Iterable

from mdss.wire.headers import WireRefusal
from mdss.wire.model_plan import ModelPlan, ModelReport, Served


class ServedModels:
    """Stamps frames according to the current plan, and reports to the supervisor what frames ask for."""

    def __init__(self) -> None:
        self._plan = ModelPlan()
        self._asked, self._wanted = dict[str, int](), set[str]()

    def follow(self, plan: ModelPlan) -> None:
        """Use another plan from the next frame on."""
        self._plan = plan
        self._wanted -= plan.serving.keys()

    def stamp(self, recipe: str, frame_id: str) -> Served:
        """Return the model that judges a frame of this recipe; if there is none, refuse the frame for now and ask for one to be loaded."""
        self._asked[recipe] = self._asked.get(recipe, 0) + 1
        served = self._plan.serving.get(recipe)
        if served is None:
            self._wanted.add(recipe)
            reason = self._plan.reasons.get(recipe, "its model is being loaded")
            raise WireRefusal("NOT_READY", f"FRAME recipe_id: {recipe} is not judged now: {reason}; expected to be sent again", frame_id)
        return served

    def report(self, under_way: Iterable[str]) -> ModelReport:
        """Return the report to the supervisor; `under_way` holds the keys of the models that judge parts under way."""
        held = dict.fromkeys(under_way, "")
        return ModelReport(revision=self._plan.revision, held=held, wanted=tuple(sorted(self._wanted)), asked=dict(self._asked))
