"""What the join does when processes end: it asks again for exactly what was lost, and gives up a part that two ended with."""

from __future__ import annotations

import pytest

from mdss.wire.messages import Ended, Message, Resend
from mdss.wire.verdict import Branch
from tests import parts
from workers.part_join import GRACE_NS, SETTLED_NS, JoinedPart, PartJoin

DEADLINE_NS = 5 * 10**9
BOTH: tuple[Branch, ...] = ("rgb", "sdf")


class Line:
    """A join with a clock, fed by the stages' words."""

    def __init__(self) -> None:
        self.join, self.now_ns = PartJoin(), 1

    def say(self, *messages: Message) -> list[JoinedPart]:
        """Let stages speak; return the parts that this finishes."""
        return [part for part in (self.join.take(message, self.now_ns) for message in messages) if part is not None]

    def accept(self, *names: str) -> None:
        self.say(*(parts.accepted(name, DEADLINE_NS) for name in names))

    def end(self, process: str, part: str = "", deaths: int = 1) -> list[JoinedPart]:
        """Let a process end, perhaps with a part in hand, and wait until that has settled; return what this finishes."""
        how = (f"{process} ended with code -9",) * deaths if part else ()
        self.say(Ended(process=process, reason="ended with code -9", result_id=part, deaths=how))
        self.now_ns += SETTLED_NS
        return self.join.tick(self.now_ns)

    def give_up(self, process: str) -> list[JoinedPart]:
        """Let a process end that is not started again, and wait until that has settled."""
        self.say(Ended(process=process, reason="ended 5 times", is_last=True))
        self.now_ns += SETTLED_NS
        return self.join.tick(self.now_ns)

    def asked(self) -> list[tuple[str, tuple[Branch, ...]]]:
        """Return what was asked for since the last call."""
        return [(resend.result_id, resend.wanted) for resend in self.join.resends()]


def test_dies_with_a_part_in_hand_and_the_second_attempt_is_judged() -> None:
    line = Line()
    line.accept("a")
    line.say(parts.prepared("a"), parts.score("rgb", "a"))
    assert line.end("sdf-0", "a") == []
    assert line.join.resends() == [Resend(result_id="a", attempt=2, wanted=("sdf",))]
    (part,) = line.say(parts.score("sdf", "a"))
    assert (part.code, part.accepted.attempt) == (None, 2)


def test_dies_with_parts_in_its_queue_and_all_are_asked_for_again_and_again() -> None:
    line = Line()
    line.accept("a", "b", "c")
    line.say(*(parts.prepared(name) for name in "abc"))
    for part in "abc":
        assert line.end("rgb-0", part) == []
        assert line.asked() == [("a", ("rgb",)), ("b", ("rgb",)), ("c", ("rgb",))]
    assert {part.accepted.result_id for part in line.join.tick(DEADLINE_NS)} == {"a", "b", "c"}


def test_dies_second_with_the_same_part_and_it_is_poison() -> None:
    line = Line()
    line.accept("a", "b")
    line.say(parts.prepared("a"), parts.prepared("b"))
    (part,) = line.end("rgb-1", "a", deaths=2)
    assert (part.accepted.result_id, part.code) == ("a", "POISON")
    assert part.reason.startswith("2 processes ended while they had this part in hand: rgb-1 ended with code -9; ")
    assert line.asked() == [("b", ("rgb",))]


def test_dies_second_with_a_part_that_is_not_accepted_here_and_nothing_follows_before_it_is() -> None:
    line = Line()
    line.say(parts.prepared("a"))
    assert (line.end("rgb-0", "a", deaths=2), line.asked()) == ([], [])
    line.accept("a")
    assert [part.code for part in line.end("rgb-0", "a", deaths=3)] == ["POISON"]


def test_dies_with_a_part_that_has_its_verdict_and_nothing_follows() -> None:
    line = Line()
    assert (line.end("rgb-0", "judged long ago", deaths=2), line.asked()) == ([], [])


def test_its_last_words_arrive_after_its_end_and_nothing_is_asked_for() -> None:
    line = Line()
    line.accept("a")
    line.say(parts.prepared("a"), parts.score("rgb", "a"))
    line.say(Ended(process="sdf-0", reason="ended with code -9"))
    assert line.join.tick(line.now_ns) == []
    assert [part.code for part in line.say(parts.score("sdf", "a"))] == [None]
    line.now_ns += SETTLED_NS
    assert (line.join.tick(line.now_ns), line.asked()) == ([], [])


def test_prepare_dies_and_all_that_no_branch_has_scored_is_asked_for() -> None:
    line = Line()
    line.accept("unseen", "handed on", "half done")
    line.say(parts.prepared("handed on"), parts.prepared("half done"), parts.score("rgb", "half done"))
    line.end("prepare", "unseen")
    assert line.asked() == [("unseen", BOTH), ("handed on", BOTH), ("half done", ("sdf",))]


