"""The figures of a report, each as an <img> with its bytes inside."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from mdss.method.metrics import Curve, area_below, pro_curve, roc_curve
from trainer.champion import ScoreKind
from trainer.evaluation import labels_of, parts_scored_by, pixels_of
from trainer.picture_rows import heat_map_picture, row, small, with_outline
from trainer.report_page import image
from trainer.scoring import Scored, ScoredPart

SHOWN: tuple[ScoreKind, ...] = ("rgb", "sdf", "fused")
COLOURS: dict[ScoreKind, str] = {"rgb": "#2a6fb0", "sdf": "#c27b1a", "fused": "#1d2530", "fused_brightness_matched": "#8a4fa3"}
GOOD_COLOUR, DEFECT_COLOUR = "#5a8f5a", "#b8403a"
SCALE_PERCENTILES = (50.0, 99.9)
CURVE_POINTS = 20_000
BARS = 50
PRO_LIMIT = 0.3
Scales = dict[ScoreKind, tuple[float, float]]


def curves(scored: Scored) -> str:
    """Return ROC and PRO curves of every branch side by side."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    roc, pro = figure.subplots(1, 2)
    for branch, colour in COLOURS.items():
        parts = parts_scored_by(scored.parts, branch)
        labels = labels_of(parts)
        if any(labels) and not all(labels):
            _draw(roc, roc_curve([part.scores[branch] for part in parts], labels), (branch, colour), 1.0)
        pixels = pixels_of(parts if scored.has_truth else [], branch)
        if pixels.is_measurable:
            _draw(pro, pro_curve(pixels), (branch, colour), PRO_LIMIT)
    roc.set(
        title="ROC of parts",
        xlabel="share of good parts above the threshold",
        ylabel="share of defective parts above it",
        xlim=(-0.01, 1),
        ylim=(0, 1.02),
    )
    pro.set(
        title="PRO of regions",
        xlabel="share of unmarked pixels above the threshold",
        ylabel="mean overlap with regions",
        xlim=(0, PRO_LIMIT),
        ylim=(0, 1.02),
    )
    for axes in (roc, pro):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(loc="lower right", fontsize=9)
    return figure_as_html(figure, "ROC and PRO curves")


def histogram(parts: Sequence[ScoredPart], threshold: float) -> str:
    """Return the histogram of fused scores of good and defective parts, with the threshold."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots()
    known = parts_scored_by(parts, "fused")
    scores = {is_good: [part.scores["fused"] for part in known if part.scan.is_good == is_good] for is_good in (True, False)}
    edges, scale = bars([*scores[True], *scores[False], threshold])
    axes.hist(scores[True], edges, color=GOOD_COLOUR, alpha=0.75, label="good")
    axes.hist(scores[False], edges, color=DEFECT_COLOUR, alpha=0.6, label="defective")
    axes.axvline(threshold, color="#1d2530", linestyle="--", label=f"threshold {threshold:.4g}")
    axes.set(xlabel="fused score", ylabel="parts", xscale=scale)
    if scale == "log":
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="best")
    return figure_as_html(figure, "Histogram of the fused scores")


def bars(scores: Sequence[float]) -> tuple[list[float], str]:
    """Return the edges of a histogram's bars, and the scale of its axis.

    The scale is logarithmic: if a defect scores a hundred times the threshold, everything around the threshold would be one bar
    otherwise. With scores of 0 it is linear.
    """
    low, high = min(scores), max(scores)
    if low <= 0:
        return np.histogram_bin_edges(scores, BARS).tolist(), "linear"
    edges = np.exp(np.histogram_bin_edges(np.log(scores), BARS))
    edges[[0, -1]] = min(low, edges[0]), max(high, edges[-1])  # no score is lost to rounding
    return edges.tolist(), "log"


def scales_of(parts: Sequence[ScoredPart]) -> Scales:
    """Return the darkest and the brightest value for the maps of each branch, the same for all parts."""
    scales: Scales = {}
    for branch in SHOWN:
        values = [np.percentile(part.maps[branch], SCALE_PERCENTILES) for part in parts_scored_by(parts, branch)]
        if values:
            low, high = float(np.median([low for low, _ in values])), float(np.median([high for _, high in values]))
            scales[branch] = low, max(2 * high - low, low + 1e-9)
    return scales


def maps(part: ScoredPart, rgb: NDArray[np.uint8], scales: Scales) -> str:
    """Return one part as a row: the image, the image with the ground truth outlined, and the map of each branch."""
    seen, caption = small(rgb), f"{part.scan.part_id}: {part.evaluation}"
    heats = [(f"{branch} {part.scores[branch]:.4g}", heat_map_picture(part.original(branch), *scales[branch])) for branch in SHOWN]
    marked = [(title, with_outline(picture, part.truth)) for title, picture in (("ground truth", seen), *heats)]
    return f"<p>{html.escape(caption)}</p>" + row([("image", seen), *marked], caption)


def _draw(axes: Axes, curve: Curve, look: tuple[str, str], limit: float) -> None:
    x, y = curve
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), CURVE_POINTS)).astype(int))
    axes.plot(x[kept], y[kept], color=look[1], label=f"{look[0]} {area_below(curve, limit):.3f}", linewidth=1.4)


def figure_as_html(figure: Figure, text: str) -> str:
    """Return a figure as an <img> with its bytes inside."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return image(content.getvalue(), text)
