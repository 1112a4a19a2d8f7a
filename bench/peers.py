"""Measures the claim in the paper's title: a champion beside two memory banks, on the same scans in the same process.

FPFH bank: BTF's half for shape. Feature bank: PatchCore on the champion's own teacher. Both are fitted on train/good alone and fused by
the champion's rule. Only scoring is timed, the teacher included; preparing a part is the same for all and is left out.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np

from bench.command_line import main_of
from bench.feature_bank import Describer, FeatureBank
from bench.fpfh_bank import FpfhBank, require_open3d
from bench.memory_bank import BYTES_PER_MB, MOST_CANDIDATES
from mdss.method import signed_distance, student_teacher
from mdss.method.fusion import fuse
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.method.torch_device import device_of
from mdss.whole_files import write_json, write_whole
from trainer.calibrate import calibration_of, maps_of
from trainer.champion import Champion, Float, ScoreKind, Stopwatch
from trainer.dataset import Dataset, Unit
from trainer.evaluation import Model, metrics_of
from trainer.scoring import score_dataset
from trainer.train import prepare_all

EXAMPLE = "Example: python -m bench.peers --data data/cable_gland --unit m --recipe cable_gland --store models --markdown peers.md"
OURS: dict[ScoreKind, str] = {"rgb": "MDSS, rgb", "sdf": "MDSS, sdf", "fused": "MDSS, fused"}
BANKS: dict[ScoreKind, str] = {"rgb": "feature bank (PatchCore)", "sdf": "FPFH bank (BTF)", "fused": "both banks, fused"}
STAGES: dict[ScoreKind, tuple[str, ...]] = {"rgb": ("rgb",), "sdf": ("sdf",), "fused": ("rgb", "sdf", "fusion")}


@dataclass(frozen=True)
class Request:
    """What to compare on which scans, and where to write the result."""

    data: Path
    recipe: str
    store: Path
    unit: Unit = "m"
    json_path: Path | None = None
    markdown: Path | None = None
    bank_share: float = 0.1
    device: str = "cpu"
    without_fpfh: bool = False


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table; None if nothing was measured."""

    method: str
    i_auroc: float | None
    aupro_30: float | None
    aupro_05: float | None
    ms_per_part: float  # median
    fit_s: float | None
    kept_mb: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `--json`."""

    model: Model
    device: str
    bank_share: float
    training_scans: int
    test_scans: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Cost:
    """What a branch costs besides its time per part."""

    fit_s: float | None
    kept_mb: float

    def __add__(self, other: Cost) -> Cost:
        fit_s = None if self.fit_s is None or other.fit_s is None else self.fit_s + other.fit_s
        return Cost(fit_s, self.kept_mb + other.kept_mb)


@dataclass(frozen=True)
class ComparedScorer:
    """A scorer like a champion, with the names and costs of its branches."""

    champion: Champion
    names: Mapping[ScoreKind, str]
    costs: Mapping[ScoreKind, Cost]


@click.command(epilog=EXAMPLE)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset with train, validation and test.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--recipe", required=True, help="Whose champion to compare.")
@click.option("--store", required=True, type=click.Path(path_type=Path), help="The model store.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write every figure to this file.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the table to this file.")
@click.option(
    "--bank-share", type=click.FloatRange(0, 1, min_open=True), default=0.1, show_default=True, help="Share of the candidates to keep."
)
@click.option("--device", default="cpu", show_default=True, help="auto, cpu or cuda:N.")
@click.option("--without-fpfh", is_flag=True, help="Leave out FPFH, and with it the fusion of both banks; needs no open3d.")
def command(**options: Any) -> None:
    """Measure a champion beside memory banks that are fitted on the same training scans."""
    request = Request(**options)
    comparison = compare(request)
    click.echo(table(comparison))  # first, so that a failed write does not lose an hour
    if request.json_path is not None:
        write_json(request.json_path, comparison)
    if request.markdown is not None:
        write_whole(request.markdown, f"{table(comparison)}\n".encode())


def compare(request: Request) -> Comparison:
    """Fit the banks, then score the test scans with each contestant."""
    if not request.without_fpfh:
        require_open3d()
    dataset, device = Dataset.open(request.data, request.unit, needs=("train", "validation", "test")), device_of(request.device)
    champion = Champion.load(request.store, request.recipe, device)
    contestants = (
        ComparedScorer(champion, OURS, costs_of(champion.folder)),
        banks_of(dataset, champion, request, device),
    )
    rows = [row for contestant in contestants for row in rows_of(contestant, dataset)]
    folder = champion.folder
    return Comparison(
        model=Model(folder.name, folder.version, folder.digest),
        device=device,
        bank_share=request.bank_share,
        training_scans=len(dataset.train),
        test_scans=len(dataset.test),
        rows=tuple(rows),
    )


def costs_of(folder: ModelFolder) -> dict[ScoreKind, Cost]:
    """Return a model's training time, by its card, and its size on disk."""
    rgb, sdf = (
        Cost(folder.card.training.get(branch, {}).get("seconds"), (folder.path / name).stat().st_size / BYTES_PER_MB)
        for branch, name in (("rgb", student_teacher.WEIGHTS), ("sdf", signed_distance.WEIGHTS))
    )
    return {"rgb": rgb, "sdf": sdf, "fused": rgb + sdf}


