"""How many frames the front door lets in: by the pace of verdicts that the workers gave, and by nothing else that happens to parts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import msgspec
import pytest

from mdss.settings import CameraSettings, ModelSettings, Settings
from mdss.wire.camera import Ack, Hello
from mdss.wire.verdict import UndefinedCode
from tests.front_door import Station, code_of, word

OPEN = Settings(camera=CameraSettings(credit=20, deadline_ms=2000), models=ModelSettings(recipes=("gland",)))
UNKNOWN = 20 + 1  # parts that may be under way as long as no pace is known: one camera's credit, and one more
IDLE_S = 5.0


class Line(Station):
    """A station that has just begun, with one camera."""

    def __init__(self) -> None:
        super().__init__(settings=OPEN)
        self.introduce()
        self.numbers = count(1)

    def begin(self) -> str:
        """Send the next frame and return its id."""
        frame_id = f"f{next(self.numbers)}"
        assert isinstance(self.send(frame_id)[0], Ack)
        return frame_id

    def end(self, frame_id: str, code: UndefinedCode | None = None, *, is_late: bool = False) -> None:
        """Judge a part a tenth of a second later."""
        self.clock.advance(0.1)
        said = word(self.journal.judge(frame_id, 1, code), 1, code)
        self.intake.note_verdicts([msgspec.structs.replace(said, is_late=is_late)])

    def room(self) -> int:
        """Return how many frames are let in now, from two cameras that both have credit."""
        for peer, name in ((b"one", "one"), (b"two", "two")):
            self.say(Hello(source_id=name), peer)
        for number in range(2 * OPEN.camera.credit):
            name = ("one", "two")[number % 2]
            if not isinstance(answers := self.send(f"room {number}", name.encode(), source_id=name)[0], Ack):
                assert code_of([answers]) == "BUSY"
                break
        return number


def two_at_once(line: Line) -> None:
    """Judge two parts at a time: one by both branches, then one that no worker could."""
    first, second = line.begin(), line.begin()
    line.end(first)
    line.end(second, "BAD_CLOUD")
    line.clock.advance(IDLE_S)


def one_by_one(line: Line) -> None:
    """Judge a part, and have none for a while."""
    line.end(line.begin())
    line.clock.advance(IDLE_S)


def by_one_branch(line: Line) -> None:
    """Have two parts, of which only one branch has seen either by the deadline."""
    for frame_id in (line.begin(), line.begin()):
        line.end(frame_id, is_late=True)
        line.clock.advance(1.0)


@pytest.mark.parametrize(
    ("history", "room"),
    [(two_at_once, 8), (one_by_one, UNKNOWN + 2), (by_one_branch, UNKNOWN + 2)],  # in 0.8 of 2 s, one each 0.2 s; two more cameras
)
def test_so_many_frames_are_let_in_as_the_pace_allows_and_idle_time_and_what_was_late_are_none(
    history: Callable[[Line], None], room: int
) -> None:
    line = Line()
    for _ in range(10):
        history(line)
    assert line.room() == room


def test_no_scan_is_kept_of_a_part_that_is_not_poison() -> None:
    line = Line()
    line.end(line.begin(), "WORKER_LOST")
    assert line.kept == []
