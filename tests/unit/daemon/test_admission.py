"""Admission keeps what is under way within what can be judged in time, and lets all cameras have their turn."""

from __future__ import annotations

import itertools

import pytest

from daemon.admission import LEAST, MOST_BYTES, PATIENCE_S, Admission, Load
from mdss.journal import Entry
from mdss.wire.camera import Ack, Hello, Nack, compose_frame
from mdss.wire.messages import Judged
from mdss.wire.verdict import UndefinedCode
from tests.fakes import FakeClock
from tests.front_door import CAMERA, OTHER, Station, header


def at_pace(clock: FakeClock, pauses_s: list[float]) -> Admission:
    """Return an admission that has seen verdicts with these pauses while parts waited."""
    admission = Admission(clock)
    admission.note_verdict(1)
    for pause_s in pauses_s:
        clock.advance(pause_s)
        admission.note_verdict(1)
    return admission


def test_while_the_pace_is_unknown_a_few_are_tried() -> None:
    admission = at_pace(FakeClock(), [0.5, 0.5])
    assert admission.window(5.0, 4) == 4


def test_the_window_is_what_fits_into_most_of_the_deadline() -> None:
    assert at_pace(FakeClock(), [0.5] * 10).window(5.0, 4) == 8
    assert at_pace(FakeClock(), [0.5] * 10).window(60.0, 4) == 96


def test_verdicts_at_one_and_the_same_time_are_a_pace_too() -> None:
    assert at_pace(FakeClock(), [0.0] * 10).window(5.0, 4) > 4


def test_one_part_is_judged_and_one_waits_however_slow_the_station() -> None:
    assert at_pace(FakeClock(), [9.0] * 10).window(1.0, 4) == LEAST == 2


def test_a_worker_that_was_replaced_does_not_change_the_pace() -> None:
    assert at_pace(FakeClock(), [0.5] * 6 + [4.0, 0.5, 3.0] + [0.5] * 3).window(5.0, 4) == 8


def test_verdicts_that_come_in_bursts_are_no_faster_than_their_mean() -> None:
    assert at_pace(FakeClock(), [0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.73] * 2).window(1.0, 4) == 8


def test_pauses_in_which_nothing_waited_say_nothing_of_the_pace() -> None:
    clock = FakeClock()
    admission = at_pace(clock, [0.5] * 10)
    for _ in range(20):
        clock.advance(0.5)
        admission.note_verdict(0)
        clock.advance(60)
        admission.note_verdict(1)
    assert admission.window(5.0, 4) == 8


def test_a_line_on_which_no_part_comes_for_long_but_empty_frames_is_not_slow() -> None:
    station, sequences = Station.introduced(), itertools.count(1)
    station.say(Hello(source_id="other"), OTHER)
    station.send("part")
    station.send("empty")
    station.judge("part", next(sequences))
    for number in range(100):
        station.send(f"empty {number}")
        station.clock.advance(0.1)
        station.judge(f"empty {number - 1}" if number else "empty", next(sequences), "BAD_CLOUD")
    answers = [station.send("a"), station.send("b", OTHER, source_id="other"), station.send("c", OTHER, source_id="other")]
    assert all(isinstance(answer, Ack) for (answer,) in answers), answers


class Slowing:
    """A station whose one worker takes ever the part with the least time left, as frames of ten cameras that never rest wait for it."""

    def __init__(self) -> None:
        self.clock, self.held = FakeClock(), dict[int, float]()  # part -> its deadline
        self.admission, self.numbers = Admission(self.clock), itertools.count()
        self.at_work, self.done_s = -1, 0.0

    def scored(self, seconds: float, takes_s: float) -> tuple[int, int]:
        """Let time pass while each part takes so long; return how many parts were scored, and how many were late."""
        scored = late = 0
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            if self.at_work in self.held and self.clock() >= self.done_s:
                del self.held[self.at_work]
                self.admission.note_verdict(len(self.held))
                scored += 1
            for number in [number for number, deadline_s in self.held.items() if self.clock() >= deadline_s]:
                del self.held[number]
                self.admission.note_verdict(len(self.held), "LATE")
                late += 1
            if self.clock() >= self.done_s and self.held:
                self.at_work, self.done_s = min(self.held, key=lambda number: self.held[number]), self.clock() + takes_s
            while len(self.held) < 40 and not self.admission.refusal(
                "cam", Load(self.admission.window(5.0, 14), 1), Load(len(self.held), 0)
            ):
                self.held[next(self.numbers)] = self.clock() + 5.0
                self.admission.note_accepted()
        return scored, late


