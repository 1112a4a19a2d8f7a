"""The story of `mdss demo --month`: what each of the four weeks brings, and the calendar of its timer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

MONDAY = date(2026, 3, 2)
TIMER_DAY = "Sun"  # the same day as OnCalendar in deploy/mdss-retrain@.timer
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Week:
    """How the parts of a week look, who reviews their alerts, and what happens to the week's new model."""

    story: str
    lamp: tuple[float, float]  # brightness as a share of the new lamp's, on the first part and on the last
    tint: Colour = (1.0, 1.0, 1.0)  # colour of the batch's material relative to the first batch
    has_careless_review: bool = False  # defects are reviewed as false rejects; the labels are corrected a week later
    has_worn_tool: bool = False  # more parts than usual are defective
    is_rolled_back: bool = False


WEEKS = (
    Week("the line runs as it did when its model was trained", (1.0, 1.0)),
    Week("the lamp ages, and operators mark false rejects", (0.98, 0.90)),
    Week(
        "a batch of warmer steel, a worn tool, and a night shift that marks defects as false rejects",
        (0.90, 0.90),
        (1.03, 1.0, 0.96),
        has_careless_review=True,
        has_worn_tool=True,
    ),
    Week("the labels are corrected; the model that follows is rolled back", (0.90, 0.90), (1.03, 1.0, 0.96), is_rolled_back=True),
)


class Calendar:
    """The month's own clock, which only the demo advances, and the days of the retraining timer."""

    def __init__(self) -> None:
        self.today = MONDAY

    def days(self, count: int) -> Iterator[date]:
        """Yield one day after the other."""
        for _ in range(count):
            yield self.today
            self.today += timedelta(days=1)

    @property
    def has_timer(self) -> bool:
        """Whether the retraining timer is due today."""
        return f"{self.today:%a}" == TIMER_DAY
