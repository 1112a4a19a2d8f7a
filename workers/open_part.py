"""One part under way: what the stages have reported on it, and which processes ended with it in hand."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from mdss.wire.messages import Accepted, BranchScore, Fault, Message, PreparedPart
from mdss.wire.verdict import Branch

Result = PreparedPart | BranchScore | Fault
BRANCHES: tuple[Branch, ...] = ("rgb", "sdf")


@dataclass
class OpenPart:
    """Everything known about one part; `due_ns` is valid once the part is accepted.

    Only reports by the model that judges the part now count, and only those on the scan that was accepted last. If its frame was sent
    again after a change of model, or after a restart of ingest, older reports are useless, because the camera may have taken another scan
    since. Newer ones may arrive before the part's new acceptance.
    """

    since_ns: int
    accepted: Accepted | None = None
    reports: list[Result] = field(default_factory=list)
    is_recovered: bool = False
    due_ns: int = 0
    deaths: tuple[str, ...] = ()  # how processes ended that had it in hand

    def add(self, message: Message) -> None:
        """Add a stage's report; a repeated report on the same scan by the same model is ignored."""
        match message:
            case Accepted() if self._is_in_force(message):
                self.is_recovered = False  # ingest holds its frame again, so it gets another attempt or its deadline is over
                self.accepted, self.due_ns = message, message.deadline_ns
            case PreparedPart() | BranchScore() | Fault() if kind_of(message) not in map(kind_of, self.reports):
                self.reports.append(message)

    def _is_in_force(self, accepted: Accepted) -> bool:
        """Return whether an acceptance is newer than the one that is known; one of a former life of ingest may be read late."""
        return self.accepted is None or self.is_recovered or accepted.arrived_ns >= self.accepted.arrived_ns

    @property
    def prepared(self) -> PreparedPart | None:
        """The data from `prepare`, None if there is none yet."""
        return next((said for said in self._valid() if isinstance(said, PreparedPart)), None)

    @property
    def scores(self) -> dict[Branch, BranchScore]:
        """The scores that have arrived, by branch."""
        return {said.branch: said for said in self._valid() if isinstance(said, BranchScore)}

    @property
    def fault(self) -> Fault | None:
        """Why the part cannot be judged, None if nothing says so."""
        return next((said for said in self._valid() if isinstance(said, Fault)), None)

    def _valid(self) -> Iterator[Result]:
        """Yield the reports on the accepted scan by the model that judges it; all reports while the part is not accepted."""
        return (report for report in self.reports if self.accepted is None or counts_for(report, self.accepted))

    def lost_with(self, stage: str) -> tuple[Branch, ...]:
        """Return the branches that must see the part again, because what waited at an ended process of a stage is lost."""
        if self.is_recovered:  # its frame was already asked for
            return ()
        absent = tuple(branch for branch in BRANCHES if branch not in self.scores)
        if stage == "prepare":
            return absent
        return tuple(branch for branch in absent if branch == stage and self.prepared is not None)

    def waits_only_for(self, stages: Container[str]) -> bool:
        """Return whether every missing report would have to come from, or through, one of these stages."""
        missing = self.missing()
        return missing[0] in stages if self.prepared is None else all(stage in stages for stage in missing)

    def missing(self) -> list[str]:
        """Return the stages that have not reported."""
        silent: list[str] = [branch for branch in BRANCHES if branch not in self.scores]
        return silent if self.prepared is not None else ["prepare", *silent]


def counts_for(report: Result, accepted: Accepted) -> bool:
    """Return whether a report is on the scan that was accepted, by the model that judges it; where either is not known, all fit."""
    is_by_model = "" in (report.model_version, accepted.model_version) or report.model_version == accepted.model_version
    is_of_scan = 0 in (report.received_ns, accepted.received_ns) or report.received_ns == accepted.received_ns
    return is_by_model and is_of_scan


def kind_of(report: Result) -> tuple[str, str, str, int]:
    """Return what identifies a report: its type, branch, model version and scan; each counts once."""
    branch = report.branch if isinstance(report, BranchScore) else ""
    return type(report).__name__, branch, report.model_version, report.received_ns
