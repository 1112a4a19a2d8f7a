"""What a bench with a station judges, and a small line and model of its own: parts have to be judged, but not well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RECIPE = "flange"
SIDE_PX = 96
SMALL = (
    *("point_cloud.size_px=96", "rgb.student_width=0.25", "rgb.steps=20", "rgb.batch=2", "rgb.window_px=64", "rgb.warmup_steps=1"),
    *("sdf.steps=40", "sdf.batch=4", "sdf.points_per_patch=64", "sdf.encoder=[16,32]", "sdf.code=16", "sdf.width=32", "sdf.depth=2"),
    *("sdf.warmup_steps=1", "threshold.false_reject_rate=0.0001"),
)


@dataclass(frozen=True)
class Product:
    """The scans that cameras send, and the store and recipe that judge them."""

    data: Path
    store: Path
    recipe: str


def small_line(folder: Path) -> Product:
    """Return a line of small synthetic parts with a model that trains in seconds; made once, then reused."""
    from mdss.method.presets import preset, with_assignments
    from trainer.synthetic import Line, LineSize, write_line
    from trainer.synthetic_camera import View
    from trainer.train import TrainingOrder, train

    data, store = folder / "line", folder / "models"
    if not (data / "line.json").exists():
        size = LineSize(train=8, validation=8, good=8, defective=4)
        write_line(Line(RECIPE, 1, size, View(SIDE_PX, SIDE_PX, "m"), kinds=("stain", "bump")), data)
    if not (store / RECIPE / "champion").exists():
        train(TrainingOrder(data, store, RECIPE, with_assignments(preset("demo"), SMALL), device="cpu"))
    return Product(data, store, RECIPE)
