"""Process `prepare`: finds the part in the scan and gives each branch its share; it loads no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import cv2

from mdss.errors import BadPart
from mdss.method import point_cloud
from mdss.method.golden import reproduce
from mdss.method.model_store import ModelFolder
from mdss.verb_options import config_option
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import ColourTask, Fault, Frame, Message, PreparedPart, ShapeTask
from mdss.wire.verdict import Branch
from workers.held_models import ModelUse
from workers.stage import StageWorker, fault_of
from workers.start import ProcessContext, Role, Wiring, main, work

WIRING = Wiring("prepare", "prepare", {PreparedPart: "fusion", Fault: "fusion", ColourTask: "rgb", ShapeTask: "sdf"})


class Preparer(StageWorker[Frame, ModelFolder]):
    """Turns a frame into the two branches' tasks and the data that fusion draws from."""

    def __init__(self, models: Mapping[str, ModelFolder], tally: Tally, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__("prepare", Frame, models, tally, steady_ns)

    def work(self, task: Frame, model: ModelFolder) -> list[Message]:
        """Return the messages for one frame, or the fault that prevents them."""
        try:
            return self._prepare(task, model)
        except BadPart as bad:
            return [fault_of(task, bad.code, str(bad))]

    def _prepare(self, frame: Frame, model: ModelFolder) -> list[Message]:
        part = point_cloud.prepare(frame.rgb, frame.xyz, model.recipe.point_cloud)
        same: Any = {name: getattr(frame, name) for name in ("result_id", "recipe_id", "model_version", "deadline_ns", "received_ns")}
        same |= {"height": part.grid.height, "width": part.grid.width}
        prepared = PreparedPart(
            result_id=frame.result_id,
            model_version=frame.model_version,
            rgb=part.rgb,
            xyz=part.xyz,
            mask=part.mask,
            height=part.grid.height,
            width=part.grid.width,
            invalid_point_ratio=part.invalid_point_ratio,
            finished_ns=time.time_ns(),
            received_ns=frame.received_ns,
        )
        # Shape first: it usually takes longer, and the part waits for it.
        tasks: dict[Branch, Message] = {"sdf": ShapeTask(**same, xyz=part.xyz), "rgb": ColourTask(**same, rgb=part.rgb, mask=part.mask)}
        return [prepared, *(task for branch, task in tasks.items() if branch in frame.wanted)]


def model_use(process: ProcessContext) -> ModelUse[ModelFolder]:
    """Return how this process uses a model: only its recipe, proven by finding the part in its golden scans."""
    cv2.setNumThreads(process.settings.prepare.threads)
    return ModelUse(lambda folder: folder, lambda _, made: reproduce(made, lambda _: {}))


def worker(process: ProcessContext, models: Mapping[str, ModelFolder]) -> Preparer:
    """Return the worker that prepares frames."""
    return Preparer(models, process.tally)


@click.command("prepare")
@config_option
def command(config: Path) -> None:
    """Run the process that finds the part in each scan."""
    work(WIRING, config, Role(model_use, worker))


if __name__ == "__main__":
    main(command)
