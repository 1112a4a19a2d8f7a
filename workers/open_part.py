"""One part on its way: what the stages have said of it, and which processes ended with it in hand."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from mdss.wire.messages import Accepted, BranchScore, Fault, Message, PreparedPart
from mdss.wire.verdict import Branch

Result = PreparedPart | BranchScore | Fault
BRANCHES: tuple[Branch, ...] = ("rgb", "sdf")


@dataclass
class OpenPart:
    """Everything that is known of one part; `due_ns` holds once it is accepted.

    What counts is what was said of it by the model that judges it now: where its frame was sent again after a change of model, what was
    said before is of no use, and what is said by the new one may be here before the part's new acceptance.
    """

    since_ns: int
    accepted: Accepted | None = None
    heard: list[Result] = field(default_factory=list)
    is_recovered: bool = False
    due_ns: int = 0
    deaths: tuple[str, ...] = ()  # how processes ended that had it in hand

    def add(self, message: Message) -> None:
        """Take what one stage says; what it says again of the same model counts no more."""
        match message:
            case Accepted():  # of a recovered part: ingest holds it, so there is another attempt, or its deadline is over
                self.is_recovered = False
                self.accepted, self.due_ns = message, message.deadline_ns
            case PreparedPart() | BranchScore() | Fault() if kind_of(message) not in map(kind_of, self.heard):
                self.heard.append(message)

    @property
    def prepared(self) -> PreparedPart | None:
        """What prepare made of it."""
        return next((said for said in self._valid() if isinstance(said, PreparedPart)), None)

    @property
    def scores(self) -> dict[Branch, BranchScore]:
        """What the branches found."""
        return {said.branch: said for said in self._valid() if isinstance(said, BranchScore)}

    @property
    def fault(self) -> Fault | None:
        """Why it cannot be judged."""
        return next((said for said in self._valid() if isinstance(said, Fault)), None)

    def _valid(self) -> Iterator[Result]:
        """Yield what was said by the model that judges the part; where nobody has said which that is, all of it."""
        version = self.accepted.model_version if self.accepted is not None else ""
        return (said for said in self.heard if not version or said.model_version in ("", version))

    def lost_with(self, stage: str) -> tuple[Branch, ...]:
        """Return the branches that must see the part again because what waited at a stage's ended process is lost."""
        if self.is_recovered:  # its frame is asked for already
            return ()
        absent = tuple(branch for branch in BRANCHES if branch not in self.scores)
        if stage == "prepare":
            return absent
        return tuple(branch for branch in absent if branch == stage and self.prepared is not None)

    def waits_only_for(self, stages: Container[str]) -> bool:
        """Whether every missing answer would have to come from, or through, one of these stages."""
        missing = self.missing()
        return missing[0] in stages if self.prepared is None else all(stage in stages for stage in missing)

    def missing(self) -> list[str]:
        """Return the stages that have not answered."""
        silent: list[str] = [branch for branch in BRANCHES if branch not in self.scores]
        return silent if self.prepared is not None else ["prepare", *silent]


def kind_of(said: Result) -> tuple[str, str, str]:
    """Return what may be said of a part once: which stage says what, by which model."""
    return type(said).__name__, said.branch if isinstance(said, BranchScore) else "", said.model_version
