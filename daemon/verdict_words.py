"""Short texts for parts of a verdict, shared by all verbs that show verdicts."""

from __future__ import annotations

from mdss.errors import written_out
from mdss.wire.verdict import Region, Verdict

COLOURS = {"OK": "green", "NotOK": "bold red", "NotDecidable": "yellow", "Undefined": "magenta"}


def score(verdict: Verdict) -> str:
    """Return the score beside its threshold."""
    if verdict.score is None:
        return "none"
    return f"{written_out(verdict.score)}{f' / {written_out(verdict.threshold.value)}' if verdict.threshold else ''}"


def latency_ms(verdict: Verdict) -> float:
    """Return the time in ms from a part's arrival to its verdict."""
    return (verdict.times.published - verdict.times.received) / 1e6


def strongest_region_text(verdict: Verdict) -> str:
    """Return the branch and place of the strongest region, in mm if it was measured."""
    if not verdict.regions:
        return ""
    region = max(verdict.regions, key=lambda found: found.peak)
    return f"{region.branch} at {position(region)}"


def position(region: Region) -> str:
    """Return the centre of a region."""
    if region.centroid_mm is None:
        return "{:.0f}, {:.0f} px".format(*region.centroid_px)
    return "{:.1f}, {:.1f}, {:.1f} mm".format(*region.centroid_mm)
