"""What prepare and the branches have in common: a task is worked on with the model that it names, unless its part is late."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Fault, Message, Task
from mdss.wire.model_plan import model_key
from mdss.wire.verdict import UndefinedCode
from workers.loop import Worker

Taken = TypeVar("Taken", bound=Task)
Loaded = TypeVar("Loaded")


class StageWorker(Worker, Generic[Taken, Loaded]):
    """Works on each task with its model, and counts how long that takes; a part whose deadline is over is counted and passed over."""

    def __init__(
        self,
        stage: str,
        takes: type[Taken],
        models: Mapping[str, Loaded],
        tally: Tally,
        steady_ns: Callable[[], int] = time.monotonic_ns,  # the monotonic clock, for deadlines and durations: nobody sets it
    ) -> None:
        self._stage, self._takes, self._models, self._tally, self._steady_ns = stage, takes, models, tally, steady_ns
        self._skipped, self._duration = f'mdss_tasks_skipped_total{{stage="{stage}"}}', f'mdss_stage_duration_seconds{{stage="{stage}"}}'
        tally.start(self._skipped)

    def step(self, message: Message) -> Iterable[Message]:
        """Return what follows from one task: nothing if it is late, a fault if its model is not held."""
        if not isinstance(message, self._takes):
            raise TypeError(f"{type(message).__name__} came to {self._stage}: expected a {self._takes.__name__}")
        model = self._models.get(model_key(message.recipe_id, message.model_version))
        if model is None:
            return [no_model(message, self._models)]
        begun_ns = self._steady_ns()
        if begun_ns >= message.deadline_ns:
            self._tally.count(self._skipped)
            return []
        try:
            return self.work(message, model)
        finally:
            self._tally.observe(self._duration, (self._steady_ns() - begun_ns) / 1e9)

    @abstractmethod
    def work(self, task: Taken, model: Loaded) -> list[Message]:
        """Return the messages that follow from one task."""


def no_model(message: Task, models: Mapping[str, object]) -> Fault:
    """Return why a part cannot be examined: this process does not hold its model (any longer)."""
    reason = f"model {model_key(message.recipe_id, message.model_version)} is not loaded; expected one of {', '.join(models) or 'none'}"
    return fault_of(message, "LOST", reason)


def fault_of(task: Task, code: UndefinedCode, reason: str) -> Fault:
    """Return that a task's part cannot be judged, and why; it counts for the scan and the model of this task alone."""
    return Fault(result_id=task.result_id, code=code, reason=reason, model_version=task.model_version, received_ns=task.received_ns)
