"""`mdss demo --month`: plays four weeks of a line in minutes: reviews, an ageing lamp, retraining by a timer, a gate, a rollback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.text import Text

from daemon.reviews import LABELS
from demo.month_audit import disagreements
from demo.month_parts import Part, WeekSize, parts_of
from demo.month_station import MonthStation, Word, console
from demo.month_story import WEEKS, Calendar, Week
from mdss.wire.verdict import Verdict
from trainer.dataset import GOOD
from trainer.retrain_outcome import EXIT_CODES

DAYS_OF_A_WEEK = 7
CANDIDATE, HELD_BACK = EXIT_CODES["candidate"], EXIT_CODES["held_back"]


@dataclass
class MonthRecord:
    """What happened in the month, for the page and the audit."""

    kinds: dict[str, str] = field(default_factory=dict)  # part id -> its defect, which only the demo knows
    heard: list[Verdict] = field(default_factory=list)
    served: list[str] = field(default_factory=list)  # versions in the order in which they began to judge
    retrained: list[int] = field(default_factory=list)  # exit codes of the timer's retrainings
    mislabelled: list[str] = field(default_factory=list)  # result ids that wait for a second review


class Month:
    """Plays the weeks on a running station."""

    def __init__(self, station: MonthStation, week_size: WeekSize, calendar: Calendar, retrain: Callable[[MonthStation], int]) -> None:
        self._station, self._week_size, self._calendar, self._retrain = station, week_size, calendar, retrain
        self.record = MonthRecord(served=[station.serving])

    def play(self) -> MonthRecord:
        """Play all weeks and return what happened."""
        for number, week in enumerate(WEEKS, start=1):
            console.print(Text(f"\nweek {number}: {week.story}", style="bold"))
            self._set_right()
            parts = list(parts_of(self._station.line, number, week, self._week_size))
            for day in self._calendar.days(DAYS_OF_A_WEEK):
                self._work(parts[day.weekday() :: DAYS_OF_A_WEEK], week)
                if self._calendar.has_timer:
                    self._timer(week)
        return self.record

    def audit(self) -> Iterator[str]:
        """Yield what is wrong with the month's records: nothing, if the station kept its promises."""
        station, record = self._station, self.record
        rejected = [verdict for verdict in station.journal() if verdict.evaluation != "OK"]
        station.wait("the last alert", lambda: len(station.alerts()) >= len(rejected))
        yield from disagreements(record.kinds, station.journal(), record.heard, station.alerts())

    def _work(self, parts: list[Part], week: Week) -> None:
        """Send the parts of one day and review those that were not accepted."""
        self.record.kinds |= {part.part_id: part.kind for part in parts}
        verdicts = self._station.judge(parts)
        self.record.heard += verdicts
        rejected = [verdict for verdict in verdicts if verdict.evaluation != "OK"]
        names = ", ".join(f"{verdict.part_id} ({self.record.kinds[verdict.part_id]})" for verdict in rejected)
        console.print(f"  {self._calendar.today:%a %d %b}: {len(parts)} parts; not accepted: {names or 'none'}")
        for verdict in rejected:
            self._review(verdict, week)

    def _review(self, verdict: Verdict, week: Week) -> None:
        """Review one alert, as well as the reviewer of that week can tell."""
        is_good = self.record.kinds[verdict.part_id] == GOOD
        if week.has_careless_review and not is_good:
            self.record.mislabelled.append(verdict.result_id)
        word: Word = "false_reject" if is_good or week.has_careless_review else "confirmed"
        self._label(verdict.result_id, word, "night-shift" if week.has_careless_review else "operator")

    def _label(self, result_id: str, word: Word, who: str) -> None:
        """Record the review in Redis, and wait until the kept scan has its label."""
        station = self._station
        station.wait(f"alert {result_id}", lambda: station.record_review(result_id, word, who))
        station.wait(f"the label of {result_id}", lambda: station.label_of(result_id) == LABELS[word])

    def _set_right(self) -> None:
        """Have a second person correct the night shift's reviews."""
        for result_id in self.record.mislabelled:
            self._label(result_id, "confirmed", "quality")
        self.record.mislabelled.clear()

    def _timer(self, week: Week) -> None:
        """Retrain, as systemd's timer does; promote a candidate that passes the gate, and roll it back if the week says so."""
        station = self._station
        console.print(f"  {self._calendar.today:%a %d %b}: the timer starts a retraining")
        code = self._retrain(station)
        self.record.retrained.append(code)
        if code == HELD_BACK:
            return
        before, candidate = station.serving, station.candidate
        which = ("--store", station.settings.models.store, "--recipe", station.recipe)
        self._swap(candidate, "model", "promote", *which, "--version", candidate)
        if week.is_rolled_back:
            self._swap(before, "model", "rollback", *which)

    def _swap(self, version: str, *words: str) -> None:
        """Change to another version while the station goes on."""
        self._station.verb(*words)
        self._station.wait(f"version {version} to judge", lambda: self._station.serving == version)
        self.record.served.append(version)
        console.print(f"    version {version} judges from now on")
