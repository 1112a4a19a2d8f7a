"""What both branches have in common: a process that turns one task into one map and its maximum."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mdss.method.golden import reproduce
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.method.torch_device import Precision, device_of
from mdss.settings import BranchSettings
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import BranchScore, Fault, Message
from mdss.wire.verdict import Branch
from workers.held_models import ModelUse
from workers.stage import StageWorker, Taken
from workers.start import ProcessContext, Role, Wiring, work

Map = NDArray[np.float32]


class Scoring(Protocol):
    """One branch of one model, ready to score."""

    def map_of(self, part: Prepared) -> Map:
        """Return the map (S, S) of a prepared part."""


Scores = TypeVar("Scores", bound=Scoring)


@dataclass(frozen=True)
class BranchWork(Generic[Taken, Scores]):
    """What the two branch processes do differently."""

    name: Branch
    takes: type[Taken]
    load: Callable[[ModelFolder, str, Precision], Scores]  # warmed up, so that the first part need not wait
    score: Callable[[Scores, Taken], Map]

    def run(self, config: Path, index: int) -> None:
        """Run one process of this branch."""
        wiring = Wiring(f"{self.name}-{index}", self.name, {BranchScore: "fusion", Fault: "fusion"})
        work(wiring, config, Role(self._model_use, lambda process, models: Scorer(self, models, process.tally)))

    def _model_use(self, process: ProcessContext) -> ModelUse[Scores]:
        settings: BranchSettings = getattr(process.settings.branches, self.name)
        torch.set_num_threads(settings.threads)
        device = device_of(settings.device)
        return ModelUse(lambda folder: self.load(folder, device, settings.precision), self._prove)

    def _prove(self, folder: ModelFolder, model: Scores) -> None:
        """Score the model's golden scans; ModelRefused if the scores differ from those the model was made with."""
        reproduce(folder, lambda part: {self.name: float(model.map_of(part).max())})


class Scorer(StageWorker[Taken, Scores]):
    """Scores each task with the model that it names."""

    def __init__(
        self,
        branch: BranchWork[Taken, Scores],
        models: Mapping[str, Scores],
        tally: Tally,
        clock_ns: Callable[[], int] = time.time_ns,  # UTC, for the times in verdicts
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(branch.name, branch.takes, models, tally, steady_ns)
        self._branch, self._clock_ns = branch, clock_ns

    def work(self, task: Taken, model: Scores) -> list[Message]:
        """Return the score of one task."""
        started_ns = self._clock_ns()
        found = self._branch.score(model, task)
        finished_ns = self._clock_ns()
        return [
            BranchScore(
                result_id=task.result_id,
                branch=self._branch.name,
                model_version=task.model_version,
                score=float(found.max()),
                map=found,
                started_ns=started_ns,
                finished_ns=finished_ns,
                received_ns=task.received_ns,
            )
        ]
