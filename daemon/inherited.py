"""Parts that an earlier life of ingest acknowledged: one that neither fusion nor the camera remembers is LOST, which is a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mdss.wire.messages import Accepted, Fault
from mdss.wire.model_plan import model_key

GRACE_NS = 10 * 10**9  # after the start, or the deadline: how long a camera has to send again, and fusion to judge
REASON = "the station was restarted and the camera did not send the part again"


class Inherited:
    """Names the parts that nobody has judged in time; each again after a while, until its verdict is in the journal.

    Times are ns of the clock that deadlines are told in.
    """

    def __init__(self, pending: Iterable[Accepted], now_ns: int) -> None:
        self._parts = {accepted.result_id: accepted for accepted in pending}
        self._due_ns = {name: now_ns + accepted.left_ns(now_ns) + GRACE_NS for name, accepted in self._parts.items()}

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def models(self) -> frozenset[str]:
        """The keys of the models that judge what may still be under way."""
        return frozenset(model_key(accepted.identity.recipe_id, accepted.model_version) for accepted in self._parts.values())

    def remove(self, result_id: str) -> None:
        """Forget a part that the camera has sent again, or that is judged."""
        self._parts.pop(result_id, None)

    def lost(self, now_ns: int, is_judged: Callable[[Accepted], bool]) -> list[tuple[Fault, Accepted]]:
        """Return what fusion is to be told of the parts whose time is over: first why, because they are due at once."""
        due = [accepted for accepted in self._parts.values() if now_ns >= self._due_ns[accepted.result_id]]
        for accepted in due:
            self._due_ns[accepted.result_id] = now_ns + GRACE_NS
            if is_judged(accepted):
                self.remove(accepted.result_id)
        return [(fault(accepted.result_id), accepted) for accepted in due if accepted.result_id in self._parts]


def fault(result_id: str) -> Fault:
    """Return why a part has no verdict but LOST."""
    return Fault(result_id=result_id, stage="ingest", code="LOST", reason=REASON)
