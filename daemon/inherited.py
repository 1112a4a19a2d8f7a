"""Parts that were acknowledged before ingest was restarted: a part that neither fusion nor its camera brings back gets the verdict LOST."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mdss.wire.camera import WireRefusal
from mdss.wire.headers import PASSING_CODES
from mdss.wire.messages import Accepted, Fault, Judged
from mdss.wire.model_plan import model_key

# after the start, or after the deadline if that is later: how long the camera may take to send again, and fusion to judge
GRACE_NS = 10 * 10**9
PUT_OFF_NS = 120 * 10**9  # after the start: how long a refused camera can extend a part's time; a model not loaded by then may never be
REASON = "the station was restarted and the camera did not send the part again"
PUT_OFF = "the station was restarted and could not take the part when the camera sent it again"
REFUSED = "the station was restarted and refused the part when the camera sent it again"
# parts -> (verdicts of those that have one, those that have none)
LookUp = Callable[[Iterable[Accepted]], tuple[list[Judged], list[Accepted]]]


class InheritedParts:
    """Names the parts that were not judged in time, and repeats each after a while until its verdict is in the journal.

    Times are in ns of the monotonic clock that deadlines use.
    """

    def __init__(self, pending: Iterable[Accepted], now_ns: int) -> None:
        self._parts = {accepted.result_id: accepted for accepted in pending}
        self._by_frame = {(each.identity.source_id, each.identity.frame_id): name for name, each in self._parts.items()}
        self._due_ns = {name: now_ns + accepted.left_ns(now_ns) + GRACE_NS for name, accepted in self._parts.items()}
        self._put_off_until_ns, self._reasons = now_ns + PUT_OFF_NS, dict[str, str]()

    @property
    def models(self) -> frozenset[str]:
        """The keys of the models that may still judge parts under way."""
        return frozenset(model_key(accepted.identity.recipe_id, accepted.model_version) for accepted in self._parts.values())

    def remove(self, result_id: str) -> None:
        """Forget a part that the camera has sent again, or that is judged."""
        self._parts.pop(result_id, None)

    def note_refusal(self, source_id: str, refusal: WireRefusal, now_ns: int) -> None:
        """Remember why a part was refused when its camera sent it again.

        A refusal for now extends the part's time, up to a limit after the start. A refusal for good does not, but the part stays, because
        fusion may still have all of it.
        """
        name = self._by_frame.get((source_id, refusal.frame_id), "")
        if name not in self._parts:
            return
        is_for_now = refusal.code in PASSING_CODES
        self._reasons[name] = f"{PUT_OFF if is_for_now else REFUSED}: {refusal}"
        if is_for_now and now_ns < self._put_off_until_ns:
            self._due_ns[name] = max(self._due_ns[name], now_ns + GRACE_NS)

    def overdue(self, now_ns: int, look_up: LookUp) -> list[tuple[Fault, Accepted]]:
        """Return the messages that make fusion close overdue parts as LOST: for each the reason first, then the part."""
        due = [accepted for accepted in self._parts.values() if now_ns >= self._due_ns[accepted.result_id]]
        self._due_ns |= {accepted.result_id: now_ns + GRACE_NS for accepted in due}
        verdicts, owed = look_up(due)
        for verdict in verdicts:
            self.remove(verdict.result_id)
        return [(self._fault(accepted.result_id), accepted) for accepted in owed]

    def _fault(self, result_id: str) -> Fault:
        """Return the message that gives a part the verdict LOST, with the reason."""
        return Fault(result_id=result_id, code="LOST", reason=self._reasons.get(result_id, REASON))
