"""How many parts the station can judge in time: beyond that a camera is asked to wait, and all cameras wait in one line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from mdss.wire.verdict import UndefinedCode

MOST_BYTES = 512 * 1024 * 1024  # of all frames held
RECENT = 16  # pauses between verdicts that the pace is measured from
OUTLIERS, REPLACED_S = 2, 1.0  # the longest of them, where they are as long as this: a worker was being replaced
SAFE = 0.8  # share of the deadline that parts may spend in the station, waiting included
LEAST = 2  # one is judged, one waits
PATIENCE_S = 5.0  # a camera that has not asked again for so long has left the line


class Load(NamedTuple):
    """Parts and their bytes: what is under way, or what a camera's next frame allows and needs."""

    parts: int
    nbytes: int


class Admission:
    """Knows the station's pace, and whose turn it is when there is room for few."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pauses_s: deque[float] = deque(maxlen=RECENT)
        self._judged_s: float | None = None  # when the last part was scored, where others have been under way since
        self._is_behind = False  # whether one was late since then
        self._rests_s: float | None = None  # since when none is, where the last one was not scored
        self._line: dict[str, tuple[float, Load]] = {}  # camera -> when it asked last, and for what; in the order in which they first asked

    def judged(self, held: int, code: UndefinedCode | None = None) -> None:
        """Note a verdict; `held` parts are left. Of the pace tell only those of parts that the workers have scored, which have no code."""
        now_s = self._clock()
        if code is not None:
            self._is_behind = self._is_behind or code == "LATE"
            self._rests_s = None if held else now_s
            return
        if self._judged_s is not None:
            self._pauses_s.append(now_s - self._judged_s)
        self._judged_s, self._is_behind = now_s if held else None, False

    def taken(self) -> None:
        """Note that a part is under way from now on: no rest of the line before it counts as a part of its pace."""
        if self._rests_s is not None and self._judged_s is not None:
            self._judged_s += self._clock() - self._rests_s
        self._rests_s = None

    def window(self, deadline_s: float, unknown: int) -> int:
        """Return how many parts can be under way and be judged in time; `unknown` while the pace is."""
        until_s = self._clock() if self._rests_s is None else self._rests_s
        if self._is_behind and self._judged_s is not None and until_s - self._judged_s > deadline_s:
            return LEAST  # each part under way is late by those before it, for ever: the pace is not what it was
        if len(self._pauses_s) <= OUTLIERS:
            return unknown
        ordered = sorted(self._pauses_s)
        # Shorter ones count, however uneven: verdicts that come in bursts would look like a faster station.
        usual = ordered[:-OUTLIERS] + [pause_s for pause_s in ordered[-OUTLIERS:] if pause_s < REPLACED_S]
        return max(LEAST, int(SAFE * deadline_s / max(sum(usual) / len(usual), 1e-6)))

    def refusal(self, source: str, asked: Load, held: Load) -> str:
        """Return why a camera has to wait; empty when it is admitted.

        `asked` is how many parts may be under way for this frame to be in time, and its bytes. Nobody is let in past a camera
        ahead for which there would be no room then, be it because its deadline is shorter or its frames are larger.
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
