"""One part on its way: what the stages have said of it, and which processes ended with it in hand."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from mdss.wire.messages import Accepted, Branch, BranchScore, Fault, Message, PreparedPart

BRANCHES: tuple[Branch, ...] = ("rgb", "sdf")


@dataclass
class OpenPart:
    """Everything that is known of one part; `due_ns` holds once it is accepted."""

    since_ns: int
    accepted: Accepted | None = None
    prepared: PreparedPart | None = None
    scores: dict[Branch, BranchScore] = field(default_factory=dict)
    fault: Fault | None = None
    is_recovered: bool = False
    due_ns: int = 0
    deaths: tuple[str, ...] = ()  # how processes ended that had it in hand

    def add(self, message: Message) -> None:
        """Take what one stage says."""
        match message:
            case Accepted():  # of a recovered part: ingest holds it, so there is another attempt, or its deadline is over
                self.is_recovered = False
                self.accepted, self.due_ns = message, message.deadline_ns
            case PreparedPart():
                self.prepared = self.prepared or message
            case BranchScore():
                self.scores.setdefault(message.branch, message)
            case Fault():
                self.fault = self.fault or message

    def lost_with(self, stage: str) -> tuple[Branch, ...]:
        """Return the branches that must see the part again because what waited at a stage's ended process is lost."""
        if self.is_recovered:  # its frame is asked for already
            return ()
        absent = tuple(branch for branch in BRANCHES if branch not in self.scores)
        if stage == "prepare":
            return absent
        return tuple(branch for branch in absent if branch == stage and self.prepared is not None)

    def is_complete(self) -> bool:
        """Whether both branches and the preparation are in."""
        return self.prepared is not None and len(self.scores) == len(BRANCHES)

    def waits_only_for(self, stages: Container[str]) -> bool:
        """Whether every missing answer would have to come from, or through, one of these stages."""
        missing = self.missing()
        return missing[0] in stages if self.prepared is None else all(stage in stages for stage in missing)

    def missing(self) -> list[str]:
        """Return the stages that have not answered."""
        silent: list[str] = [branch for branch in BRANCHES if branch not in self.scores]
        return silent if self.prepared is not None else ["prepare", *silent]
