"""Decides how many parts may be under way so that all are judged in time; cameras beyond that get BUSY and queue in one line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from mdss.wire.verdict import UndefinedCode

MOST_BYTES = 512 * 1024 * 1024  # of all held frames together
RECENT = 16  # number of pauses between verdicts that the pace is averaged over
OUTLIERS, REPLACED_S = 2, 1.0  # how many of the longest pauses are left out, if they last this many seconds: a worker was being replaced
SAFE = 0.8  # share of the deadline that a part may spend in the station, waiting included
LEAST = 2  # one part is judged, one waits
PATIENCE_S = 5.0  # a camera that has not asked again for this long has left the line


class Load(NamedTuple):
    """A number of parts and bytes: what is under way, or what a camera's next frame allows and needs."""

    parts: int
    nbytes: int


class Admission:
    """Measures the station's pace and decides whose turn it is when room is short."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pauses_s: deque[float] = deque(maxlen=RECENT)
        self._judged_s: float | None = None  # when the last part was scored; None if nothing was left under way then
        self._is_behind = False  # whether a part was late since then
        self._rests_s: float | None = None  # since when no part is under way, if the last one to finish was not scored
        # camera -> (time of its last request, what it asked for), in the order of their first requests
        self._line: dict[str, tuple[float, Load]] = {}

    def note_verdict(self, held: int, code: UndefinedCode | None = None) -> None:
        """Record a verdict that leaves `held` parts; only verdicts without a code count for the pace: the workers scored their parts."""
        now_s = self._clock()
        if code is not None:
            self._is_behind = self._is_behind or code == "LATE"
            self._rests_s = None if held else now_s
            return
        if self._judged_s is not None:
            self._pauses_s.append(now_s - self._judged_s)
        self._judged_s, self._is_behind = now_s if held else None, False

    def note_accepted(self) -> None:
        """Record that a part is under way; idle time before it does not count into the pace."""
        if self._rests_s is not None and self._judged_s is not None:
            self._judged_s += self._clock() - self._rests_s
        self._rests_s = None

    def window(self, deadline_s: float, unknown: int) -> int:
        """Return how many parts can be under way and still be judged in time; `unknown` as long as the pace is not known."""
        until_s = self._clock() if self._rests_s is None else self._rests_s
        if self._is_behind and self._judged_s is not None and until_s - self._judged_s > deadline_s:
            # parts under way make each other late, endlessly: the measured pace no longer holds
            return LEAST
        if len(self._pauses_s) <= OUTLIERS:
            return unknown
        ordered = sorted(self._pauses_s)
        # Short pauses always count, however uneven: without them, verdicts that come in bursts would look like a faster station.
        usual = ordered[:-OUTLIERS] + [pause_s for pause_s in ordered[-OUTLIERS:] if pause_s < REPLACED_S]
        return max(LEAST, int(SAFE * deadline_s / max(sum(usual) / len(usual), 1e-6)))

    def refusal(self, source: str, asked: Load, held: Load) -> str:
        """Return why a camera has to wait; empty if its frame is admitted.

        `asked` holds how many parts may be under way for this frame to be in time, and the frame's bytes. No frame is let in ahead of a
        waiting camera if that would leave no room for the waiting one, whether because its deadline is shorter or its frames are larger.
        """
        now_s = self._clock()
        self._line = {name: entry for name, entry in self._line.items() if now_s - entry[0] <= PATIENCE_S}
        names = list(self._line)
        ahead = [self._line[name][1] for name in names[: names.index(source) if source in self._line else None]]
        all_in_time = held.parts + len(ahead) < min(load.parts for load in (*ahead, asked))
        if all_in_time and held.nbytes + sum(load.nbytes for load in (*ahead, asked)) <= MOST_BYTES:
            self._line.pop(source, None)
            return ""
        self._line[source] = now_s, asked
        return f"as many parts are under way as can be judged in time and held in memory; {len(ahead)} other cameras wait for their turn"
