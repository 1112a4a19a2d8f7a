"""A part is judged by one scan: what was said of another one, before its camera sent another under the same id, counts no more."""

from __future__ import annotations

import msgspec
import pytest

from mdss.wire.messages import Accepted, Fault, Message
from tests import parts
from workers.part_join import JoinedPart, PartJoin

DEADLINE_NS = 5 * 10**9
FIRST_NS, SECOND_NS = 10**9, 2 * 10**9  # when ingest received each scan
SECOND_RATIO = 0.4


def play(join: PartJoin, *messages: Message) -> list[JoinedPart]:
    """Return the parts that came out of these messages."""
    return [part for part in (join.take(message, 1) for message in messages) if part is not None]


def accepted(received_ns: int) -> Accepted:
    return msgspec.structs.replace(parts.accepted("a", DEADLINE_NS), received_ns=received_ns)


def said_of(received_ns: int, ratio: float, peak: float) -> list[Message]:
    """Return what the stages say of one scan."""
    said = (parts.prepared("a", ratio), *(parts.score(branch, "a", peak) for branch in ("rgb", "sdf")))
    return [msgspec.structs.replace(report, received_ns=received_ns) for report in said]


def of_first_scan() -> list[Message]:
    return said_of(FIRST_NS, ratio=0.1, peak=0.5)


def of_second_scan() -> list[Message]:
    return said_of(SECOND_NS, ratio=SECOND_RATIO, peak=0.7)


def is_of_second_scan(part: JoinedPart) -> bool:
    assert part.prepared is not None
    return part.prepared.invalid_point_ratio == SECOND_RATIO and {score.score for score in part.scores.values()} == {0.7}


@pytest.mark.parametrize("known", range(3))
def test_a_frame_that_came_with_another_scan_after_a_restart_of_ingest_is_judged_by_that_scan_alone(known: int) -> None:
    join = PartJoin()
    assert play(join, accepted(FIRST_NS), *of_first_scan()[:known], accepted(SECOND_NS), *of_first_scan()) == []
    (part,) = play(join, *of_second_scan())
    assert is_of_second_scan(part)


@pytest.mark.parametrize("before", range(4))
def test_what_is_said_of_the_second_scan_counts_also_where_it_comes_before_its_acceptance(before: int) -> None:
    join, words = PartJoin(), of_second_scan()
    (part,) = [*play(join, accepted(FIRST_NS), *words[:before]), *play(join, accepted(SECOND_NS)), *play(join, *words[before:])]
    assert is_of_second_scan(part)


def test_a_fault_of_the_first_scan_does_not_close_a_part_of_the_second() -> None:
    join = PartJoin()
    empty = Fault(result_id="a", code="BAD_CLOUD", reason="the cloud is empty", received_ns=FIRST_NS)
    assert play(join, accepted(SECOND_NS), empty) == []
    (part,) = play(join, *of_second_scan())
    assert part.code is None


def test_a_reminder_of_the_same_scan_keeps_what_was_said_of_it() -> None:
    join = PartJoin()
    first, *rest = of_first_scan()
    assert play(join, accepted(FIRST_NS), first, accepted(FIRST_NS)) == []
    (part,) = play(join, *rest)
    assert part.prepared is first


def test_an_acceptance_of_a_former_life_of_ingest_that_is_read_late_does_not_bring_its_scan_back() -> None:
    join, first = PartJoin(), accepted(FIRST_NS)
    second = msgspec.structs.replace(accepted(SECOND_NS), deadline_ns=first.deadline_ns + SECOND_NS - FIRST_NS)
    (part,) = play(join, second, *of_second_scan()[:2], first, *of_second_scan()[2:])
    assert is_of_second_scan(part)


def test_what_the_journal_does_not_tell_of_a_scan_makes_no_report_on_it_useless() -> None:
    (part,) = play(PartJoin(), accepted(0), *of_second_scan())
    assert is_of_second_scan(part)
