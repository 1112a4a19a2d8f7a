"""What both branches share: a worker that turns one task into one map and its maximum."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import BranchScore, ColourTask, Message, ShapeTask
from mdss.wire.model_plan import model_key
from mdss.wire.verdict import Branch
from workers.held_models import no_model
from workers.loop import Worker

Map = NDArray[np.float32]
ScoreMap = Callable[[ColourTask | ShapeTask], Map]  # one branch of one model, ready to score


def golden_task(folder: ModelFolder, part: Prepared) -> dict[str, Any]:
    """Return the fields of a task for a golden scan, apart from the arrays that the branch looks at."""
    named = {"result_id": "", "recipe_id": folder.name, "model_version": folder.version}
    return named | {"height": part.grid.height, "width": part.grid.width}


class Scorer(Worker):
    """Scores each task with the model that it names."""

    def __init__(
        self,
        branch: Branch,
        models: Mapping[str, ScoreMap],
        tally: Tally,
        clock_ns: Callable[[], int] = time.time_ns,  # UTC, for the times in verdicts
        steady_ns: Callable[[], int] = time.monotonic_ns,  # the monotonic clock, for deadlines and durations: nobody sets it
    ) -> None:
        self._branch, self._models, self._tally, self._clock_ns, self._steady_ns = branch, models, tally, clock_ns, steady_ns
        self._skipped = f'mdss_tasks_skipped_total{{stage="{branch}"}}'
        tally.start(self._skipped)

    def step(self, message: Message) -> Iterable[Message]:
        """Return the score of one task; nothing if its part's deadline is over."""
        if not isinstance(message, ColourTask | ShapeTask):
            raise TypeError(f"{type(message).__name__} came to {self._branch}: expected a task")
        model = self._models.get(model_key(message.recipe_id, message.model_version))
        if model is None:
            return [no_model(message, self._models)]
        begun_ns = self._steady_ns()
        if begun_ns >= message.deadline_ns:
            self._tally.count(self._skipped)
            return []
        started_ns = self._clock_ns()
        found = model(message)
        finished_ns = self._clock_ns()
        self._tally.observe(f'mdss_stage_duration_seconds{{stage="{self._branch}"}}', (self._steady_ns() - begun_ns) / 1e9)
        return [
            BranchScore(
                result_id=message.result_id,
                branch=self._branch,
                model_version=message.model_version,
                score=float(found.max()),
                map=found,
                started_ns=started_ns,
                finished_ns=finished_ns,
            )
        ]
