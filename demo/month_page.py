"""The page of the month: the score of every part, which model judged it, what each retraining came to, and the audit's findings."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from pathlib import Path

from matplotlib.figure import Figure

from demo.month import CANDIDATE, MonthRecord
from demo.month_story import WEEKS, Week
from mdss.wire.verdict import Verdict
from trainer.dataset import GOOD
from trainer.report_figures import DEFECT_COLOUR, GOOD_COLOUR, figure_as_html
from trainer.report_page import note, table, write_page

HEADING = "A month of the line"
ABOUT = "One station over four weeks, never stopped. Every second week is shaded. A dashed line is a change of model, between two parts."


def write_month_page(path: Path, record: MonthRecord, found: Sequence[str]) -> Path:
    """Write the page and return its path; `found` are the audit's objections."""
    audit = "".join(f"<li>{html.escape(fault)}</li>" for fault in found) or "<li>nothing is missing, nothing is there twice</li>"
    return write_page(
        path,
        HEADING,
        [
            f"<h1>{HEADING}</h1>",
            note(ABOUT),
            timeline(record),
            table(("week", "what happened", "good parts", "rejected", "defective parts", "missed", "retraining"), rows(record)),
            f"<h2>Audit: one verdict for each of {len(record.kinds)} parts</h2><ul>{audit}</ul>",
        ],
    )


def rows(record: MonthRecord) -> list[tuple[object, ...]]:
    """Return one row per week."""
    codes = dict(enumerate(record.retrained, start=1))
    made: list[tuple[object, ...]] = []
    for number, week in enumerate(WEEKS, start=1):
        counts = Counter((record.kinds[verdict.part_id] == GOOD, verdict.evaluation == "OK") for verdict in of_week(record, number))
        good = counts[True, True] + counts[True, False], counts[True, False]
        defective = counts[False, True] + counts[False, False], counts[False, True]
        made.append((number, week.story, *good, *defective, outcome_of(week, codes.get(number))))
    return made


def outcome_of(week: Week, code: int | None) -> str:
    """Return what came of a week's retraining, by its exit code; a dash if there was none."""
    if code is None:
        return "-"
    if code != CANDIDATE:
        return "held back by the gate"
    return f"a candidate, promoted{', then rolled back' if week.is_rolled_back else ''}"


def timeline(record: MonthRecord) -> str:
    """Return a plot of every part's score, as a share of its threshold, in the order of the parts."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots()
    scored = [(place, verdict, ratio) for place, verdict in enumerate(record.heard) if (ratio := ratio_of(verdict)) is not None]
    for is_good, colour, name in ((True, GOOD_COLOUR, "good"), (False, DEFECT_COLOUR, "defective")):
        points = [(place, ratio) for place, verdict, ratio in scored if (record.kinds[verdict.part_id] == GOOD) == is_good]
        axes.scatter([place for place, _ in points], [ratio for _, ratio in points], s=14, color=colour, label=name)
    axes.axhline(1.0, color="#1d2530", linewidth=1, label="threshold")
    for place in changes(record.heard):
        axes.axvline(place - 0.5, color="#2a6fb0", linestyle="--", linewidth=1)
    ends = accumulate(len(of_week(record, number)) for number in range(1, len(WEEKS) + 1))
    for begin, end in list(pairwise((0, *ends)))[1::2]:
        axes.axvspan(begin - 0.5, end - 0.5, color="#1d2530", alpha=0.05)
    axes.set(yscale="log", xlabel="parts in the order in which they came", ylabel="score / threshold")
    axes.legend(loc="upper left")
    return figure_as_html(figure, "Scores of the month")


def of_week(record: MonthRecord, number: int) -> list[Verdict]:
    """Return the verdicts on the parts of one week."""
    return [verdict for verdict in record.heard if verdict.part_id.startswith(f"week{number}-")]


def ratio_of(verdict: Verdict) -> float | None:
    """Return a part's score as a share of its threshold; None if it has no score."""
    return verdict.score / verdict.threshold.value if verdict.score and verdict.threshold else None


def changes(verdicts: Sequence[Verdict]) -> list[int]:
    """Return the positions at which another model begins to judge."""
    places, found = 0, []
    for _, group in groupby(verdicts, key=lambda verdict: verdict.model and verdict.model.version):
        found.append(places)
        places += len(list(group))
    return found[1:]
