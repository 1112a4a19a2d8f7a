"""What the station's verdicts say of the scans that a replay sent: DONE says only that there is one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mdss.client import MOST_REMEMBERED, VerdictStream
from mdss.wire.camera import Done
from mdss.wire.verdict import Verdict

ASK_EVERY = MOST_REMEMBERED // 2  # frames sent; the sender forgets what is DONE beyond MOST_REMEMBERED
ANSWER_WITHIN_S = 10.0  # since the last verdict that came
DECIDED = ("OK", "NotOK")


@dataclass
class VerdictTally:
    """Counts verdicts by evaluation, and keeps the newest that are Undefined."""

    stream_since: Callable[[int], VerdictStream]
    evaluations: Counter[str] = field(default_factory=Counter)
    undefined: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))
    unknown: int = 0  # scans whose verdict the snapshot port did not give
    _told: set[str] = field(default_factory=set)  # frames among those that are DONE

    @property
    def is_good(self) -> bool:
        """Whether every verdict is known and none is Undefined, and, if there are any, the station decided on one at least."""
        is_decided = not self.evaluations or any(self.evaluations[each] for each in DECIDED)
        return is_decided and not self.unknown and not self.evaluations["Undefined"]

    def ask(self, done: Mapping[str, Done]) -> None:
        """Ask the station for the verdicts on frames that are DONE, unless that was done before."""
        self._told &= done.keys()
        frames = {each.result_id: frame_id for frame_id, each in done.items() if frame_id not in self._told}
        if not frames:
            return
        sequences = [done[frame_id].sequence for frame_id in frames.values()]
        with self.stream_since(min(sequences) - 1) as stream:
            while frames and (verdict := stream.receive(ANSWER_WITHIN_S)) is not None:
                if frame_id := frames.pop(verdict.result_id, ""):
                    self._told.add(frame_id)  # at once: Ctrl-C may end the asking, and what is missing is asked for again
                    self._note(verdict)
                if verdict.sequence >= _last_to_come(stream, max(sequences)):
                    break
        self._told |= set(frames.values())
        self.unknown += len(frames)

    def _note(self, verdict: Verdict) -> None:
        self.evaluations[verdict.evaluation] += 1
        if verdict.evaluation == "Undefined":
            self.undefined.append({"part_id": verdict.part_id, "code": verdict.code or "", "reason": "; ".join(verdict.reasons)})


def _last_to_come(stream: VerdictStream, last: int) -> int:
    """Return the sequence after which no further verdict is worth waiting for: the rest cannot be read in the station's journal.

    A new journal counts from 1 again. So the station's heartbeat, once it is heard, may end the asking earlier.
    """
    return last if stream.beats is None else min(last, stream.beats.sequence)
