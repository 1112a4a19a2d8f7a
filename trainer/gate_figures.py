"""The pictures of the gate's page."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdss.errors import BadPart
from trainer.champion import Champion
from trainer.gate_scoring import Contest, Kind, Pairs, aligned_maps
from trainer.gate_terms import Recorded
from trainer.report_figures import DEFECT_COLOUR, GOOD_COLOUR, PICTURE_PX, embedded

LOOKS: dict[Kind, tuple[str, str]] = {
    "good": (GOOD_COLOUR, "good"),
    "golden": ("#1d2530", "golden"),
    "defect": (DEFECT_COLOUR, "confirmed defect"),
    "stain": ("#2a6fb0", "standard stain"),
    "dent": ("#c27b1a", "standard dent"),
}
HOTTEST = 10.0  # deviations
BINS = 30


def scores(pairs: Pairs) -> str:
    """Return the scores of every scan by both models, and the distribution of those of good parts."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    paired, spread = figure.subplots(1, 2)
    _scatter(paired, pairs)
    _histograms(spread, pairs)
    return embedded(figure, "Scores of both models")


def part(contest: Contest, scan: Recorded, text: str) -> str:
    """Return a scan's image and both branches' maps by each model."""
    models = [("champion", contest.champion), ("candidate", contest.candidate)]
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    plots = figure.subplots(1, 5)
    step = max(1, max(scan[0].shape[:2]) // PICTURE_PX)
    plots[0].imshow(scan[0][::step, ::step])
    plots[0].set_title("image", fontsize=9)
    for number, (name, model) in enumerate(models):
        _maps((plots[1 + 2 * number], plots[2 + 2 * number]), (name, model), scan, step)
    for axes in plots:
        axes.axis("off")
    return embedded(figure, text)


def _maps(plots: tuple[Axes, Axes], side: tuple[str, Champion | None], scan: Recorded, step: int) -> None:
    name, model = side
    if model is None:
        return
    try:
        heats = aligned_maps(model, scan)
    except BadPart:
        plots[0].set_title(f"{name}: no part", fontsize=9)
        return
    for axes, heat, branch in zip(plots, heats, ("colour", "shape"), strict=True):
        axes.imshow(heat[::step, ::step], cmap="inferno", vmin=0, vmax=HOTTEST)
        axes.set_title(f"{name}, {branch}", fontsize=9)


def _scatter(axes: Axes, pairs: Pairs) -> None:
    for kind, (colour, label) in LOOKS.items():
        known = [
            (pair.champion.ratio, pair.candidate.ratio)
            for pair in pairs.of(kind)
            if pair.champion is not None and pair.champion.ratio and pair.candidate.ratio
        ]
        if known:
            before, after = np.array(known).T
            axes.scatter(before, after, s=14, color=colour, alpha=0.75, label=f"{label} ({len(known)})")
    axes.set(xscale="log", yscale="log", xlabel="champion: score / threshold", ylabel="candidate: score / threshold")
    axes.axline((1, 1), (2, 2), color="#9aa5b1", linewidth=0.8)
    axes.axvline(1, color="#1d2530", linestyle="--", linewidth=0.8)
    axes.axhline(1, color="#1d2530", linestyle="--", linewidth=0.8)
    if axes.collections:
        axes.legend(fontsize=8)


def _histograms(axes: Axes, pairs: Pairs) -> None:
    good = pairs.of("good")
    sides = {
        "champion": [pair.champion.ratio for pair in good if pair.champion is not None and pair.champion.ratio is not None],
        "candidate": [pair.candidate.ratio for pair in good if pair.candidate.ratio is not None],
    }
    edges = np.histogram_bin_edges([*sides["champion"], *sides["candidate"], 1.0], BINS).tolist()
    for (name, ratios), colour in zip(sides.items(), ("#9aa5b1", GOOD_COLOUR), strict=True):
        axes.hist(ratios, edges, color=colour, alpha=0.65, label=f"{name} ({len(ratios)})")
    axes.axvline(1, color="#1d2530", linestyle="--", label="threshold")
    axes.set(xlabel="score / threshold", ylabel="recent good parts")
    axes.legend(fontsize=8)