def test_a_station_that_takes_twenty_times_as_long_from_one_part_to_the_next_finds_its_pace_again() -> None:
    station = Slowing()
    assert station.scored(60, takes_s=0.1)[1] == 0
    assert station.scored(60, takes_s=2.0)[1] > 0
    scored, late = station.scored(60, takes_s=2.0)
    assert scored >= 25 and late == 0
    assert station.scored(60, takes_s=0.1)[0] > 500


@pytest.mark.parametrize("code", ["BAD_CLOUD", "LATE"])
def test_a_line_that_rests_after_a_part_that_was_not_scored_is_not_slow(code: UndefinedCode) -> None:
    station, sequences = Station.introduced(), itertools.count(1)
    station.say(Hello(source_id="other"), OTHER)
    for number in range(20):
        station.send(f"part {number}")
        station.send(f"empty {number}")
        station.clock.advance(0.1)
        station.judge(f"part {number}", next(sequences))
        station.judge(f"empty {number}", next(sequences), code)
        station.clock.advance(60)
    answers = [station.send("a"), station.send("b"), station.send("c", OTHER, source_id="other")]
    assert all(isinstance(answer, Ack) for (answer,) in answers), answers


def test_a_rest_after_a_late_part_makes_the_window_no_smaller() -> None:
    clock = FakeClock()
    admission = at_pace(clock, [0.5] * 10)
    admission.note_verdict(0, "LATE")
    clock.advance(60)
    assert admission.window(5.0, 4) == 8


def test_two_parts_that_come_one_after_the_other_end_a_rest_once() -> None:
    clock = FakeClock()
    admission = at_pace(clock, [0.5] * 10)
    for _ in range(5):
        admission.note_verdict(0, "LATE")
        clock.advance(60)
        for _ in range(2):
            admission.note_accepted()
            clock.advance(0.25)
        admission.note_verdict(1)
    assert admission.window(5.0, 4) == 8


def test_an_empty_part_among_others_is_no_rest() -> None:
    clock = FakeClock()
    admission = at_pace(clock, [])
    for _ in range(10):
        clock.advance(0.1)
        admission.note_verdict(1, "BAD_CLOUD")
        clock.advance(0.4)
        admission.note_accepted()
        admission.note_verdict(1)
    assert admission.window(5.0, 4) == 8


def test_a_station_that_is_late_stays_late_through_empty_parts_until_one_is_scored() -> None:
    clock = FakeClock()
    admission = at_pace(clock, [0.5] * 10)
    clock.advance(6)
    admission.note_verdict(1, "LATE")
    admission.note_verdict(1, "BAD_CLOUD")
    assert admission.window(5.0, 4) == LEAST
    admission.note_verdict(1)
    clock.advance(6)
    assert admission.window(5.0, 4) > LEAST


def rest_after_a_late_part(station: Station, number: int) -> None:
    """Let a station score one part and be late with the next, and then let nothing come for a minute."""
    sent = [f"part {number}", f"late {number}"]
    assert all(isinstance(answer, Ack) for name in sent for answer in station.send(name))
    station.clock.advance(0.1)
    station.judge(sent[0], 2 * number + 1)
    station.judge(sent[1], 2 * number + 2, "LATE")
    station.clock.advance(60)


def test_a_frame_that_is_refused_ends_no_rest_of_the_line() -> None:
    station = Station.introduced()
    station.say(Hello(source_id="other"), OTHER)
    rest_after_a_late_part(station, 0)
    (nack,) = station.answers(CAMERA, [bytes(part) for part in compose_frame(header("torn"), [b"", b""])])
    assert isinstance(nack, Nack) and nack.code == "SHAPE_MISMATCH"
    station.clock.advance(60)
    answers = [station.send("a"), station.send("b"), station.send("c", OTHER, source_id="other")]
    assert all(isinstance(answer, Ack) for (answer,) in answers), answers


