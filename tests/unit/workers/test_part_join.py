"""Fusion's join plays its named histories: each part is returned exactly once, whatever comes first, late or never."""

from __future__ import annotations

import pytest

from mdss.wire.messages import Accepted, BranchScore, Fault, Message, PreparedPart
from mdss.wire.verdict import Branch
from tests import parts
from workers import part_join
from workers.part_join import GRACE_NS, ORPHAN_NS, JoinedPart, PartJoin

SECOND_NS = 10**9
DEADLINE_NS = 5 * SECOND_NS


def accepted(name: str = "a", attempt: int = 1) -> Accepted:
    return parts.accepted(name, DEADLINE_NS, attempt)


def prepared() -> PreparedPart:
    return parts.prepared("a")


def score(branch: Branch, name: str = "a", value: float = 1.0) -> BranchScore:
    return parts.score(branch, name, value)


def play(join: PartJoin, *messages: Message, now_ns: int = 1) -> list[JoinedPart]:
    """Return the parts that came out of these messages."""
    return [part for part in (join.take(message, now_ns) for message in messages) if part is not None]


def test_rgb_first() -> None:
    joined = play(PartJoin(), accepted(), prepared(), score("rgb"), score("sdf"))
    assert [(part.code, set(part.scores)) for part in joined] == [(None, {"rgb", "sdf"})]


@pytest.mark.parametrize("last", range(4))
def test_whatever_comes_last_completes_the_part(last: int) -> None:
    messages = [accepted(), prepared(), score("rgb"), score("sdf")]
    messages.append(messages.pop(last))
    join = PartJoin()
    assert play(join, *messages[:3]) == []
    assert len(play(join, messages[3])) == 1
    assert len(join) == 0


def test_sdf_late() -> None:
    join = PartJoin()
    play(join, accepted(), prepared(), score("rgb"))
    assert join.tick(DEADLINE_NS - 1) == []
    (part,) = join.tick(DEADLINE_NS)
    assert (part.code, set(part.scores)) == ("LATE", {"rgb"})
    assert play(join, score("sdf"), now_ns=DEADLINE_NS + 1) == []
    assert (join.late_results, len(join)) == (1, 0)


def test_sdf_between_the_deadline_and_the_next_tick_is_late() -> None:
    join = PartJoin()
    play(join, accepted(), prepared(), score("rgb"))
    assert play(join, score("sdf"), accepted(), now_ns=DEADLINE_NS) == []
    assert join.late_results == 1, "an acceptance that comes again is no result"
    assert [part.code for part in join.tick(DEADLINE_NS + 1)] == ["LATE"]


def test_sdf_never() -> None:
    join = PartJoin()
    play(join, accepted(), prepared(), score("rgb"))
    assert [part.reason for part in join.tick(DEADLINE_NS)] == ["no result from sdf before the deadline"]
    assert join.tick(10 * DEADLINE_NS) == []


def test_duplicate() -> None:
    join = PartJoin()
    joined = play(join, accepted(), prepared(), score("rgb", value=1.0), score("rgb", value=9.0), score("sdf"), score("sdf"), accepted())
    assert [part.scores["rgb"].score for part in joined] == [1.0]
    assert join.late_results == 1, "the second word of sdf"
    assert join.tick(10 * DEADLINE_NS) == []


def test_restart_between_and_the_camera_sends_again() -> None:
    join = PartJoin()
    join.recover([accepted()], now_ns=0)
    joined = play(join, accepted(attempt=2), prepared(), score("rgb"), score("sdf"))
    assert [(part.code, part.accepted.attempt) for part in joined] == [(None, 2)]


@pytest.mark.parametrize("left_ns", [0, 3 * SECOND_NS])
def test_restart_between_and_nobody_sends_again(left_ns: int) -> None:
    join, due_ns = PartJoin(), DEADLINE_NS + GRACE_NS
    join.recover([accepted()], DEADLINE_NS - left_ns)
    assert join.tick(due_ns - 1) == []
    assert [part.code for part in join.tick(due_ns)] == ["LOST"]


def test_restart_between_and_ingest_reminds_that_the_part_is_due() -> None:
    join, now_ns = PartJoin(), 100 * SECOND_NS
    join.recover([accepted()], now_ns)
    assert play(join, accepted(), now_ns=now_ns) == []
    assert [part.code for part in join.tick(now_ns)] == ["LATE"]
    assert play(join, accepted(), now_ns=now_ns) == join.tick(now_ns) == []


def test_restart_between_and_the_results_were_on_their_way() -> None:
    join = PartJoin()
    join.recover([accepted()], now_ns=0)
    assert [part.code for part in play(join, prepared(), score("rgb"), score("sdf"))] == [None]


def test_an_ingest_that_starts_four_minutes_later_finds_its_parts_and_what_was_said_of_them() -> None:
    join, later_ns = PartJoin(), 240 * SECOND_NS
    join.recover([accepted()], now_ns=0)
    play(join, prepared(), score("rgb"), score("sdf", "b"), now_ns=0)
    assert join.tick(later_ns) == []
    known = [parts.accepted(name, later_ns + DEADLINE_NS, 2) for name in ("a", "b")]
    joined = play(join, *known, score("sdf"), parts.prepared("b"), score("rgb", "b"), now_ns=later_ns)
    assert [(part.accepted.result_id, part.code) for part in joined] == [("a", None), ("b", None)]


def test_a_fault_ends_the_wait_at_once() -> None:
    fault = Fault(result_id="a", code="BAD_CLOUD", reason="the cloud is empty")
    (part,) = play(PartJoin(), fault, accepted())
    assert (part.code, part.reason) == ("BAD_CLOUD", "the cloud is empty")
    (part,) = play(PartJoin(), accepted(), score("rgb"), fault)
    assert (part.code, set(part.scores)) == ("BAD_CLOUD", {"rgb"})


def test_a_stopping_station_drains_what_is_open() -> None:
    join = PartJoin()
    play(join, accepted("a"), accepted("b"), score("rgb", "b"), score("rgb", "not accepted here"))
    assert [(part.accepted.result_id, part.code) for part in join.drain()] == [("a", "DRAINED"), ("b", "DRAINED")]
    assert join.drain() == []


def test_results_of_unknown_parts_are_forgotten() -> None:
    join = PartJoin()
    play(join, score("rgb"), now_ns=0)
    assert len(join) == 0, "no part is open before it is accepted"
    join.tick(ORPHAN_NS + 1)
    assert play(join, accepted(), prepared(), score("sdf")) == []


def test_of_parts_that_are_over_only_the_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_join, "MOST_REMEMBERED", 2)
    join = PartJoin()
    for name in ("a", "b", "c"):
        play(join, *(parts.accepted(name, DEADLINE_NS, 1), parts.prepared(name), score("rgb", name), score("sdf", name)))
    play(join, score("rgb", "b"), score("rgb", "c"))
    assert join.late_results == 2
    play(join, score("rgb", "a"))
    assert join.late_results == 2, "it was remembered, too"
