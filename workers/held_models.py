"""The models that a process holds: what the plan adds is loaded beside those that judge, and what it drops is let go of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from mdss.errors import MdssError, ModelRefused
from mdss.method import model_store
from mdss.method.model_store import ModelFolder
from mdss.wire.messages import Fault, Task
from mdss.wire.model_plan import ModelPlan, ModelWord, PlanFile, model_key
from mdss.wire.pulse import Pulse
from workers.model_loader import ModelLoader, give_back_memory, reason_of

Loaded = TypeVar("Loaded")
log = structlog.get_logger()


@dataclass(frozen=True)
class Craft(Generic[Loaded]):
    """How a process makes of a verified model folder what it judges with, and how it proves that this judges as it should."""

    load: Callable[[ModelFolder], Loaded]
    prove: Callable[[ModelFolder, Loaded], object] | None = None  # raises ModelRefused


class HeldModels(Generic[Loaded]):
    """Keeps to the plan: `loaded` has what can be judged with, by key; it changes only in `begin` and `look`, between two messages."""

    def __init__(self, craft: Craft[Loaded], store: Path, plan: PlanFile, pulse: Pulse) -> None:
        self.loaded: dict[str, Loaded] = {}
        self._craft, self._store, self._file, self._pulse = craft, store, plan, pulse
        self._plan, self._refused, self._loading = ModelPlan(), dict[str, str](), set[str]()
        self._loader = ModelLoader(self._made, lambda key: key in self._plan.held)

    def begin(self) -> None:
        """Load everything before the first message; raises why where nothing can be loaded, or what serves fails for want of means."""
        self._plan = self._file.changed() or ModelPlan()
        serving = {model_key(recipe, served.version) for recipe, served in self._plan.serving.items()}
        for key in self._plan.held:
            try:
                self.loaded[key] = self._made(key, is_proven=key in serving)
            except Exception as error:
                is_last_hope = not self.loaded and key == self._plan.held[-1]
                if is_last_hope or (key in serving and not isinstance(error, ModelRefused)):
                    raise
                self._refuse(key, reason_of(key, error))
        self._say()

    def look(self) -> None:
        """Take in what was loaded meanwhile, and follow the plan where it has changed."""
        self._take_in()
        try:
            plan = self._file.changed()
        except MdssError as error:
            log.error("the plan cannot be read: models stay as they are", reason=str(error))
            return
        if plan is not None:
            self._follow(plan)

    def close(self) -> None:
        """End the loading."""
        self._loader.close()

    def _follow(self, plan: ModelPlan) -> None:
        self._plan = plan
        dropped = [key for key in self.loaded if key not in plan.held]
        for key in dropped:
            del self.loaded[key]
        if dropped:
            give_back_memory()
        self._refused = {key: reason for key, reason in self._refused.items() if key in plan.held}
        for key in plan.held:
            if key not in self.loaded and key not in self._refused and key not in self._loading:
                self._ask(key)
        self._say()

    def _ask(self, key: str) -> None:
        self._loading.add(key)
        self._loader.ask(key)

    def _take_in(self) -> None:
        for attempt in self._loader.finished():
            self._loading.discard(attempt.key)
            if attempt.key not in self._plan.held:
                continue
            if attempt.made is not None:
                self.loaded[attempt.key] = attempt.made
            elif attempt.reason:
                self._refuse(attempt.key, attempt.reason)
            else:  # it was not wanted when its turn came, and is again
                self._ask(attempt.key)
            self._say()

    def _refuse(self, key: str, reason: str) -> None:
        log.error("model refused", model=key, reason=reason)
        self._refused[key] = reason

    def _made(self, key: str, *, is_proven: bool = False) -> Loaded:
        """Return a model ready to judge with; one that serves already has been proven by this process's last life."""
        folder = model_store.open_version(self._store / key)
        loaded = self._craft.load(folder)
        if self._craft.prove is not None and not is_proven:
            self._craft.prove(folder, loaded)
        return loaded

    def _say(self) -> None:
        held = dict.fromkeys(self.loaded, "") | self._refused
        self._pulse.hold(ModelWord(revision=self._plan.revision, held=held))


def no_model(message: Task, models: Mapping[str, object]) -> Fault:
    """Return why a part cannot be looked at: its model is not held here, or no longer."""
    reason = f"model {model_key(message.recipe_id, message.model_version)} is not held here; expected one of {', '.join(models) or 'none'}"
    return Fault(result_id=message.result_id, code="LOST", reason=reason, model_version=message.model_version)