def banks_of(dataset: Dataset, champion: Champion, request: Request, device: str) -> ComparedScorer:
    """Fit the banks on the training scans, and align them on the validation scans, as a champion's branches are."""
    recipe, watch = champion.folder.recipe, Stopwatch()
    training, validation = (prepare_all(dataset, scans, recipe) for scans in (dataset.train, dataset.validation))
    describer = Describer.load(champion.folder.path, recipe, device)
    with watch.stage("rgb"):
        features = FeatureBank.fit(describer, training, request.bank_share)
    costs: dict[ScoreKind, Cost] = {"rgb": Cost(watch.spent_ms["rgb"][0] / 1000, features.size_mb)}
    shape_map = no_map
    if not request.without_fpfh:
        with watch.stage("sdf"):
            shapes = FpfhBank.fit(training, request.bank_share)
        costs["sdf"] = Cost(watch.spent_ms["sdf"][0] / 1000, shapes.size_mb)
        costs["fused"] = costs["rgb"] + costs["sdf"]
        shape_map = shapes.map_of
    calibration = calibration_of(maps_of(validation, features.map_of, shape_map), recipe)
    scorer = dataclasses.replace(champion, colour_map=features.map_of, shape_map=shape_map, fuse=partial(fuse, calibration=calibration))
    return ComparedScorer(scorer, {branch: BANKS[branch] for branch in costs}, costs)


def no_map(part: Prepared) -> Float:
    """Return zeros in place of the map of a bank that is left out."""
    return np.zeros(part.xyz.shape[:2], np.float32)


def rows_of(contestant: ComparedScorer, dataset: Dataset) -> list[Row]:
    """Score the test scans, and return the contestant's lines."""
    # Without training scans there is no brightness to match, for which each image would be scored twice.
    scored = score_dataset(dataclasses.replace(dataset, train=[]), contestant.champion)
    rows = []
    for branch, name in contestant.names.items():
        metrics, cost = metrics_of(scored.parts, branch, scored.has_truth), contestant.costs[branch]
        spent_ms = np.sum([scored.spent_ms[stage] for stage in STAGES[branch]], axis=0)
        figures = {field: getattr(metrics, field) for field in ("i_auroc", "aupro_30", "aupro_05")}
        rows.append(Row(method=name, **figures, ms_per_part=float(np.median(spent_ms)), fit_s=cost.fit_s, kept_mb=cost.kept_mb))
    return rows


def table(comparison: Comparison) -> str:
    """Return the rows as a table in Markdown, and a sentence on their origin."""
    lines = [
        "| method | image AUROC | AU-PRO 30 % | AU-PRO 5 % | ms per part | s to fit | MB kept |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in comparison.rows:
        figures = [_number(value, 3) for value in (row.i_auroc, row.aupro_30, row.aupro_05)]
        costs = [_number(row.ms_per_part, 1), _number(row.fit_s, 0), _number(row.kept_mb, 1)]
        lines.append(f"| {' | '.join([row.method, *figures, *costs])} |")
    kept = f"Banks keep {comparison.bank_share:.0%} of at most {MOST_CANDIDATES} descriptions of {comparison.training_scans} training scans"
    return "\n".join([*lines, "", f"{kept}; {comparison.test_scans} test scans, {comparison.device}."])


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


main = main_of(command, "bench.peers")

if __name__ == "__main__":
    sys.exit(main())
