"""Golden scans: a few good parts as they were recorded, kept with a model and with the scores that they got when it was made.

`golden/` of a version holds N.png (the image), N.tiff (the cloud in mm, NaN where nothing was measured) and scores.json. A process that
loads the model scores them again. Other weights, an engine that computes something else, or a broken preparation give other scores.

The tolerance was measured on two products with two seeds each, on the worst of three scans. bfloat16 moves the scores by 0.2 % in colour
and 0.4 % in shape, so 2 % leaves it room. Weights of another seed are off by 4 % in colour and 11 % in shape, those of another product by
500 % and more in either (250 and 600 steps). After 6 steps, when nothing is learned, seeds differ by 0.5 to 2 % in colour and by 4 % in
shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np
import tifffile
from numpy.typing import NDArray

from mdss.errors import UNREADABLE, BadInput, BadPart, ModelRefused
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared, prepare
from mdss.scans import read_scan
from mdss.whole_files import as_json

GOLDEN, SCORES = "golden", "scores.json"
FORMAT = "mdss.golden.v1"
COUNT = 3
TOLERANCE = 0.02
Scored = Literal["rgb", "sdf", "fused"]


@dataclass(frozen=True)
class GoldenScan:
    """One good part before any preparation, with its scores on a CPU; models that score in float computed them in float32."""

    name: str  # name of the validation part
    rgb: NDArray[np.uint8]  # (H, W, 3)
    xyz_mm: NDArray[np.float32]  # (H, W, 3), NaN where nothing was measured
    scores: Mapping[Scored, float]


class ScanScores(msgspec.Struct, frozen=True, kw_only=True):
    """The entry of one scan in scores.json."""

    name: str
    rgb: float
    sdf: float
    fused: float


class ScoresFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of scores.json; entry N belongs to N.png and N.tiff."""

    format: str = FORMAT
    scans: tuple[ScanScores, ...]


def choose_golden(scores: Sequence[float]) -> list[int]:
    """Return which validation parts become golden, by their fused scores: the one in the middle, and one halfway to either end."""
    order = np.argsort(np.asarray(scores, np.float64), kind="stable")
    places = [round((len(order) - 1) * (number + 1) / (COUNT + 1)) for number in range(COUNT)]
    return [int(order[place]) for place in sorted(set(places))]


def write_golden(version_folder: Path, scans: Sequence[GoldenScan]) -> None:
    """Write the scans into `golden/` of a model folder that is being made; without scans there is no such folder."""
    if not scans:
        return
    folder = version_folder / GOLDEN
    folder.mkdir()
    for number, scan in enumerate(scans):
        coded, png = cv2.imencode(".png", scan.rgb[:, :, ::-1])
        if not coded:
            raise BadInput(f"golden scan {scan.name}: found an image {scan.rgb.shape} that is no PNG; expected (H, W, 3) of 8 bits")
        (folder / f"{number}.png").write_bytes(png.tobytes())
        tifffile.imwrite(folder / f"{number}.tiff", scan.xyz_mm, photometric="rgb", compression="zlib", metadata=None)
    names_and_scores = [(scan.name, scan.scores) for scan in scans]
    found = ScoresFile(scans=tuple(ScanScores(name=name, rgb=of["rgb"], sdf=of["sdf"], fused=of["fused"]) for name, of in names_and_scores))
    (folder / SCORES).write_bytes(as_json(found))


def read_golden(version_folder: Path) -> tuple[GoldenScan, ...]:
    """Return a model's golden scans; none for a model of a release without them. ModelRefused names a file that cannot be read."""
    folder = version_folder / GOLDEN
    if not folder.is_dir():
        return ()
    try:
        listed = msgspec.json.decode((folder / SCORES).read_bytes(), type=ScoresFile)
        scans = [read_scan(folder / f"{number}.png", folder / f"{number}.tiff") for number in range(len(listed.scans))]
    except (OSError, *UNREADABLE) as error:
        raise ModelRefused(f"{folder / SCORES}: {error}; expected the scores of golden scans ({FORMAT})") from error
    except BadInput as bad:
        raise ModelRefused(f"golden scan {bad}") from bad
    if listed.format != FORMAT:
        raise ModelRefused(f"{folder / SCORES}: found format {listed.format!r}, expected {FORMAT!r}")
    return tuple(
        GoldenScan(said.name, rgb, cloud.astype(np.float32), {"rgb": said.rgb, "sdf": said.sdf, "fused": said.fused})
        for said, (rgb, cloud) in zip(listed.scans, scans, strict=True)
    )


def reproduce(model: ModelFolder, scores_of: Callable[[Prepared], Mapping[Scored, float]]) -> int:
    """Score every golden scan of a model again and return how many there are. ModelRefused names a score that is off.

    `scores_of` takes a prepared part and returns one score or several: a process with one branch returns that branch's, the map's
    maximum.
    """
    golden = read_golden(model.path)
    for number, scan in enumerate(golden):
        place = model.path / GOLDEN / f"{number}.tiff"
        try:
            found = scores_of(prepare(scan.rgb, scan.xyz_mm, model.recipe.point_cloud))
        except BadPart as bad:
            raise ModelRefused(f"{place}: {bad}; expected the good part that it was when the model was made") from bad
        for branch, score in found.items():
            if difference := mismatch(branch, scan.scores[branch], score):
                raise ModelRefused(f"{place}: golden scan {scan.name}, {branch}: {difference}; the model does not judge here as it did")
    return len(golden)


def mismatch(branch: Scored, stored: float, found: float) -> str:
    """Return what is wrong if a score differs by more than the tolerance from the stored one, or ""; NaN is always wrong.

    The fused score may differ twice as much, because it comes from two scores that each may.
    """
    within = 2 * TOLERANCE if branch == "fused" else TOLERANCE
    if abs(found - stored) <= within * abs(stored):
        return ""
    return f"found the score {found:.6g}, expected {stored:.6g} within {100 * within:g}%"
