"""What fusion is told of processes that ended is bounded, whoever is away for however long."""

from __future__ import annotations

import errno
import os

from daemon.endings import MOST_SUSPECTS, MOST_WAITING, Endings
from mdss.wire.messages import Ended
from tests.fakes import FakeLink


def test_the_parts_that_processes_ended_with_are_forgotten_in_the_end() -> None:
    fusion, hand = FakeLink(), "first"
    endings = Endings(fusion, lambda _: hand)
    endings.note("rgb-0", "ended")
    for number in range(MOST_SUSPECTS):
        hand = f"r{number}"
        endings.note("rgb-0", "ended")
    hand = "first"
    endings.note("rgb-0", "ended")
    endings.flush()
    assert [len(message.deaths) for message in fusion.sent] == [1] * MOST_WAITING  # type: ignore[attr-defined]


def test_a_part_that_a_process_ended_with_again_is_not_the_next_to_be_forgotten() -> None:
    fusion, hand = FakeLink(), ""
    endings = Endings(fusion, lambda _: hand)
    for name in ("first", "other", "first", *map(str, range(MOST_SUSPECTS - 1)), "first"):
        hand = name
        endings.note("rgb-0", "ended")
    endings.flush()
    assert fusion.sent[-1].deaths == ("rgb-0 ended",) * 3  # type: ignore[attr-defined]


def test_endings_that_nobody_takes_are_bounded_and_the_newest_are_kept() -> None:
    fusion = FakeLink(room=False)
    endings = Endings(fusion, lambda _: "")
    for number in range(MOST_WAITING + 3):
        endings.note(f"rgb-{number}", "ended with code -9")
        endings.flush()
    assert fusion.sent == []
    fusion.room = True
    endings.flush()
    assert [message.process for message in fusion.sent] == [f"rgb-{number}" for number in range(3, MOST_WAITING + 3)]  # type: ignore[attr-defined]


def test_a_disk_that_does_not_say_what_was_in_hand_blames_no_part_and_ends_no_supervisor() -> None:
    def refuse(process: str) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"{process}.hand")

    fusion = FakeLink()
    endings = Endings(fusion, refuse)
    endings.note("rgb-0", "ended with code -9")
    endings.flush()
    assert fusion.sent == [Ended(process="rgb-0", reason="ended with code -9")]
