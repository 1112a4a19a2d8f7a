"""Which model judges the next frame of each recipe, as the plan says; who asks in vain, and which models are needed still."""

from __future__ import annotations

from collections.abc import Iterable

from mdss.wire.headers import WireRefusal
from mdss.wire.model_plan import ModelPlan, ModelWord, Served


class ServedModels:
    """Stamps frames by the plan of the moment; the supervisor hears what they ask for."""

    def __init__(self) -> None:
        self._plan = ModelPlan()
        self._asked, self._wanted = dict[str, int](), set[str]()

    def follow(self, plan: ModelPlan) -> None:
        """Keep to another plan from the next frame on."""
        self._plan = plan
        self._wanted -= plan.serving.keys()

    def stamp(self, recipe: str, frame_id: str) -> Served:
        """Return the model that is to judge a frame of this recipe, or refuse it for now and have the model loaded."""
        self._asked[recipe] = self._asked.get(recipe, 0) + 1
        served = self._plan.serving.get(recipe)
        if served is None:
            self._wanted.add(recipe)
            reason = self._plan.reasons.get(recipe, "its model is being loaded")
            raise WireRefusal("NOT_READY", f"FRAME recipe_id: {recipe} is not judged now: {reason}; expected to be sent again", frame_id)
        return served

    def word(self, under_way: Iterable[str]) -> ModelWord:
        """Return what the supervisor is told, `under_way` being the keys of the models that parts under way are judged by."""
        held = dict.fromkeys(under_way, "")
        return ModelWord(revision=self._plan.revision, held=held, wanted=tuple(sorted(self._wanted)), asked=dict(self._asked))
