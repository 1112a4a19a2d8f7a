"""The champion of one recipe, scoring parts with the same calls in the same order as the station."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mdss.method import model_store
from mdss.method.brightness import match_brightness
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared, prepare
from mdss.method.station_rules import InView, incomplete_reason, missing_points_reason
from mdss.settings import FusionSettings

if TYPE_CHECKING:
    from mdss.method.fusion import Fused
    from mdss.method.golden import Scored
    from mdss.method.torch_device import Precision

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Bool = NDArray[np.bool_]
ScoreKind = Literal["rgb", "sdf", "fused", "fused_brightness_matched"]  # by one branch or by both; pages list each as a branch
NO_NUMBERS = "a map holds values that are no numbers; expected finite ones"


@dataclass
class Stopwatch:
    """The time each stage took, for each part."""

    spent_ms: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as one run of that stage."""
        started = time.perf_counter()
        yield
        self.spent_ms.setdefault(name, []).append((time.perf_counter() - started) * 1000)


@dataclass(frozen=True)
class Champion:
    """A model folder with both branches and the fusion, ready to score."""

    folder: ModelFolder
    colour_map: Callable[[Prepared], Float]
    shape_map: Callable[[Prepared], Float]
    fuse: Callable[[Float, Float], Fused]

    @classmethod
    def load(cls, store: Path, recipe_name: str, device: str) -> Self:
        """Open and verify the recipe's champion; `device` is auto, cpu or cuda:N."""
        return cls.of(model_store.open_champion(store, recipe_name), device)

    @classmethod
    def of(cls, folder: ModelFolder, device: str, precision: Precision = "auto") -> Self:
        """Load a verified model, champion or not, to score as if it were the champion."""
        # Imported here, so that `--help` does not wait for torch.
        from mdss.method import fusion
        from mdss.method.signed_distance import ShapeBranch
        from mdss.method.student_teacher import ColourBranch
        from mdss.method.torch_device import device_of

        chosen = device_of(device)
        colour = ColourBranch.load(folder.path, folder.recipe, chosen, precision)
        shape = ShapeBranch.load(folder.path, folder.recipe, chosen, precision)
        return cls(folder, colour.map_of, shape.map_of, partial(fusion.fuse, calibration=folder.calibration))

    @property
    def threshold(self) -> float:
        """Return the score above which a part is not OK."""
        return float(self.folder.calibration.threshold.value)

    def prepare(self, rgb: Image, xyz_mm: Float) -> Prepared:
        """Return the part on the model's grid. BadPart if the scan holds none."""
        return prepare(rgb, xyz_mm, self.folder.recipe.point_cloud)

    def undecided(self, prepared: Prepared, rules: FusionSettings) -> str:
        """Return why a station with these rules would not call this part OK, whatever it scores; "" if it may."""
        view = InView.of(prepared)
        return missing_points_reason(view, rules) or incomplete_reason(view, self.folder.calibration, rules)

    def score(self, prepared: Prepared, watch: Stopwatch | None = None) -> tuple[dict[ScoreKind, float], dict[ScoreKind, Float]]:
        """Return the scores and the maps (S, S) of both branches and of the fusion; the watch times each of the three."""
        watch = watch or Stopwatch()
        with watch.stage("rgb"):
            rgb_map = self.colour_map(prepared)
        with watch.stage("sdf"):
            sdf_map = self.shape_map(prepared)
        with watch.stage("fusion"):
            fused = self.fuse(rgb_map, sdf_map)
        scores: dict[ScoreKind, float] = {"rgb": float(rgb_map.max()), "sdf": float(sdf_map.max()), "fused": float(fused.score)}
        return scores, {"rgb": rgb_map, "sdf": sdf_map, "fused": fused.map}

    def golden_scores(self, prepared: Prepared) -> dict[Scored, float]:
        """Return the scores that are stored with golden scans."""
        found = self.score(prepared)[0]
        return {"rgb": found["rgb"], "sdf": found["sdf"], "fused": found["fused"]}

    def score_matched(self, prepared: Prepared, sdf_map: Float, brightness: float) -> Fused:
        """Return the fusion for the image scaled to the training parts' brightness; the shape map stays the same."""
        matched = replace(prepared, rgb=match_brightness(prepared.rgb, prepared.mask, brightness))
        return self.fuse(self.colour_map(matched), sdf_map)


def are_numbers(maps: Mapping[ScoreKind, Float]) -> bool:
    """Return whether all values of all maps are finite; if one is not, no score can be trusted."""
    return all(np.isfinite(heat).all() for heat in maps.values())