def test_a_part_that_an_earlier_life_accepted_ends_a_rest_of_the_line() -> None:
    station = Station.introduced()
    station.say(Hello(source_id="other"), OTHER)
    for number in range(4):
        station.journal.entries["cam", f"old {number}"] = Entry(f"result {number}", None, 1)
        rest_after_a_late_part(station, number)
        station.send(f"old {number}")
        station.clock.advance(0.1)
        station.judge(f"old {number}", 100 + number)
    answers = [station.send("a"), station.send("b"), station.send("c", OTHER, source_id="other")]
    assert all(isinstance(answer, Ack) for (answer,) in answers), answers


@pytest.mark.parametrize("is_late", [True, False])
def test_a_part_that_one_branch_alone_saw_by_its_deadline_is_late_and_tells_nothing_of_the_pace(is_late: bool) -> None:
    station = Station.introduced()
    station.say(Hello(source_id="other"), OTHER)
    station.send("scored")
    station.send("half")
    station.judge("scored", 1)
    station.clock.advance(2.1)
    result_id = station.journal.entries["cam", "half"].result_id
    station.intake.note_verdicts([Judged(result_id=result_id, sequence=2, evaluation="NotDecidable", is_late=is_late)])
    answers = [station.send("a"), station.send("b"), station.send("c", OTHER, source_id="other")]
    assert [isinstance(answer, Ack) for (answer,) in answers] == [True, True, not is_late]


def refused(admission: Admission, source: str, room: int) -> str:
    """Ask for a frame where so many more parts would be in time."""
    return admission.refusal(source, Load(8, 1), Load(8 - room, 0))


def test_room_is_given_in_the_order_in_which_cameras_asked() -> None:
    admission = Admission(FakeClock())
    assert refused(admission, "slow", 0)
    assert refused(admission, "fast", 0).endswith("1 other cameras wait for their turn")
    assert refused(admission, "fast", 1), "the fast one came second"
    assert not refused(admission, "slow", 1)
    assert not refused(admission, "fast", 1)


def test_with_room_for_two_the_first_two_in_the_line_may_come_in_any_order() -> None:
    admission = Admission(FakeClock())
    for name in ("a", "b", "c"):
        assert refused(admission, name, 0)
    assert refused(admission, "c", 2)
    assert not refused(admission, "b", 2)
    assert not refused(admission, "a", 1)


def test_a_camera_that_does_not_ask_again_loses_its_place() -> None:
    clock = FakeClock()
    admission = Admission(clock)
    assert refused(admission, "gone", 0)
    clock.advance(PATIENCE_S + 0.1)
    assert not refused(admission, "here", 1)


def test_a_camera_that_asks_seldom_keeps_its_place() -> None:
    clock = FakeClock()
    admission = Admission(clock)
    assert refused(admission, "seldom", 0)
    for _ in range(3):
        clock.advance(3)
        assert refused(admission, "often", 1)
        assert refused(admission, "seldom", 0)
    assert not refused(admission, "seldom", 1)


def test_cameras_with_time_let_in_first_who_has_little() -> None:
    admission, under_way = Admission(FakeClock()), Load(20, 0)
    assert admission.refusal("hurried", Load(8, 1), under_way)
    assert admission.refusal("patient", Load(160, 1), under_way), "it would keep the hurried one out for ever"
    assert not admission.refusal("hurried", Load(8, 1), Load(7, 0))
    assert not admission.refusal("patient", Load(160, 1), under_way)


def test_small_frames_let_in_first_what_is_large() -> None:
    admission, under_way = Admission(FakeClock()), Load(1, MOST_BYTES - 10)
    assert admission.refusal("large", Load(8, 20), under_way)
    assert admission.refusal("small", Load(8, 5), under_way)
    assert not admission.refusal("large", Load(8, 20), Load(1, MOST_BYTES - 20))


@pytest.mark.parametrize("rounds", [200])
def test_ten_cameras_that_never_rest_get_the_same_share(rounds: int) -> None:
    clock = FakeClock()
    admission, share = Admission(clock), dict.fromkeys("abcdefghij", 0)
    names = list(share)
    for turn in range(rounds):
        clock.advance(0.1)
        free = 1
        for name in names[turn % 3 :] + names[: turn % 3]:  # the order in which they happen to ask favours some
            if not refused(admission, name, free):
                share[name], free = share[name] + 1, free - 1
    assert sum(share.values()) == rounds
    assert max(share.values()) - min(share.values()) <= 1
