"""What both branches have in common: one task in, one map and its maximum out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdss.wire.messages import Branch, BranchScore, ColourTask, Fault, Message, ShapeTask
from mdss.wire.pulse import Tally

Map = NDArray[np.float32]


@dataclass(frozen=True)
class LoadedBranch:
    """One branch of one model, ready to score."""

    version: str
    score_map: Callable[[ColourTask | ShapeTask], Map]


class Scorer:
    """Scores tasks with the branch of their recipe's model."""

    def __init__(
        self, branch: Branch, models: Mapping[str, LoadedBranch], tally: Tally, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._branch, self._models, self._tally, self._clock_ns = branch, models, tally, clock_ns
        self._skipped = f'mdss_tasks_skipped_total{{stage="{branch}"}}'

    def step(self, message: Message) -> Iterable[Message]:
        """Return the score of one task; nothing where its part's deadline is over."""
        if not isinstance(message, ColourTask | ShapeTask):
            raise TypeError(f"{type(message).__name__} came to {self._branch}: expected a task")
        model = self._models.get(message.recipe_id)
        if model is None:
            reason = f"recipe {message.recipe_id!r} has no model here; expected one of {', '.join(self._models)}"
            return [Fault(result_id=message.result_id, stage=self._branch, code="LOST", reason=reason)]
        if time.monotonic_ns() >= message.deadline_ns:
            self._tally.count(self._skipped)
            return []
        started_ns = self._clock_ns()
        found = model.score_map(message)
        finished_ns = self._clock_ns()
        self._tally.observe(f'mdss_stage_duration_seconds{{stage="{self._branch}"}}', (finished_ns - started_ns) / 1e9)
        return [
            BranchScore(
                result_id=message.result_id,
                branch=self._branch,
                model_version=model.version,
                score=float(found.max()),
                map=found,
                started_ns=started_ns,
                finished_ns=finished_ns,
                attempt=message.attempt,
            )
        ]

    def tick(self) -> Iterable[Message]:
        """Nothing follows from time alone."""
        return ()

    def drain(self) -> Iterable[Message]:
        """Nothing is kept here."""
        return ()
