"""What a model's card says of how it was made, besides the recipe and the data: sizes, seeds, losses, scores, times."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
from torch import nn

from mdss.method.calibration import Calibration
from mdss.method.model_store import ModelCard
from mdss.method.teacher import load_teacher


class StepTimes:
    """The seconds that each step of making a model took; `known` are those timed elsewhere."""

    def __init__(self, known: Mapping[str, float] | None = None) -> None:
        self.seconds = {part: round(seconds, 1) for part, seconds in (known or {}).items()}

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Time the block as this step."""
        started_s = time.monotonic()
        yield
        self.seconds[part] = round(time.monotonic() - started_s, 1)


def completed_card(
    card: ModelCard, networks: Mapping[str, nn.Module], training: dict[str, Any], calibration: Calibration, times: StepTimes
) -> ModelCard:
    """Return the card with what is known at the end; `networks` and `training` are by branch."""
    recipe = card.recipe
    return msgspec.structs.replace(
        card,
        teacher=msgspec.to_builtins(load_teacher(recipe.rgb.teacher)[1]),
        training=training,
        sizes={branch: sum(value.numel() for value in network.state_dict().values()) for branch, network in networks.items()},
        seeds={"training": recipe.seed, "point_cloud": recipe.point_cloud.seed},
        metrics=card_metrics(calibration),
        seconds=card.seconds | times.seconds,
    )


def card_metrics(calibration: Calibration) -> dict[str, Any]:
    """Return the scores of good validation parts, fused and of each branch, and the threshold that follows from them."""
    limit, reference = calibration.threshold, calibration.reference
    branches = {"rgb": reference.rgb, "sdf": reference.sdf} if reference else {}
    return {
        "threshold": limit.value,
        "stated_false_reject_rate": limit.stated_false_reject_rate,
        "validation_scores": {
            name: score_quantiles(scores) for name, scores in {**branches, "fused": calibration.validation_scores}.items()
        },
    }


def score_quantiles(scores: Sequence[float]) -> dict[str, float]:
    """Return the lowest, the median and the highest of the scores."""
    low, median, high = np.quantile(np.asarray(scores, np.float64), (0, 0.5, 1))
    return {"lowest": float(low), "median": float(median), "highest": float(high)}
