"""Joins what the stages say of one part, exactly by its id, and never waits longer than its deadline."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mdss.wire.messages import Accepted, Branch, BranchScore, Fault, Message, PreparedPart, UndefinedCode

REMEMBERED = 10_000  # verdicts whose late results are still recognised
ORPHAN_NS = 300 * 10**9  # how long a result waits for an Accepted that never comes
GRACE_NS = 10 * 10**9  # how long a camera has, after a restart, to send again what has no verdict


@dataclass(frozen=True)
class JoinedPart:
    """All that is known of one part when its verdict is due; `code` says why there may be no judgement."""

    accepted: Accepted
    prepared: PreparedPart | None
    scores: Mapping[Branch, BranchScore]
    code: UndefinedCode | None
    reason: str = ""


@dataclass
class OpenPart:
    """One part on its way."""

    since_ns: int
    accepted: Accepted | None = None
    prepared: PreparedPart | None = None
    scores: dict[Branch, BranchScore] = field(default_factory=dict)
    fault: Fault | None = None
    is_recovered: bool = False
    due_ns: int = 0

    def is_complete(self) -> bool:
        """Whether both branches and the preparation are in."""
        return self.prepared is not None and len(self.scores) == 2

    def close(self, code: UndefinedCode | None, reason: str = "") -> JoinedPart:
        """Return the part as it is now."""
        assert self.accepted is not None
        return JoinedPart(self.accepted, self.prepared, self.scores, code, reason)


class PartJoin:
    """Holds open parts by result id; each is returned exactly once."""

    def __init__(self) -> None:
        self._open: dict[str, OpenPart] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()
        self.late_results = 0

    def __len__(self) -> int:
        return sum(part.accepted is not None for part in self._open.values())

    def recover(self, pending: Iterable[Accepted], now_ns: int) -> None:
        """Take over parts that were accepted before a restart; what nobody sends again is LOST."""
        for accepted in pending:
            due_ns = max(accepted.deadline_ns, now_ns + GRACE_NS)
            self._open[accepted.result_id] = OpenPart(now_ns, accepted, is_recovered=True, due_ns=due_ns)

    def take(self, message: Message, now_ns: int) -> JoinedPart | None:
        """Add one message to its part; return the part when nothing is missing any more."""
        result_id: str = getattr(message, "result_id")  # noqa: B009 - every message that comes here has one
        if result_id in self._closed:
            self.late_results += not isinstance(message, Accepted)
            return None
        part = self._open.setdefault(result_id, OpenPart(now_ns))
        if part.accepted is not None and now_ns >= part.due_ns and not isinstance(message, Accepted):
            self.late_results += 1  # it is over for this part; the next tick says so
            return None
        self._add(part, message)
        return self._finished(result_id, part)

    def _add(self, part: OpenPart, message: Message) -> None:
        match message:
            case Accepted():  # of a recovered part: the camera sent it again, or ingest reminds that it is due and nobody will
                part.is_recovered = part.is_recovered and message == part.accepted
                part.accepted, part.due_ns = message, message.deadline_ns
            case PreparedPart():
                part.prepared = part.prepared or message
            case BranchScore():
                part.scores.setdefault(message.branch, message)
            case Fault():
                part.fault = part.fault or message

    def tick(self, now_ns: int) -> list[JoinedPart]:
        """Return the parts whose deadline has passed."""
        due = [name for name, part in self._open.items() if part.accepted is not None and now_ns >= part.due_ns]
        for name in [name for name, part in self._open.items() if part.accepted is None and now_ns - part.since_ns > ORPHAN_NS]:
            del self._open[name]
        return [self._expire(name) for name in due]

    def drain(self) -> list[JoinedPart]:
        """Return all that is open, because the station stops."""
        names = [name for name, part in self._open.items() if part.accepted is not None]
        return [self._close(name, "DRAINED", "the station stopped before the part was judged") for name in names]

    def _finished(self, name: str, part: OpenPart) -> JoinedPart | None:
        if part.accepted is None:
            return None
        if part.fault is not None:
            return self._close(name, part.fault.code, part.fault.reason)
        return self._close(name, None) if part.is_complete() else None

    def _expire(self, name: str) -> JoinedPart:
        part = self._open[name]
        if part.is_recovered:
            return self._close(name, "LOST", "fusion was started again before the part was judged, and the camera did not send it anew")
        return self._close(name, "LATE", f"no result from {' and '.join(missing(part) or ['ingest'])} before the deadline")

    def _close(self, name: str, code: UndefinedCode | None, reason: str = "") -> JoinedPart:
        self._closed[name] = None
        if len(self._closed) > REMEMBERED:
            self._closed.popitem(last=False)
        return self._open.pop(name).close(code, reason)


def missing(part: OpenPart) -> list[str]:
    """Return the stages that have not answered."""
    silent = [branch for branch in ("rgb", "sdf") if branch not in part.scores]
    return silent if part.prepared is not None else ["prepare", *silent]
