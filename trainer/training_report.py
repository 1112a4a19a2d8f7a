"""The page that comes with a model: what its parts look like, both losses, the scores of good validation parts, and the highest ones."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mdss.method.calibration import Calibration
from mdss.method.point_cloud import Prepared
from trainer.calibrate import Maps
from trainer.picture_rows import HOTTEST, heat_map_picture, row, small
from trainer.report_figures import GOOD_COLOUR, figure_as_html
from trainer.report_page import write_page

SHOWN = 3
SMOOTHED_STEPS = 50


def write_training_report(
    folder: Path,
    losses: tuple[list[float], list[float]],
    calibration: Calibration,
    validation: tuple[Sequence[Prepared], Maps],
    found: Sequence[str],
) -> None:
    """Write training.html into the folder, with its pictures inside; `found` are sentences on what was taken for the part."""
    folder.mkdir(parents=True, exist_ok=True)
    limit = calibration.threshold
    promise = "; ".join(filter(None, (limit.promise, limit.note)))
    sentences = f"Threshold {limit.value:.4g}, {limit.method}, from {limit.parts} good validation parts: {promise}"
    since = "This page shows the training. `mdss model list` and `history` show the threshold that `mdss calibrate` has set since, if any."
    body = [
        "<h1>Training</h1>",
        *(f"<p>{html.escape(sentence)}</p>" for sentence in found),
        _losses(*losses),
        "<h2>Good validation parts</h2>",
        f"<p>{html.escape(sentences)}</p>",
        f"<p>{html.escape(since)}</p>",
        _histogram(calibration),
        "<p>The parts with the highest scores:</p>",
        *_strangest(calibration, *validation),
    ]
    write_page(folder / "training.html", "Training", body)


def _losses(colour: list[float], shape: list[float]) -> str:
    figure = Figure(figsize=(11, 3), layout="constrained")
    for axes, losses, title in zip(figure.subplots(1, 2), (colour, shape), ("colour branch", "shape branch"), strict=True):
        window = max(1, min(SMOOTHED_STEPS, len(losses) // 4))
        smooth = np.convolve(losses, np.ones(window) / window, "valid")
        axes.plot(losses, color="#c9d3de", linewidth=0.6)
        axes.plot(np.arange(len(smooth)) + window - 1, smooth, color="#2a6fb0")
        axes.set(title=title, xlabel="step", ylabel="loss", yscale="log")
    return figure_as_html(figure, "Losses of both branches")


def _histogram(calibration: Calibration) -> str:
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.hist(calibration.validation_scores, bins=30, color=GOOD_COLOUR)
    axes.axvline(calibration.threshold.value, color="#1d2530", linestyle="--", label="threshold")
    axes.set(xlabel="score", ylabel="good parts")
    axes.legend(loc="best")
    return figure_as_html(figure, "Scores of good validation parts with the threshold")


def _strangest(calibration: Calibration, parts: Sequence[Prepared], maps: Maps) -> list[str]:
    order = np.argsort(calibration.validation_scores)[::-1][:SHOWN]
    return [_part(parts[n].rgb, (calibration.rgb.aligned(maps.rgb[n]), calibration.sdf.aligned(maps.sdf[n]))) for n in order]


def _part(rgb: NDArray[np.uint8], heats: tuple[NDArray[np.float32], NDArray[np.float32]]) -> str:
    maps = [(title, heat_map_picture(heat, 0, HOTTEST)) for title, heat in zip(("colour map", "shape map"), heats, strict=True)]
    return row([("image", small(rgb)), *maps], "A good part")
