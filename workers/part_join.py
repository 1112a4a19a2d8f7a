"""Joins the reports on each part by its result id, and never waits for them beyond the part's deadline."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from mdss.wire.messages import MS_NS, Accepted, BranchScore, Ended, Message, PreparedPart, Resend, stage_of
from mdss.wire.verdict import Branch, UndefinedCode
from workers.open_part import BRANCHES, OpenPart

MOST_REMEMBERED = 10_000  # closed parts whose late results are still recognised
ORPHAN_NS = 300 * 10**9  # how long a report waits for an Accepted that never comes
# after a restart, or after the deadline if that is later; ingest, which may start minutes later, reports its missing parts sooner
GRACE_NS = 300 * 10**9
SETTLED_NS = 200 * MS_NS  # after a process ended: by then everything it had sent is here, and nothing more is handed to it
DEATHS = 2  # processes that ended with one part in hand: a third would follow


@dataclass(frozen=True)
class JoinedPart:
    """What is known about a part when its verdict is due; `code` says why it may not be judged."""

    accepted: Accepted
    prepared: PreparedPart | None
    scores: Mapping[Branch, BranchScore]
    code: UndefinedCode | None
    reason: str = ""


class PartJoin:
    """Holds open parts by result id and returns each exactly once. Times are in ns of the monotonic clock that deadlines use."""

    def __init__(self) -> None:
        self._open: dict[str, OpenPart] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._ended: deque[tuple[int, Ended]] = deque()
        self._resends: list[Resend] = []
        self._stages_gone: dict[str, str] = {}  # stages that will not be started again -> the reason
        self.late_results = 0

    def __len__(self) -> int:
        return sum(part.accepted is not None for part in self._open.values())

    def recover(self, pending: Iterable[Accepted], now_ns: int) -> None:
        """Take over parts accepted before a restart, and ask for their frames; a part that nobody sends again becomes LOST."""
        for accepted in pending:
            part = OpenPart(now_ns, accepted, is_recovered=True, due_ns=now_ns + accepted.left_ns(now_ns) + GRACE_NS)
            self._open[accepted.result_id] = part
            self._resends.append(Resend(result_id=accepted.result_id, attempt=accepted.attempt + 1, wanted=BRANCHES))

    def take(self, message: Message, now_ns: int) -> JoinedPart | None:
        """Add one message to its part; return the part if nothing is missing any more."""
        if isinstance(message, Ended):
            self._ended.append((now_ns + SETTLED_NS, message))
            return None
        result_id: str = getattr(message, "result_id")  # noqa: B009 - every other message that comes here has one
        is_result = not isinstance(message, Accepted)
        if result_id in self._closed:
            self.late_results += is_result
            return None
        part = self._open.setdefault(result_id, OpenPart(now_ns))
        if part.accepted is not None and now_ns >= part.due_ns and is_result:
            self.late_results += 1  # the part's time is over; the next tick returns it
            return None
        part.add(message)
        return self._finished(result_id, part)

    def tick(self, now_ns: int) -> list[JoinedPart]:
        """Return the parts whose deadline has passed, that are POISON, or whose missing stages will not come back."""
        due = [name for name, part in self._open.items() if part.accepted is not None and now_ns >= part.due_ns]
        for name in [name for name, part in self._open.items() if part.accepted is None and now_ns - part.since_ns > ORPHAN_NS]:
            del self._open[name]
        joined = [self._expire(name) for name in due]
        while self._ended and now_ns >= self._ended[0][0]:
            joined += self._handle_ended_process(self._ended.popleft()[1])
        return joined + self._hopeless()

    def resends(self) -> list[Resend]:
        """Return, once, what ingest is to send again."""
        asked, self._resends = self._resends, []
        return asked

    def drain(self) -> list[JoinedPart]:
        """Return all open parts, because the station stops."""
        names = [name for name, part in self._open.items() if part.accepted is not None]
        return [self._close(name, "DRAINED", "the station stopped before the part was judged") for name in names]

    def _handle_ended_process(self, ended: Ended) -> list[JoinedPart]:
        """Ask again for what was lost with an ended process; return its part in hand if that is the second process to end with it."""
        if ended.is_last:
            self._stages_gone[stage_of(ended.process)] = f"{ended.process} {ended.reason}"
        suspect = self._open.get(ended.result_id)
        joined = []
        if suspect is not None:
            suspect.deaths = ended.deaths
            if len(ended.deaths) >= DEATHS and suspect.accepted is not None:
                reason = f"{len(ended.deaths)} processes ended while they had this part in hand: {'; '.join(ended.deaths)}"
                joined.append(self._close(ended.result_id, "POISON", reason))
        for part in self._open.values():
            if wanted := part.lost_with(stage_of(ended.process)):
                self._ask_again(part, wanted)
        return joined

    def _hopeless(self) -> list[JoinedPart]:
        """Return parts that wait only for stages that will not be started again: waiting for the deadline would gain nothing."""
        if not self._stages_gone:
            return []
        names = [name for name, part in self._open.items() if part.accepted is not None and part.waits_only_for(self._stages_gone)]
        return [self._close(name, "WORKER_LOST", self._why_hopeless(self._open[name].missing())) for name in names]

    def _why_hopeless(self, missing: list[str]) -> str:
        why = "; ".join(self._stages_gone[stage] for stage in missing if stage in self._stages_gone)
        return f"no result from {' and '.join(missing)}: {why}"

    def _ask_again(self, part: OpenPart, wanted: tuple[Branch, ...]) -> None:
        if part.accepted is not None:
            part.accepted = msgspec.structs.replace(part.accepted, attempt=part.accepted.attempt + 1)
            self._resends.append(Resend(result_id=part.accepted.result_id, attempt=part.accepted.attempt, wanted=wanted))

    def _finished(self, name: str, part: OpenPart) -> JoinedPart | None:
        if part.accepted is None:
            return None
        if part.fault is not None:
            return self._close(name, part.fault.code, part.fault.reason)
        return None if part.missing() else self._close(name, None)

    def _expire(self, name: str) -> JoinedPart:
        part = self._open[name]
        if part.is_recovered:
            return self._close(name, "LOST", "fusion was started again before the part was judged, and the camera did not send it anew")
        ended = "".join(f"; {reason}" for reason in part.deaths)
        return self._close(name, "LATE", f"no result from {' and '.join(part.missing())} before the deadline{ended}")

    def _close(self, name: str, code: UndefinedCode | None, reason: str = "") -> JoinedPart:
        self._closed[name] = None
        if len(self._closed) > MOST_REMEMBERED:
            self._closed.popitem(last=False)
        part = self._open.pop(name)
        assert part.accepted is not None
        return JoinedPart(part.accepted, part.prepared, part.scores, code, reason)
