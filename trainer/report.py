"""The report of an evaluation as one HTML page: tables, curves, and the best and worst maps beside the ground truth."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

from trainer import report_figures
from trainer.dataset import Dataset
from trainer.evaluation import SCORE_KINDS, Evaluation
from trainer.report_examples import choose
from trainer.report_page import cell, note, table, write_page
from trainer.scoring import Scored

METRICS = {
    "i_auroc": "image AUROC",
    "p_auroc": "pixel AUROC",
    "aupro_30": "AU-PRO 30 %",
    "aupro_10": "AU-PRO 10 %",
    "aupro_05": "AU-PRO 5 %",
    "aupro_01": "AU-PRO 1 %",
}
TITLES = {
    "rgb": "colour (rgb)",
    "sdf": "shape (sdf)",
    "fused": "fused",
    "fused_brightness_matched": "fused, brightness matched",
}
THRESHOLD_TITLES = [
    *("threshold", "good parts rejected, asked", "good parts rejected", "defective parts found"),
    *("highest good score", "lowest defective score", "good parts rejected, stated"),
]
NOTES = {
    "metrics": "1 is perfect; an AUROC of 0.5 is chance. Maps are measured at the resolution of the scans. A dash means that the test set "
    "holds nothing to measure this on. Brightness matched means that each test image is scaled so that the part is as bright as the "
    "training parts are on average, and then scored again. A model that is hardly better than brightness alone, or loses much by matching, "
    "has learned the light.",
    "protocol": "The AU-PRO above uses every threshold. Published values use 100 ranks, which matters most at 1 %. By their protocol:",
    "threshold": "The dashed line is the threshold, which comes from good validation parts; `mdss calibrate` sets another. The stated rate "
    "is what this number of validation parts can promise, and may be higher than the rate asked for. A part that cannot be judged counts "
    "as rejected.",
    "examples": "Each branch uses one colour scale in all rows. The ground truth is outlined.",
}


def write_report(folder: Path, evaluation: Evaluation, scored: Scored, dataset: Dataset) -> Path:
    """Write report.html into the folder and return its path; its pictures are inside the file."""
    model = evaluation.model
    counts = evaluation.counts
    heading = f"{model.name}, version {model.version}"
    body = [
        f"<h1>{html.escape(heading)}</h1>",
        note(f"{counts.good} good and {counts.defective} defective test scans. Model digest {model.digest}."),
        *_metric_sections(evaluation),
        *_curve_sections(evaluation, scored),
        "<h2>Maps</h2>",
        note(NOTES["examples"]),
        *_example_sections(scored, dataset),
        *_timing_section(evaluation),
    ]
    return write_page(folder / "report.html", heading, body)


def _metric_sections(evaluation: Evaluation) -> Iterable[str]:
    yield "<h2>Metrics</h2>" + note(NOTES["metrics"])
    rows = [[TITLES[branch], *(getattr(evaluation.of(branch), name) for name in METRICS)] for branch in SCORE_KINDS]
    brightness = evaluation.baseline_object_brightness
    rows.append([f"brightness alone (defective parts: {brightness.direction or 'unknown'})", brightness.i_auroc, *[None] * 5])
    yield table(["branch", *METRICS.values()], rows)
    published = evaluation.aupro_published_protocol
    names = [name for name in METRICS if name.startswith("aupro")]
    rows = [[TITLES[branch], *(published[branch][name] for name in names)] for branch in SCORE_KINDS]
    yield note(NOTES["protocol"]) + table(["branch", *(METRICS[name] for name in names)], rows)
    yield "<h2>By kind of defect</h2>" + note("Each kind of defect against all good parts: image AUROC / AU-PRO 30 %.")
    rows = [
        [kind, *(f"{cell(found[branch].i_auroc)} / {cell(found[branch].aupro_30)}" for branch in SCORE_KINDS)]
        for kind, found in evaluation.per_defect.items()
    ]
    yield table(["kind", *TITLES.values()], rows)


def _curve_sections(evaluation: Evaluation, scored: Scored) -> Iterable[str]:
    limit = evaluation.threshold
    yield "<h2>Curves</h2>" + report_figures.curves(scored)
    yield "<h2>Threshold</h2>" + note(NOTES["threshold"])
    scores = (None if score is None else f"{score:.4g}" for score in (limit.highest_good_score, limit.lowest_defective_score))
    yield table(THRESHOLD_TITLES, [[f"{limit.value:.4g}", *limit.in_percent, *scores, limit.stated]])
    yield report_figures.histogram(scored.parts, limit.value)
    if evaluation.counts.undefined:
        yield note("Not judged:") + table(["scan", "reason"], [list(item) for item in evaluation.counts.undefined.items()])


def _example_sections(scored: Scored, dataset: Dataset) -> Iterable[str]:
    scales = report_figures.scales_of(scored.parts)
    for title, parts in choose(scored).items():
        yield f"<h3>{html.escape(title)}</h3>"
        for part in parts:
            yield report_figures.maps(part, dataset.load(part.scan).rgb, scales)


def _timing_section(evaluation: Evaluation) -> Iterable[str]:
    timing = evaluation.timing
    yield "<h2>Timing</h2>"
    yield table(
        ["stage", "median, ms", "99th percentile, ms"],
        [[name, f"{at.p50_ms:.1f}", f"{at.p99_ms:.1f}"] for name, at in timing.stages.items()],
    )
    if timing.parts_per_s:
        yield note(f"{timing.parts_per_s:.2f} parts per second with all stages in one process, not counting the time to read the files.")