@pytest.mark.parametrize("process", ["fusion", "alerts", "ingest"])
def test_processes_at_which_no_part_waits_cost_nothing(process: str) -> None:
    line = Line()
    line.accept("a")
    line.say(parts.prepared("a"))
    assert (line.end(process), line.asked()) == ([], [])


def test_a_branch_dies_before_the_part_was_prepared_and_there_is_nothing_to_ask_for() -> None:
    line = Line()
    line.accept("a")
    line.end("rgb-0")
    assert line.asked() == []


def test_a_branch_dies_after_it_has_scored_the_part_and_there_is_nothing_to_ask_for() -> None:
    line = Line()
    line.accept("a")
    line.say(parts.prepared("a"), parts.score("rgb", "a"))
    line.end("rgb-0")
    assert line.asked() == []


def test_late_all_the_same_says_what_it_was_lost_with() -> None:
    line = Line()
    line.accept("a")
    line.say(parts.prepared("a"), parts.score("rgb", "a"))
    line.end("sdf-0", "a")
    (part,) = line.join.tick(DEADLINE_NS)
    assert (part.code, part.reason) == ("LATE", "no result from sdf before the deadline; sdf-0 ended with code -9")


def test_restart_between_asks_for_every_frame_and_judges_what_ingest_still_holds() -> None:
    line = Line()
    line.join.recover([parts.accepted("a", DEADLINE_NS)], line.now_ns)
    assert line.join.resends() == [Resend(result_id="a", attempt=2, wanted=BOTH)]
    line.say(parts.accepted("a", DEADLINE_NS, attempt=2), parts.prepared("a"), parts.score("rgb", "a"))
    (part,) = line.join.tick(DEADLINE_NS)
    assert part.code == "LATE", "it is known again, so its own deadline counts"


def test_restart_between_and_a_process_ends_before_the_frame_is_here_and_it_is_asked_for_once() -> None:
    line = Line()
    line.join.recover([parts.accepted("a", DEADLINE_NS)], line.now_ns)
    assert line.asked() == [("a", BOTH)]
    line.end("prepare")
    assert line.asked() == []


def test_restart_between_with_the_part_in_hand_twice_and_it_is_poison() -> None:
    line = Line()
    line.join.recover([parts.accepted("a", DEADLINE_NS)], line.now_ns)
    assert [part.code for part in line.end("fusion", "a", deaths=2)] == ["POISON"]


def test_restart_of_the_machine_and_the_old_deadline_says_nothing() -> None:
    line = Line()
    line.join.recover([parts.accepted("a", deadline_ns=10**18)], line.now_ns)
    assert [part.code for part in line.join.tick(line.now_ns + DEADLINE_NS + GRACE_NS)] == ["LOST"]


def test_restart_of_the_machine_and_the_frame_that_comes_again_has_a_deadline_of_its_own() -> None:
    line = Line()
    line.join.recover([parts.accepted("a", deadline_ns=10**18)], line.now_ns)
    line.accept("a")
    assert [part.code for part in line.join.tick(DEADLINE_NS)] == ["LATE"]


def test_never_started_again_and_what_waits_only_for_it_need_not_wait_for_its_deadline() -> None:
    line = Line()
    line.accept("a", "b")
    line.say(parts.prepared("a"), parts.score("rgb", "a"), parts.prepared("b"))
    (part,) = line.give_up("sdf-0")
    assert (part.accepted.result_id, part.code, set(part.scores)) == ("a", "WORKER_LOST", {"rgb"})
    assert part.reason == "no result from sdf: sdf-0 ended 5 times"
    assert line.say(parts.score("rgb", "b")) == []
    assert [part.code for part in line.join.tick(line.now_ns)] == ["WORKER_LOST"]


def test_what_is_not_judged_names_only_the_ends_of_the_stages_that_it_lacks() -> None:
    line = Line()
    line.accept("a")
    line.say(parts.prepared("a"), parts.score("rgb", "a"))
    assert line.give_up("collect") == []
    (part,) = line.give_up("sdf-0")
    assert part.reason == "no result from sdf: sdf-0 ended 5 times"


def test_what_is_not_judged_names_the_end_of_every_stage_that_it_lacks_and_only_once_it_is_accepted() -> None:
    line = Line()
    line.say(parts.prepared("a"))
    assert line.give_up("rgb-0") == line.give_up("sdf-0") == []
    line.accept("a")
    (part,) = line.join.tick(line.now_ns)
    assert (part.code, part.reason) == ("WORKER_LOST", "no result from rgb and sdf: rgb-0 ended 5 times; sdf-0 ended 5 times")


def test_never_started_again_is_prepare_and_no_later_part_waits() -> None:
    line = Line()
    assert line.give_up("prepare") == []
    line.accept("a")
    assert [part.code for part in line.join.tick(line.now_ns)] == ["WORKER_LOST"]
