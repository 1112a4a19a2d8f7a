"""A replay asks a station's snapshot port, over real ZeroMQ, for the verdicts on its scans."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from daemon.replay_verdicts import VerdictTally
from mdss.client import VerdictStream
from mdss.wire.camera import Done
from tests.verdict_station import Station, until_ctrl_c

pytestmark = pytest.mark.timeout(30)
BETWEEN_VERDICTS_S = 0.01


def streams_of(station: Station) -> Callable[[int], VerdictStream]:
    return lambda since: VerdictStream(station.endpoint, station.snapshots, since=since)


def done(*sequences: int) -> dict[str, Done]:
    return {f"f{number}": Done(frame_id=f"f{number}", result_id=f"r{number}", sequence=number) for number in sequences}


def test_what_ctrl_c_leaves_unasked_is_asked_for_at_the_end(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 5):
        station.judge(number, "OK" if number < 4 else "Undefined")
    tally = VerdictTally(streams_of(station))
    with monkeypatch.context() as patched:
        patched.setattr(VerdictStream, "receive", until_ctrl_c(2))
        with pytest.raises(KeyboardInterrupt):
            tally.ask(done(1, 2, 3, 4))
    assert tally.evaluations == {"OK": 2}
    tally.ask(done(1, 2, 3, 4))
    assert (tally.evaluations, tally.unknown, tally.is_good) == ({"OK": 3, "Undefined": 1}, 0, False)
    tally.ask(done(1, 2, 3, 4))
    assert tally.evaluations.total() == 4, "none is counted twice"


def test_a_verdict_of_a_journal_that_is_gone_is_not_waited_for_while_others_come(station: Station) -> None:
    station.judge(1)
    has_ended = threading.Event()

    def judge_others() -> None:
        while not has_ended.wait(BETWEEN_VERDICTS_S):
            station.judge(station.last_sequence() + 1)
            station.beat()

    others = threading.Thread(target=judge_others)
    others.start()
    try:
        tally = VerdictTally(streams_of(station))
        tally.ask(done(1, 10**9))
    finally:
        has_ended.set()
        others.join()
    assert (tally.evaluations, tally.unknown) == ({"OK": 1}, 1)
