"""The demo's page in one file: each alert's picture, its cloud in 3D coloured by score, and a histogram of all scores."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from daemon.recording import RecordedPair, read_pair
from mdss.method.point_cloud import prepare
from mdss.method.recipe import PointCloudSettings
from mdss.wire.verdict import Verdict
from trainer.dataset import GOOD, to_millimetres
from trainer.report_figures import DEFECT_COLOUR, GOOD_COLOUR, figure_as_html
from trainer.report_page import image

TEMPLATE = files("demo") / "page.html"
EVERY_PX = 2  # every second row and column of the model's grid
STEPS_PER_MM = 100.0  # the viewer's coordinates are whole hundredths of a mm
SHOWN_REGIONS = 3
SEEN_IN = {"rgb": "colour", "sdf": "shape", "both": "colour and shape"}


@dataclass(frozen=True)
class PageContent:
    """Everything that the page is made from."""

    verdicts: Mapping[str, Verdict]  # part_id -> verdict
    truth: Mapping[str, str]  # part_id -> kind
    scans: Mapping[str, RecordedPair]  # part_id -> files
    heats: Mapping[str, bytes]  # result_id -> map as PNG
    pictures: Mapping[str, bytes]  # result_id -> PNG
    grid: PointCloudSettings  # the model's own settings, so that points and heat lie on the same grid

    def alerts(self) -> list[Verdict]:
        """Return the verdicts that are not OK, highest score first."""
        found = [verdict for verdict in self.verdicts.values() if verdict.evaluation != "OK"]
        return sorted(found, key=lambda verdict: verdict.score or 0.0, reverse=True)


def write_page(path: Path, shown: PageContent) -> Path:
    """Write the page and return its path; it needs no other file and no network."""
    sections = {
        "SUMMARY": summary(shown),
        "HISTOGRAM": histogram(shown),
        "ALERTS": "\n".join(alert_section(verdict, shown) for verdict in shown.alerts()),
    }
    page = TEMPLATE.read_text("utf-8")
    for name, content in sections.items():
        page = page.replace(f"<!--{name}-->", content)
    path.write_text(page, "utf-8")
    return path


def summary(shown: PageContent) -> str:
    """Return the table of true and found kinds."""
    rows = []
    for kind in sorted(set(shown.truth.values()), key=lambda kind: (kind != GOOD, kind)):
        parts = [part_id for part_id, found in shown.truth.items() if found == kind]
        judged = [shown.verdicts[part_id].evaluation for part_id in parts if part_id in shown.verdicts]
        rows.append(f"<tr><td>{html.escape(kind)}</td><td>{len(parts)}</td><td>{sum(each != 'OK' for each in judged)}</td></tr>")
    return f"<table><tr><th>what the part was</th><th>parts</th><th>not accepted</th></tr>{''.join(rows)}</table>"


def histogram(shown: PageContent) -> str:
    """Return a histogram of the scores of good and defective parts, with the threshold."""
    scored = {part_id: verdict for part_id, verdict in shown.verdicts.items() if verdict.score}
    if not scored:
        return "<p>No part has a score.</p>"
    scores = {part_id: float(verdict.score or 0) for part_id, verdict in scored.items()}
    limit = next(iter(scored.values())).threshold
    values = [*scores.values(), limit.value if limit else 1.0]
    figure = Figure(figsize=(10, 3), layout="constrained")
    axes = figure.subplots()
    edges = np.geomspace(min(values) * 0.95, max(values) * 1.05, 40).tolist()
    for is_good, colour, label in ((True, GOOD_COLOUR, "good"), (False, DEFECT_COLOUR, "defective")):
        axes.hist([score for part, score in scores.items() if (shown.truth[part] == GOOD) == is_good], edges, color=colour, label=label)
    if limit:
        axes.axvline(limit.value, color="#1d2530", linestyle="--", label=f"threshold {limit.value:.3g}")
    axes.set(
        xscale="log",
        xlabel="score: maximum of the colour map times maximum of the shape map, or its limit if that is higher",
        ylabel="parts",
    )
    axes.legend(loc="best")
    return figure_as_html(figure, "Scores of good and defective parts with the threshold")


def alert_section(verdict: Verdict, shown: PageContent) -> str:
    """Return one alert: text, picture, cloud."""
    picture, heat = shown.pictures.get(verdict.result_id), shown.heats.get(verdict.result_id)
    title = f"{verdict.part_id}: {verdict.evaluation} (what the part was: {shown.truth[verdict.part_id]})"
    parts = [f"<h3>{html.escape(title)}</h3>", f"<p>{html.escape('; '.join(verdict.reasons))}. {html.escape(places(verdict))}</p>"]
    parts.append('<div class="alert">')
    if picture:
        parts.append(image(picture, title))
    if heat:
        parts.append(cloud_canvas(shown.scans[verdict.part_id], heat, shown.grid))
    return "".join([*parts, "</div>"])


def places(verdict: Verdict) -> str:
    """Return the places of the regions in millimetres."""
    sentences = []
    for region in verdict.regions[:SHOWN_REGIONS]:
        size = f"{region.area_mm2:.1f} mm2" if region.area_mm2 else f"{region.area_px} px"
        where = "without a measured point" if region.centroid_mm is None else "at ({:.1f}, {:.1f}, {:.1f}) mm".format(*region.centroid_mm)
        sentences.append(f"{size} {where}, seen in {SEEN_IN[region.branch]}, peak {region.peak:.1f} deviations.")
    return " ".join(sentences)


def cloud_canvas(scan: RecordedPair, heat_png: bytes, settings: PointCloudSettings) -> str:
    """Return a canvas element with the part's points and their scores, for the page's own viewer."""
    rgb, stored = read_pair(scan)
    part = prepare(rgb, to_millimetres(stored, "m", scan.xyz_path), settings)
    heat = cv2.imdecode(np.frombuffer(heat_png, np.uint8), cv2.IMREAD_GRAYSCALE)
    grid = np.s_[::EVERY_PX, ::EVERY_PX]
    xyz, grey, score = part.xyz[grid], part.rgb[grid].mean(axis=2), np.asarray(heat)[grid]
    known = np.isfinite(xyz).all(axis=2)
    points = np.rint((xyz[known] - xyz[known].mean(axis=0)) * STEPS_PER_MM).clip(-32767, 32767).astype("<i2")
    fields = {"xyz": base64_of(points), "grey": base64_of(grey[known].astype(np.uint8)), "score": base64_of(score[known])}
    return f"<canvas width='480' height='400' data-cloud='{json.dumps(fields)}'></canvas>"


def base64_of(values: NDArray[np.generic]) -> str:
    """Return the bytes of an array as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
