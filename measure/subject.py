"""The subject of a measurement: a model, and scans of its product at any size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.recording import NOT_MEASURED, find_pairs, read_pair
from mdss.errors import BadInput
from mdss.method.model_store import open_champion
from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX
from mdss.wire.cloud import SensorCloud
from mdss.wire.headers import CloudFormat, FrameHeader, ImageFormat
from mdss.wire.scan import FrameLimits, to_scan
from trainer.dataset import Unit

MOST_SCANS = 4
PRODUCT = "flange"
FEW_STEPS = ("rgb.steps=2", "rgb.warmup_steps=1", "sdf.steps=2", "sdf.warmup_steps=1")
SMALL = (
    *("point_cloud.size_px=96", "rgb.student_width=0.25", "rgb.batch=2", "rgb.window_px=64"),
    *("sdf.batch=4", "sdf.points_per_patch=64", "sdf.encoder=[16,32]", "sdf.code=16", "sdf.width=32", "sdf.depth=2"),
)


@dataclass(frozen=True)
class Size:
    """Height and width of a scan in pixels."""

    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the size in a text such as `400x300`. BadInput if it is none that a station takes."""
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
        size = cls(int(match[1]), int(match[2])) if match else None
        if size is None or not all(SMALLEST_SIDE_PX <= side <= LARGEST_SIDE_PX for side in (size.height, size.width)):
            raise BadInput(
                f"size: found {text!r}, expected HEIGHTxWIDTH with {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX} on each side, such as 400x400"
            )
        return size

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


@dataclass(frozen=True)
class Scan:
    """One scan as a camera sends it: the cloud in the line's unit, (0, 0, 0) where nothing was measured."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    xyz: NDArray[np.float32]

    def at(self, size: Size) -> Scan:
        """Return the part as on a sensor of another size: the middle of the scan in the new shape; no point is moved."""
        height, width = self.rgb.shape[:2]
        scale = min(height / size.height, width / size.width)
        rows = _sampled(height, size.height, scale)
        columns = _sampled(width, size.width, scale)
        cropped = self.rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        how = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
        rgb = np.asarray(cv2.resize(np.ascontiguousarray(cropped), (size.width, size.height), interpolation=how), np.uint8)
        return Scan(rgb, np.ascontiguousarray(self.xyz[np.ix_(rows, columns)]))


def _sampled(length: int, count: int, scale: float) -> NDArray[np.intp]:
    """Return which of `length` pixels lie under `count` new ones, `scale` old pixels apart and centred."""
    at = (length - count * scale) / 2 + (np.arange(count) + 0.5) * scale
    return np.clip(at.astype(np.intp), 0, length - 1)


@dataclass(frozen=True)
class Subject:
    """A model in a store, and a few scans that it can judge."""

    store: Path
    recipe: str
    unit: Unit
    scans: tuple[Scan, ...]
    is_trained: bool

    def scans_at(self, size: Size) -> tuple[Scan, ...]:
        """Return the scans as a sensor of this size would record them."""
        return tuple(scan.at(size) for scan in self.scans)

    def received(self, scan: Scan) -> tuple[NDArray[np.uint8], SensorCloud]:
        """Return image and cloud as the station has them after `ingest`."""
        return to_scan(self.header(scan, "part"), [scan.rgb.tobytes(), scan.xyz.tobytes()], FrameLimits())

    def header(self, scan: Scan, name: str) -> FrameHeader:
        """Return the header that a camera would send with this scan."""
        height, width = scan.rgb.shape[:2]
        return FrameHeader(
            source_id="bench",
            sequence=1,
            frame_id=name,
            part_id=name,
            recipe_id=self.recipe,
            capture_time=0,
            rgb=ImageFormat(height=height, width=width),
            xyz=CloudFormat(unit=self.unit, invalid=NOT_MEASURED),
            is_simulated=True,
        )


def subject_of_store(store: Path, recipe: str, data: Path, unit: Unit) -> Subject:
    """Return a champion of a store with scans of its product. ModelRefused or BadInput, before anything is measured, if one is missing."""
    scans = read_scans(data)
    open_champion(store, recipe)
    return Subject(store, recipe, unit, scans, is_trained=True)


def synthetic_subject(preset_name: str, folder: Path, *, is_quick: bool) -> Subject:
    """Return a synthetic line with a model after two steps of training; made once in a folder, then reused."""
    from mdss.method.presets import preset, with_assignments
    from trainer.synthetic import Line, LineSize, write_line
    from trainer.synthetic_camera import View
    from trainer.train import TrainingOrder, train

    data, store, side = folder / "line", folder / "models", 128 if is_quick else 800
    if not (data / "line.json").exists():
        click.echo("bench: a synthetic line, and a model after two steps of training; speed does not depend on what it learned", err=True)
        size = LineSize(train=3, validation=5, good=2, defective=2)
        write_line(Line(PRODUCT, 1, size, View(side, side, "m"), kinds=("stain", "bump")), data)
    if not (store / PRODUCT / "champion").exists():
        train(TrainingOrder(data, store, PRODUCT, with_assignments(preset(preset_name), (*FEW_STEPS, *(SMALL if is_quick else ())))))
    return Subject(store, PRODUCT, "m", read_scans(data), is_trained=False)


def read_scans(data: Path) -> tuple[Scan, ...]:
    """Return a few test scans of a dataset, evenly chosen."""
    if not data.is_dir():
        raise BadInput(f"{data}: no such folder; expected scans as `mdss synthetic` writes them")
    pairs = find_pairs(data, "test")
    chosen = [pairs[number * len(pairs) // MOST_SCANS] for number in range(MOST_SCANS)] if len(pairs) > MOST_SCANS else pairs
    return tuple(Scan(*read_pair(pair)) for pair in chosen)
