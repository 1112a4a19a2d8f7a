"""The pictures of the gate's page."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdss.errors import BadPart
from trainer.champion import Champion
from trainer.gate_scoring import Kind, ModelComparison, Pairs, aligned_maps
from trainer.gate_terms import RecordedArrays
from trainer.picture_rows import HOTTEST, Picture, heat_map_picture, row, small
from trainer.report_figures import DEFECT_COLOUR, GOOD_COLOUR, figure_as_html

LOOKS: dict[Kind, tuple[str, str]] = {
    "good": (GOOD_COLOUR, "good"),
    "golden": ("#1d2530", "golden"),
    "defect": (DEFECT_COLOUR, "confirmed defect"),
    "stain": ("#2a6fb0", "standard stain"),
    "dent": ("#c27b1a", "standard dent"),
}
BRANCHES = ("colour", "shape")
BINS = 30


def scores(pairs: Pairs) -> str:
    """Return the plots of all scans' scores by both models, and of the distribution of good parts' scores."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    paired, spread = figure.subplots(1, 2)
    _scatter(paired, pairs)
    _histograms(spread, pairs)
    return figure_as_html(figure, "Scores of both models")


def part(comparison: ModelComparison, scan: RecordedArrays, text: str) -> str:
    """Return a row of pictures: a scan's image, and both branches' maps by each model."""
    sides = ("champion", comparison.champion), ("candidate", comparison.candidate)
    return row([("image", small(scan[0])), *(picture for name, model in sides for picture in _maps(name, model, scan))], text)


def _maps(name: str, model: Champion | None, scan: RecordedArrays) -> list[Picture]:
    """Return both maps by one model; placeholders of the same size if there is no model or no part."""
    if model is None:
        return [("", None)] * len(BRANCHES)
    try:
        heats = aligned_maps(model, scan)
    except BadPart:
        return [(f"{name}: no part", None), ("", None)]
    return [(f"{name}, {branch}", heat_map_picture(heat, 0, HOTTEST)) for branch, heat in zip(BRANCHES, heats, strict=True)]


def _scatter(axes: Axes, pairs: Pairs) -> None:
    for kind, (colour, label) in LOOKS.items():
        known = [pair.ratios for pair in pairs.of(kind) if pair.ratios and all(pair.ratios)]  # a logarithmic axis has no 0
        if known:
            before, after = np.array(known).T
            axes.scatter(before, after, s=14, color=colour, alpha=0.75, label=f"{label} ({len(known)})")
    axes.set(xscale="log", yscale="log", xlabel="champion: score / threshold", ylabel="candidate: score / threshold")
    axes.axline((1, 1), (2, 2), color="#9aa5b1", linewidth=0.8)
    axes.axvline(1, color="#1d2530", linestyle="--", linewidth=0.8)
    axes.axhline(1, color="#1d2530", linestyle="--", linewidth=0.8)
    if axes.collections:
        axes.legend(loc="best", fontsize=8)


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
    axes.legend(loc="best", fontsize=8)
