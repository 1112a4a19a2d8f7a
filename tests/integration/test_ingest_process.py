"""The real process `ingest` over real zmq, a real camera before it and a test behind it that stands in for all other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pytest

from mdss.client import FrameSender
from mdss.wire import camera
from mdss.wire.camera import Credit, Hello, Nack, Ping, Pong
from mdss.wire.messages import Frame
from mdss.wire.process import HINDERED
from tests.front_door import header, payloads
from tests.ingest_process import Line, Stranger, until

pytestmark = pytest.mark.timeout(120)
RGB, XYZ = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 3), np.float32)


@pytest.fixture
def line() -> Iterator[Line]:
    with TemporaryDirectory() as folder, Line(Path(folder)) as made:
        yield made


@pytest.fixture
def sender(line: Line) -> Iterator[FrameSender]:
    with FrameSender(line.settings.camera.endpoint, "cam", send_timeout_s=30) as made:
        yield made


def send(sender: FrameSender, *parts: str) -> list[str]:
    return [sender.send(RGB, XYZ, part_id=part, recipe_id="gland") for part in parts]


def test_frames_go_through_to_done(line: Line, sender: FrameSender) -> None:
    line.open_prepare()
    frame_ids = send(sender, "a", "b", "c")
    for part_id in "abc":
        accepted = line.accepted(sender)
        assert accepted.identity.part_id == part_id
        assert line.prepare is not None
        frame = line.prepare.receive(10_000)
        assert isinstance(frame, Frame)
        assert frame.result_id == accepted.result_id
        assert (frame.rgb == RGB).all() and (frame.xyz[:] == XYZ).all()
        line.to_ingest.send(line.judge(accepted))
    assert sender.wait_until_done(30)
    assert list(sender.done) == frame_ids
    assert [done.sequence for done in sender.done.values()] == [1, 2, 3]
    counted = ("mdss_frames_accepted_total", "mdss_outstanding_parts")  # the last is 0 in what was said before the first frame, too
    line.hear(lambda beat: tuple(beat.counters.get(name) for name in counted) == (3, 0))


def test_a_killed_ingest_keeps_one_result_per_frame(line: Line, sender: FrameSender) -> None:
    send(sender, "a", "b")
    before = {accepted.identity.frame_id: accepted for accepted in (line.accepted(sender), line.accepted(sender))}
    line.kill()
    line.start()
    after = {accepted.identity.frame_id: accepted for accepted in (line.accepted(sender), line.accepted(sender))}
    assert {name: part.result_id for name, part in after.items()} == {name: part.result_id for name, part in before.items()}
    assert {part.attempt for part in after.values()} == {2}
    for accepted in after.values():
        line.to_ingest.send(line.judge(accepted))
    assert sender.wait_until_done(30)
    assert line.journal.last_sequence() == 2


def test_however_often_it_is_killed_every_frame_gets_one_verdict(line: Line, sender: FrameSender) -> None:
    results: dict[str, set[str]] = {}
    parts = [f"part-{number}" for number in range(12)]
    for number, part in enumerate(parts):
        sender.send(RGB, XYZ, part_id=part, recipe_id="gland")
        if number % 3 == 1:  # in the middle of whatever it is doing
            line.kill()
            line.start()
        while sender.outstanding > (2 if number < len(parts) - 1 else 0):
            accepted = line.accepted_or_none(sender)
            if accepted is not None:
                results.setdefault(accepted.identity.frame_id, set()).add(accepted.result_id)
                line.to_ingest.send(line.judge(accepted))
    assert [len(of_frame) for of_frame in results.values()] == [1] * len(parts)
    assert line.journal.last_sequence() == len(parts)
    assert sorted(verdict.part_id for verdict in line.journal.since(0, 100)) == sorted(parts)


def test_a_verdict_given_while_ingest_was_dead_is_answered_without_judging_again(line: Line, sender: FrameSender) -> None:
    (frame_id,) = send(sender, "a")
    accepted = line.accepted(sender)
    line.kill()
    judged = line.judge(accepted)
    line.start()
    assert sender.wait_until_done(30)
    assert (sender.done[frame_id].result_id, sender.done[frame_id].sequence) == (judged.result_id, judged.sequence)
    assert line.fusion.receive(0) is None


def test_a_verdict_whose_message_was_lost_with_fusion_is_found_in_the_journal(line: Line, sender: FrameSender) -> None:
    frame_id = sender.send(RGB, XYZ, part_id="a", recipe_id="gland", deadline_ms=1)
    line.judge(line.accepted(sender))
    until(sender, lambda: frame_id in sender.done)


def test_heartbeats_and_pongs_go_on_while_prepare_is_away(line: Line, sender: FrameSender) -> None:
    send(sender, "a", "b", "c")
    assert line.hear(lambda beat: beat.reason == "prepare takes nothing, 3 frames wait").state == "degraded"
    with Stranger(line) as other:
        assert isinstance(other.ask(camera.compose(Ping(source_id="other"))), Pong)
    line.open_prepare()
    line.hear(lambda beat: beat.state == "running")


def frame(frame_id: str, data: list[bytes]) -> list[bytes]:
    return [bytes(part) for part in camera.compose_frame(header(frame_id), data)]


def test_bad_input_is_refused_with_a_sentence_and_the_stream_goes_on(line: Line) -> None:
    wrong_schema = msgspec.json.encode(msgspec.to_builtins(header("x")) | {"colour": "red"})
    cases = [
        ([b"MDSS1", b"FRAME", wrong_schema, *payloads()], "SCHEMA"),
        (frame("f1", [payloads()[0], payloads()[1][:-1]]), "SHAPE_MISMATCH"),
    ]
    with Stranger(line) as stranger:
        assert isinstance(stranger.ask(frame("f0", payloads())), Nack)  # NOT_READY: it has not said HELLO
        assert isinstance(stranger.ask(camera.compose(Hello(source_id="cam"))), Credit)
        for frames, code in cases:
            nack = stranger.ask(frames)
            assert isinstance(nack, Nack) and nack.reason
            assert nack.code == code
        ack = stranger.ask(frame("empty", payloads(np.full((64, 64, 3), np.nan, np.float32))))
        assert isinstance(ack, camera.Ack)
    assert line.process.poll() is None


def test_sigterm_takes_the_credit_back_and_waits_for_the_last_verdict(line: Line, sender: FrameSender) -> None:
    send(sender, "a")
    accepted = line.accepted(sender)
    os.kill(line.process.pid, signal.SIGTERM)
    line.hear(lambda beat: beat.state == "draining")
    with Stranger(line) as other:
        answer = other.ask(camera.compose(Hello(source_id="other")))
    assert isinstance(answer, Credit) and answer.credit == 0
    line.to_ingest.send(line.judge(accepted))
    assert sender.wait_until_done(30)
    line.hear(lambda beat: beat.state == "stopped")
    assert line.process.wait(30) == 0


def test_a_journal_that_is_locked_refuses_for_now_and_goes_on_afterwards(line: Line, sender: FrameSender) -> None:
    with line.journal._file.transaction():
        sender.send(RGB, XYZ, part_id="a", recipe_id="gland")
        sender.attend()
        beat = line.hear(lambda beat: beat.state == "degraded")
        assert "locked" in beat.reason
        assert sender.acknowledged == {}
    line.open_prepare()  # which would be missed after some seconds
    until(sender, lambda: len(sender.acknowledged) == 1)
    line.hear(lambda beat: beat.state == "running")


@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [
        ("camera: {credit: 0}", 2, "station.yaml:1: camera.credit: found 0"),
        ("station: {state_directory: /proc/none}", HINDERED, "journal /proc/none"),
    ],
)
def test_what_it_cannot_start_with_is_said_in_one_sentence(tmp_path: Path, content: str, code: int, sentence: str) -> None:
    config = tmp_path / "station.yaml"
    config.write_text(content)
    result = subprocess.run(
        [sys.executable, "-m", "daemon.ingest", "--config", str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == code
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_ingest_starts_without_torch_and_without_images() -> None:
    script = "import sys, daemon.ingest; print({'torch', 'cv2', 'scipy', 'redis'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
