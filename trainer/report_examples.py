"""Chooses the parts that a report shows: the best maps, the worst maps, and the parts that were nearly judged wrong."""

from __future__ import annotations

from mdss.method.metrics import pixel_auroc
from trainer.scoring import Scored, ScoredPart

SHOWN = 3


def choose(scored: Scored) -> dict[str, list[ScoredPart]]:
    """Return title -> parts; each part is shown once. Parts on which nothing is marked are not ranked by their maps."""
    defective = [part for part in scored.parts if part.is_scored and not part.scan.is_good]
    good = [part for part in scored.parts if part.is_scored and part.scan.is_good]
    by_map = sorted((part for part in defective if part.truth.any()), key=map_quality, reverse=True)
    groups = {
        "Best maps": by_map[:SHOWN],
        "Worst maps": by_map[SHOWN:][-SHOWN:][::-1],
        "Defective parts with the lowest scores": sorted(defective, key=fused_score)[:SHOWN],
        "Good parts with the highest scores": sorted(good, key=fused_score, reverse=True)[:SHOWN],
    }
    return {title: parts for title, parts in _without_repeats(groups).items() if parts}


def map_quality(part: ScoredPart) -> float:
    """Return the pixel AUROC of the part's fused map; -1 if every pixel is marked, so that it comes last."""
    found = pixel_auroc([part.original("fused")], [part.truth])
    return -1.0 if found is None else found


def fused_score(part: ScoredPart) -> float:
    """Return the part's fused score."""
    return part.scores["fused"]


def _without_repeats(groups: dict[str, list[ScoredPart]]) -> dict[str, list[ScoredPart]]:
    shown: set[str] = set()
    chosen: dict[str, list[ScoredPart]] = {}
    for title, parts in groups.items():
        chosen[title] = [part for part in parts if part.scan.part_id not in shown]
        shown |= {part.scan.part_id for part in parts}
    return chosen
