"""The models that a process holds: it loads what the plan adds while others judge, and frees what the plan drops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from mdss.errors import MdssError, ModelRefused
from mdss.method import model_store
from mdss.method.model_store import ModelFolder
from mdss.wire.heartbeat import HeartbeatSender
from mdss.wire.model_plan import ModelPlan, ModelReport, PlanFile, model_key
from workers.model_loader import ModelLoader, give_back_memory, reason_of

Loaded = TypeVar("Loaded")
log = structlog.get_logger()


@dataclass(frozen=True)
class ModelUse(Generic[Loaded]):
    """How a process turns a verified model folder into what it judges with, and how it proves that the result judges correctly."""

    load: Callable[[ModelFolder], Loaded]
    prove: Callable[[ModelFolder, Loaded], object] | None = None  # raises ModelRefused if the model judges incorrectly


class HeldModels(Generic[Loaded]):
    """Follows the plan: `loaded` holds the models that can judge, by key; it changes only in `begin` and `look`, between two messages."""

    def __init__(self, model_use: ModelUse[Loaded], store: Path, plan: PlanFile, heartbeats: HeartbeatSender) -> None:
        self.loaded: dict[str, Loaded] = {}
        self._model_use, self._store, self._file, self._heartbeats = model_use, store, plan, heartbeats
        self._plan, self._refused = ModelPlan(), dict[str, str]()
        self._loader, self._loading = ModelLoader(self._prepare), ""  # the model that is being loaded, if any
        self._loading_since = 0  # the plan that had asked for it when the loading began

    def begin(self) -> None:
        """Load all planned models before the first message.

        Raises if the judging model fails for another reason than the model itself, such as memory, and at the station's start if none can
        be loaded. Later, when the store may be away for a while, a process without any model waits for a plan to ask for one again.
        """
        self._plan = self._file.changed() or ModelPlan()
        serving = {model_key(recipe, served.version) for recipe, served in self._plan.serving.items()}
        for key in self._plan.held:
            try:
                self.loaded[key] = self._prepare(key, is_proven=key in serving)
            except Exception as error:
                is_last_hope = self._plan.is_first and not self.loaded and key == self._plan.held[-1]
                if is_last_hope or (key in serving and not isinstance(error, ModelRefused)):
                    raise
                self._refuse(key, reason_of(key, error))
        self._report()

    def look(self) -> None:
        """Take over a model that finished loading, follow the plan if it has changed, and load the next model that is missing."""
        self._take_in()
        try:
            plan = self._file.changed()
        except MdssError as error:
            log.error("the plan cannot be read: models stay as they are", reason=str(error))
            plan = None
        if plan is not None:
            self._follow(plan)
        self._load_next()

    def close(self) -> None:
        """Stop loading."""
        self._loader.close()

    def _follow(self, plan: ModelPlan) -> None:
        before, self._plan = self._plan, plan
        dropped = [key for key in self.loaded if key not in plan.held]
        for key in dropped:
            del self.loaded[key]
        if dropped:
            give_back_memory()
        still = [key for key in self._refused if key in plan.held and plan.asked_in(key) == before.asked_in(key)]
        self._refused = {key: self._refused[key] for key in still}
        self._report()

    def _load_next(self) -> None:
        """Load one model at a time, so that none is loaded that the plan has dropped meanwhile."""
        missing = [key for key in self._plan.held if key not in self.loaded and key not in self._refused]
        if missing and not self._loading:
            self._loading, self._loading_since = missing[0], self._plan.asked_in(missing[0])
            self._loader.ask(self._loading)

    def _take_in(self) -> None:
        attempt = self._loader.finished()
        if attempt is None:
            return
        self._loading = ""
        if attempt.key not in self._plan.held:  # it was dropped meanwhile
            return
        if attempt.result is not None:
            self.loaded[attempt.key] = attempt.result
        elif self._plan.asked_in(attempt.key) == self._loading_since:  # otherwise it is to be tried again
            self._refuse(attempt.key, attempt.reason)
        self._report()

    def _refuse(self, key: str, reason: str) -> None:
        log.error("model refused", model=key, reason=reason)
        self._refused[key] = reason

    def _prepare(self, key: str, *, is_proven: bool = False) -> Loaded:
        """Return a model ready to judge; a model that already judges was proven by an earlier life of this process."""
        folder = model_store.open_version(self._store / key)
        loaded = self._model_use.load(folder)
        if self._model_use.prove is not None and not is_proven:
            self._model_use.prove(folder, loaded)
        return loaded

    def _report(self) -> None:
        held = dict.fromkeys(self.loaded, "") | self._refused
        self._heartbeats.report_models(ModelReport(revision=self._plan.revision, held=held))
