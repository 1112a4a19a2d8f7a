"""What a camera does with scans for which there is no credit, against a real ingest: nothing waits that must not, and no loss is silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from mdss.client import FrameSender, OverflowPolicy
from mdss.errors import BadInput
from mdss.wire.outstanding_frames import MOST_WAITING
from tests.fake_station import FakeStation
from tests.ingest_process import Line, until

pytestmark = pytest.mark.timeout(60)
RGB, XYZ = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 3), np.float32)
CREDIT = 3


@pytest.fixture
def line() -> Iterator[Line]:
    with TemporaryDirectory() as folder, Line(Path(folder)) as made:
        yield made


def camera_of(line: Line, policy: OverflowPolicy) -> FrameSender:
    return FrameSender(line.settings.camera.endpoint, "cam", overflow_policy=policy, send_timeout_s=30)


def send(camera: FrameSender, *numbers: int) -> list[str]:
    return [camera.send(RGB, XYZ, frame_id=f"f{number}", part_id=f"part-{number}", recipe_id="gland") for number in numbers]


def use_up_credit(line: Line, camera: FrameSender) -> None:
    """Send as many frames as there is credit for, and wait until all of them are accepted."""
    send(camera, *range(CREDIT))
    until(camera, lambda: len(camera.acknowledged) == CREDIT)


def judge_all(line: Line, camera: FrameSender) -> None:
    """Give every part its verdict until the camera waits for nothing."""
    while camera.outstanding:
        accepted = line.accepted_or_none(camera)
        if accepted is not None:
            line.to_ingest.send(line.judge(accepted))


@pytest.mark.parametrize(
    ("policy", "dropped"),
    [
        ("drop_oldest", range(CREDIT, 10 - MOST_WAITING)),
        ("drop_latest", range(CREDIT + MOST_WAITING, 10)),
    ],
)
def test_send_never_waits_and_what_was_dropped_is_named_and_nothing_else_is_lost(
    line: Line, policy: OverflowPolicy, dropped: range
) -> None:
    with camera_of(line, policy) as camera:
        use_up_credit(line, camera)
        sent = send(camera, *range(CREDIT, 10))  # nobody judges: a send that waited would wait for ever
        assert sent == [f"f{number}" for number in range(CREDIT, 10)]
        assert camera.dropped == {f"f{number}": f"part-{number}" for number in dropped}
        assert camera.outstanding == CREDIT + MOST_WAITING
        judge_all(line, camera)
        assert camera.dropped_count == len(dropped)
        kept = [f"f{number}" for number in range(10) if number not in dropped]
        assert list(camera.done) == list(camera.acknowledged) == kept
    assert [verdict.frame_id for verdict in line.journal.since(0, 100)] == kept


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_latest"])
def test_a_frame_that_was_sent_is_not_dropped_though_it_must_be_sent_again(line: Line, policy: OverflowPolicy) -> None:
    with camera_of(line, policy) as camera:
        use_up_credit(line, camera)
        line.kill()
        send(camera, *range(CREDIT, 10))
        line.start()
        boot = camera._boot_id
        until(camera, lambda: camera._boot_id != boot)  # it has noticed, and all it holds is to be sent again
        send(camera, *range(10, 20))
        judge_all(line, camera)
        assert {f"f{number}" for number in range(CREDIT)} <= camera.done.keys()
        assert not camera.dropped.keys() & camera.done.keys()
        assert len(camera.dropped) + len(camera.done) == 20
    assert {verdict.frame_id for verdict in line.journal.since(0, 100)} == camera.done.keys()


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_latest"])
def test_answers_that_nobody_has_read_yet_make_room_before_anything_is_dropped(tmp_path: Path, policy: OverflowPolicy) -> None:
    station = FakeStation(f"ipc://{tmp_path}/frames.sock", credit=MOST_WAITING)
    station.frame_takes_s = 0.2
    with station, FrameSender(station.endpoint, "cam", overflow_policy=policy) as camera:
        until(camera, lambda: bool(camera._window))
        send(camera, *range(2 * MOST_WAITING))  # half of them leave, half of them wait
        while len(station.frames) < MOST_WAITING or not camera._socket.poll(10):  # some of the answers have come
            time.sleep(0.01)
        send(camera, 2 * MOST_WAITING)
        assert camera.dropped == {}
        assert camera.wait_until_done(30)


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_latest"])
def test_with_room_nothing_is_dropped(line: Line, policy: OverflowPolicy) -> None:
    with camera_of(line, policy) as camera:
        for first in range(0, 12, MOST_WAITING):
            send(camera, *range(first, first + MOST_WAITING))
            judge_all(line, camera)
        assert (len(camera.done), camera.dropped_count, camera.dropped) == (12, 0, {})


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_latest"])
def test_a_frame_that_waits_already_takes_no_more_room_when_it_is_sent_again(tmp_path: Path, policy: OverflowPolicy) -> None:
    with FrameSender(f"ipc://{tmp_path}/nobody.sock", "cam", overflow_policy=policy) as camera:
        send(camera, *range(MOST_WAITING), MOST_WAITING - 1, 0)
        assert (camera.outstanding, camera.dropped_count, camera.dropped) == (MOST_WAITING, 0, {})


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_latest"])
def test_labels_that_cannot_be_sent_take_no_room(tmp_path: Path, policy: OverflowPolicy) -> None:
    with FrameSender(f"ipc://{tmp_path}/nobody.sock", "cam", overflow_policy=policy) as camera:
        for part_id in [*map(np.int64, range(MOST_WAITING)), "a misread barcode \udcff"]:
            with pytest.raises(BadInput):
                camera.send(RGB, XYZ, part_id=part_id, recipe_id="gland")  # type: ignore[arg-type]
        send(camera, *range(MOST_WAITING))
        assert (camera.outstanding, camera.dropped_count) == (MOST_WAITING, 0)


def test_a_station_that_is_away_costs_the_camera_no_time_and_no_more_than_its_room(tmp_path: Path) -> None:
    with FrameSender(f"ipc://{tmp_path}/nobody.sock", "cam", overflow_policy="drop_oldest") as camera:
        send(camera, *range(100))
        assert (camera.outstanding, camera.dropped_count) == (MOST_WAITING, 100 - MOST_WAITING)
        assert list(camera.dropped) == [f"f{number}" for number in range(100 - MOST_WAITING)]


def test_all_dropped_frames_are_counted_and_the_newest_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdss.client.MOST_REMEMBERED", 2)
    with FrameSender(f"ipc://{tmp_path}/nobody.sock", "cam", overflow_policy="drop_latest") as camera:
        send(camera, *range(10))
        assert (camera.dropped_count, camera.dropped) == (10 - MOST_WAITING, {"f8": "part-8", "f9": "part-9"})


def test_a_policy_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="overflow_policy: found 'drop', expected one of wait, drop_oldest, drop_latest"):
        FrameSender(f"ipc://{tmp_path}/f.sock", "cam", overflow_policy="drop")  # type: ignore[arg-type]
