"""The loop of every worker: what it sends, when it speaks, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from structlog.testing import capture_logs

from mdss.errors import MdssError
from mdss.wire.heartbeat import HeartbeatSender, StopFlag, Tally
from mdss.wire.messages import Fault, Heartbeat, Judged, Message
from tests.fakes import FakeClock, FakeLink
from workers import outgoing
from workers.loop import Loop


def judged(number: int) -> Judged:
    return Judged(result_id=f"r{number}", sequence=number)


class Echo:
    """A worker that answers each message with a fault and says goodbye with one."""

    def __init__(self, on_step: Callable[[], None] = lambda: None) -> None:
        self.on_step = on_step

    def step(self, message: Message) -> Iterable[Message]:
        self.on_step()
        return [Fault(result_id=message.result_id, code="LOST", reason="")]  # type: ignore[attr-defined]

    def tick(self) -> Iterable[Message]:
        return ()

    def drain(self) -> Iterable[Message]:
        return [Fault(result_id="goodbye", code="DRAINED", reason="")]


def run(worker: Echo, inbox: FakeLink, outlet: FakeLink, stop: StopFlag, health: FakeLink | None = None) -> None:
    Loop(worker, inbox, {Fault: outlet}, HeartbeatSender("echo", health or FakeLink(), FakeClock()), stop).run()


def stop_when_empty(inbox: FakeLink, stop: StopFlag) -> None:
    inbox.on_empty = lambda: setattr(stop, "asked", True)


def ids(link: FakeLink) -> list[str]:
    return [message.result_id for message in link.sent]  # type: ignore[attr-defined]


def test_every_message_is_answered_in_order() -> None:
    inbox, outlet, stop = FakeLink([judged(1), judged(2)]), FakeLink(), StopFlag()
    stop_when_empty(inbox, stop)
    run(Echo(), inbox, outlet, stop)
    assert ids(outlet) == ["r1", "r2", "goodbye"]


def test_what_waits_is_finished_after_the_signal() -> None:
    inbox, outlet, stop = FakeLink([judged(1), judged(2), judged(3)]), FakeLink(), StopFlag()
    stop.asked = True
    run(Echo(), inbox, outlet, stop)
    assert ids(outlet) == ["r1", "r2", "r3", "goodbye"]


def test_the_states_are_told_in_order() -> None:
    inbox, health, stop = FakeLink(), FakeLink(), StopFlag()
    stop_when_empty(inbox, stop)
    run(Echo(), inbox, FakeLink(), stop, health)
    assert [beat.state for beat in health.sent if isinstance(beat, Heartbeat)] == ["running", "draining", "stopped"]


def test_a_worker_that_breaks_says_why_and_ends() -> None:
    def break_down() -> None:
        raise RuntimeError("CUDA error")

    outlet, health = FakeLink(), FakeLink()
    with pytest.raises(RuntimeError):
        run(Echo(break_down), FakeLink([judged(1)]), outlet, StopFlag(), health)
    assert outlet.sent == []
    last = health.sent[-1]
    assert isinstance(last, Heartbeat)
    assert (last.state, last.reason) == ("stopped", "broke on a message: RuntimeError: CUDA error")


@pytest.mark.parametrize(("away_after_ns", "said"), [(0, ["running", "degraded", "running"]), (outgoing.AWAY_AFTER_NS, ["running"])])
def test_a_stage_that_takes_nothing_is_waited_for_and_one_that_is_away_said_aloud(
    away_after_ns: int, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "AWAY_AFTER_NS", away_after_ns)
    inbox, outlet, health, stop = FakeLink([judged(1)]), FakeLink(room=False), FakeLink(), StopFlag()

    def make_room_then_stop() -> None:
        stop.asked, outlet.room = outlet.room, True

    inbox.on_empty = outlet.on_empty = make_room_then_stop
    run(Echo(), inbox, outlet, stop, health)
    assert ids(outlet) == ["r1", "goodbye"]
    assert [beat.state for beat in health.sent if isinstance(beat, Heartbeat)] == [*said, "draining", "stopped"]


def test_heartbeats_come_once_a_second_with_what_was_counted() -> None:
    health, clock = FakeLink(), FakeClock()
    heartbeats = HeartbeatSender("rgb-0", health, clock)
    heartbeats.tally.count("mdss_frames_total")
    heartbeats.tally.observe("mdss_stage_duration_seconds", 0.25)
    for _ in range(25):
        heartbeats.send_if_due(3)
        clock.advance(0.1)
    beats = [beat for beat in health.sent if isinstance(beat, Heartbeat)]
    assert len(beats) == 3
    assert (beats[0].waiting, beats[0].counters) == (3, {"mdss_frames_total": 1.0})
    assert [beat.timings for beat in beats] == [{"mdss_stage_duration_seconds": [0.25]}, {}, {}]


def test_a_heartbeat_says_what_got_done_and_what_waits_unless_it_waits_for_a_next_stage() -> None:
    inbox, outlet, health, clock, stop = FakeLink([judged(1), judged(2), judged(3)]), FakeLink(), FakeLink(), FakeClock(), StopFlag()

    def take_two_seconds() -> None:
        clock.advance(2)
        outlet.room = inbox.waiting != 1  # the second result finds none

    outlet.on_empty = lambda: setattr(outlet, "room", True)
    stop_when_empty(inbox, stop)
    Loop(Echo(take_two_seconds), inbox, {Fault: outlet}, HeartbeatSender("echo", health, clock), stop).run()
    said = [(beat.state, beat.steps, beat.waiting) for beat in health.sent if isinstance(beat, Heartbeat)]
    assert said == [("running", 0, 0), ("running", 1, 2), ("running", 2, 0), ("running", 3, 0), ("draining", 3, 0), ("stopped", 3, 0)]


def test_what_is_due_by_time_alone_leaves_though_no_message_comes() -> None:
    class Ticking(Echo):
        """A worker with something due at every turn."""

        def tick(self) -> Iterable[Message]:
            return [Fault(result_id="due", code="LATE", reason="")]

    inbox, outlet, stop = FakeLink(), FakeLink(), StopFlag()
    stop_when_empty(inbox, stop)
    run(Ticking(), inbox, outlet, stop)
    assert ids(outlet) == ["due", "due", "goodbye"]


def test_a_worker_looks_up_twenty_times_a_second_and_sooner_while_results_wait_for_a_stage_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Timed(FakeLink):
        """Notes how long it was to wait for a message."""

        def receive(self, timeout_ms: int) -> Message | None:
            waits_ms.append(timeout_ms)
            return super().receive(timeout_ms)

    monkeypatch.setattr(outgoing, "AWAY_AFTER_NS", 0)
    waits_ms, inbox, outlet, stop = list[int](), Timed([judged(1)]), FakeLink(room=False), StopFlag()

    def make_room_then_stop() -> None:
        stop.asked, outlet.room = outlet.room, True

    inbox.on_empty = make_room_then_stop
    run(Echo(), inbox, outlet, stop)
    assert waits_ms == [50, 5, 50, 50]


@pytest.mark.parametrize("comes_back", [True, False])
def test_at_the_end_room_is_waited_for_with_the_last_results_and_not_for_ever(comes_back: bool) -> None:
    inbox, outlet, health, stop, polls = FakeLink([judged(1), judged(2)]), FakeLink(room=False), FakeLink(), StopFlag(), list[int]()

    def look() -> None:
        polls.append(len(polls))
        assert len(polls) < 10, "it waits for ever"
        outlet.room = comes_back

    outlet.on_empty, stop.asked = look, True
    run(Echo(), inbox, outlet, stop, health)
    assert ids(outlet) == (["r1", "r2", "goodbye"] if comes_back else [])
    assert [beat.state for beat in health.sent if isinstance(beat, Heartbeat)][-1] == "stopped"


def test_at_the_end_the_last_results_leave_one_by_one_where_there_is_room_for_no_more() -> None:
    class Narrow(FakeLink):
        """Takes one message each time that it is waited for."""

        def send(self, message: Message) -> bool:
            is_taken = super().send(message)
            self.room = False
            return is_taken

    inbox, outlet, stop = FakeLink([judged(1), judged(2), judged(3)]), Narrow(), StopFlag()
    outlet.on_empty, stop.asked = lambda: setattr(outlet, "room", True), True
    run(Echo(), inbox, outlet, stop)
    assert ids(outlet) == ["r1", "r2", "r3", "goodbye"]


def test_a_tally_adds_up() -> None:
    tally = Tally()
    tally.count("a")
    tally.count("a", 2)
    assert tally.counters == {"a": 3.0}


def test_something_may_come_between_two_messages_until_the_line_drains() -> None:
    inbox, outlet, stop = FakeLink([judged(1), judged(2), judged(3)]), FakeLink(), StopFlag()
    answered: list[int] = []

    def between() -> None:
        answered.append(len(outlet.sent))
        stop.asked = len(answered) == 2

    Loop(Echo(), inbox, {Fault: outlet}, HeartbeatSender("echo", FakeLink(), FakeClock()), stop).run(between)
    assert answered == [0, 1]
    assert ids(outlet) == ["r1", "r2", "r3", "goodbye"]


def test_a_message_that_is_refused_is_counted_and_keeps_none_that_waits_behind_it_from_its_answer_after_the_signal() -> None:
    class Spoilt(FakeLink):
        """Gives one message that is none before all others."""

        def receive(self, timeout_ms: int) -> Message | None:
            if len(self.to_come) == 3:
                del self.to_come[0]
                raise MdssError("message header: found version b'\\x02'")
            return super().receive(timeout_ms)

    inbox, outlet, heartbeats, stop = (
        Spoilt([judged(1), judged(2), judged(3)]),
        FakeLink(),
        HeartbeatSender("echo", FakeLink(), FakeClock()),
        StopFlag(),
    )
    stop.asked = True
    loop = Loop(Echo(), inbox, {Fault: outlet}, heartbeats, stop)
    assert heartbeats.tally.counters == {'mdss_messages_refused_total{process="echo"}': 0.0}
    with capture_logs() as logs:
        loop.run()
    assert [(each["event"], each["reason"]) for each in logs] == [("message refused", "message header: found version b'\\x02'")]
    assert ids(outlet) == ["r2", "r3", "goodbye"]
    assert heartbeats.tally.counters == {'mdss_messages_refused_total{process="echo"}': 1.0}
