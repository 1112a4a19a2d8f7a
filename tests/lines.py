"""A line of synthetic parts so small that a test can make it in passing."""

from __future__ import annotations

from pathlib import Path

from trainer.dataset import Unit
from trainer.synthetic import Line, LineSize, write_line
from trainer.synthetic_camera import View

TINY = LineSize(train=2, validation=1, good=1, defective=2)
SIDE_PX = 96


def write_tiny_line(out: Path, product: str = "flange", unit: Unit = "m", size: LineSize = TINY, seed: int = 1) -> Line:
    """Write six scans of 96 x 96 px into a new folder, two of them with a defect: a stain and a bump."""
    line = Line(product, seed, size, View(SIDE_PX, SIDE_PX, unit), kinds=("stain", "bump"))
    write_line(line, out)
    return line
