"""Parts that an earlier life of ingest acknowledged: one that neither fusion nor the camera remembers is LOST, which is a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mdss.wire.messages import Accepted, Fault, Judged
from mdss.wire.model_plan import model_key

GRACE_NS = 10 * 10**9  # after the start, or the deadline: how long a camera has to send again, and fusion to judge
PUT_OFF_NS = 120 * 10**9  # after the start: how long a camera may be put off; a model that is not loaded by then may never be
REASON = "the station was restarted and the camera did not send the part again"
PUT_OFF = "the station was restarted and could not take the part when the camera sent it again"
REFUSED = "the station was restarted and refused the part when the camera sent it again"
LookUp = Callable[[Iterable[Accepted]], tuple[list[Judged], list[Accepted]]]  # parts -> their verdicts, and which have none


class Inherited:
    """Names the parts that nobody has judged in time; each again after a while, until its verdict is in the journal.

    Times are ns of the clock that deadlines are told in.
    """

    def __init__(self, pending: Iterable[Accepted], now_ns: int) -> None:
        self._parts = {accepted.result_id: accepted for accepted in pending}
        self._due_ns = {name: now_ns + accepted.left_ns(now_ns) + GRACE_NS for name, accepted in self._parts.items()}
        self._put_off_until_ns, self._reasons = now_ns + PUT_OFF_NS, dict[str, str]()

    @property
    def models(self) -> frozenset[str]:
        """The keys of the models that judge what may still be under way."""
        return frozenset(model_key(accepted.identity.recipe_id, accepted.model_version) for accepted in self._parts.values())

    def remove(self, result_id: str) -> None:
        """Forget a part that the camera has sent again, or that is judged."""
        self._parts.pop(result_id, None)

    def put_off(self, source_id: str, frame_id: str, refusal: str, now_ns: int) -> None:
        """Give a part its time anew, but not for ever: its camera has sent it again, and was refused for now."""
        for name in self._of_frame(source_id, frame_id):
            self._reasons[name] = f"{PUT_OFF}: {refusal}"
            if now_ns < self._put_off_until_ns:
                self._due_ns[name] = max(self._due_ns[name], now_ns + GRACE_NS)

    def refuse(self, source_id: str, frame_id: str, refusal: str) -> None:
        """Remember why a part was refused for good; its time stays what it is, for fusion may have all of it from before."""
        for name in self._of_frame(source_id, frame_id):
            self._reasons[name] = f"{REFUSED}: {refusal}"

    def lost(self, now_ns: int, look_up: LookUp) -> list[tuple[Fault, Accepted]]:
        """Return what fusion is to be told of the parts whose time is over: first why, because they are due at once."""
        due = [accepted for accepted in self._parts.values() if now_ns >= self._due_ns[accepted.result_id]]
        self._due_ns |= {accepted.result_id: now_ns + GRACE_NS for accepted in due}
        verdicts, owed = look_up(due)
        for verdict in verdicts:
            self.remove(verdict.result_id)
        return [(self._fault(accepted.result_id), accepted) for accepted in owed]

    def _of_frame(self, source_id: str, frame_id: str) -> list[str]:
        """Return the result ids of a frame's parts: one, or none."""
        of_parts = self._parts.items()
        return [name for name, each in of_parts if (each.identity.source_id, each.identity.frame_id) == (source_id, frame_id)]

    def _fault(self, result_id: str) -> Fault:
        """Return why a part has no verdict but LOST."""
        return Fault(result_id=result_id, code="LOST", reason=self._reasons.get(result_id, REASON))
