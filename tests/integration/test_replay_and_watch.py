"""The verbs replay and watch against a front door and a publisher over real ZeroMQ."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from daemon import replay, replay_verdicts, watch
from mdss import client
from mdss.client import FrameSender, VerdictStream
from mdss.wire.camera import FrameMessage
from mdss.wire.verdict import BranchResult, Evaluation, Region, ThresholdReference, Times, Verdict
from tests.fake_station import FakeStation
from tests.verdict_station import Station as VerdictPort
from tests.verdict_station import until_ctrl_c
from tests.verdict_station import verdict as of

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = SimpleNamespace(
        camera=SimpleNamespace(endpoint=f"ipc://{tmp_path}/f.sock"),
        verdicts=SimpleNamespace(endpoint=f"ipc://{tmp_path}/v.sock", snapshot_endpoint=f"ipc://{tmp_path}/s.sock"),
        models=SimpleNamespace(recipes=("gland",)),
    )
    for module in (replay, watch):
        monkeypatch.setattr(module, "load_settings", lambda path: made)
    return made


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    for kind in ("good", "bent"):
        folder = tmp_path / "data" / "test" / kind
        (folder / "rgb").mkdir(parents=True)
        (folder / "xyz").mkdir()
        cv2.imwrite(str(folder / "rgb" / "000.png"), np.zeros((64, 64, 3), np.uint8))
        tifffile.imwrite(folder / "xyz" / "000.tiff", np.ones((64, 64, 3), np.float32), photometric="rgb")
    return tmp_path / "data"


@contextmanager
def judging(settings: Any, evaluations: Mapping[str, Evaluation] | None = None) -> Iterator[FakeStation]:
    """Run a station that judges parts as told, all others OK, and tells its verdicts to who asks."""
    outer = VerdictPort(Path(settings.verdicts.endpoint.removeprefix("ipc://")).parent)

    def record(frame: FrameMessage, sequence: int) -> None:
        said = (evaluations or {}).get(frame.header.part_id, "OK")
        judged = of(sequence, said)
        outer.journal.append(
            msgspec.structs.replace(
                judged, result_id=f"r-{frame.header.frame_id}", part_id=frame.header.part_id,
                code="LATE" if said == "Undefined" else None, reasons=("sdf did not answer",),
            )
        )  # fmt: skip

    with closing(outer), FakeStation(settings.camera.endpoint) as station:
        station.record = record
        yield station


def run_replay(recording: Path, *options: str) -> Result:
    return CliRunner().invoke(replay.command, [str(recording), "--config", "station.yaml", *options])


def test_a_dataset_is_replayed_and_summed_up(settings: Any, recording: Path) -> None:
    with judging(settings) as station:
        result = run_replay(recording, "--json", "--rate", "100")
    assert result.exit_code == 0, result.output
    assert {key: json.loads(result.stdout)[key] for key in ("sent", "done", "rejected", "unanswered")} == {
        "sent": 2,
        "done": 2,
        "rejected": [],
        "unanswered": 0,
    }
    assert station.part_ids == ["bent/000", "good/000"]
    header = station.frames[0].header
    assert (header.source_id, header.recipe_id, header.xyz.unit, header.xyz.invalid.kind) == ("replay", "gland", "m", "value")
    assert header.is_simulated  # no training learns from what was recorded


def test_recorded_parts_are_sent_as_those_of_the_line_where_that_is_asked_for(settings: Any, recording: Path) -> None:
    with judging(settings) as station:
        assert run_replay(recording, "--as-live").exit_code == 0
    assert not any(frame.header.is_simulated for frame in station.frames)


def test_it_takes_the_files_that_a_training_takes(settings: Any, recording: Path) -> None:
    good = recording / "test" / "good"
    (good / "xyz" / "000.tiff").rename(good / "xyz" / "000.TIFF")
    (good / "rgb" / "._000.png").write_bytes(b"of another program")
    with judging(settings) as station:
        assert run_replay(recording).exit_code == 0
    assert station.part_ids == ["bent/000", "good/000"]


def test_a_round_without_a_scan_that_can_be_sent_is_not_gone_for_ever(settings: Any, recording: Path) -> None:
    for image in recording.rglob("*.png"):
        image.write_bytes(b"nothing")
    with FakeStation(settings.camera.endpoint):
        result = run_replay(recording, "--loop")
    assert result.exit_code != 0 and "found no scan among 2 that can be read or sent" in str(result.exception)


def test_a_file_that_cannot_be_read_is_named_and_the_others_go_on(settings: Any, recording: Path) -> None:
    (recording / "test" / "bent" / "rgb" / "000.png").write_bytes(b"nothing")
    with judging(settings) as station:
        result = run_replay(recording)
    assert result.exit_code == 1
    assert "bent/rgb/000.png: cannot be read" in result.stderr
    assert "1 sent, 1 judged, 0 refused, 1 unreadable" in result.stdout
    assert station.part_ids == ["good/000"]


def test_the_name_of_a_scan_is_shown_in_letters_and_obeyed_by_no_terminal(settings: Any, recording: Path) -> None:
    for kind, name in (("good", "a\nb"), ("bent", "\u202e000")):  # no control character is taken, but a letter that turns a line round is
        for file in list((recording / "test" / kind).glob("*/000.*")):
            file.rename(file.with_name(f"{name}{file.suffix}"))
    with judging(settings, {"bent/\u202e000": "Undefined"}):
        lines = run_replay(recording).output.splitlines()
    assert any(line.startswith("replay: skipped: good/a\\nb: ") for line in lines), lines
    assert r"replay: bent/\u202e000 Undefined: LATE: sdf did not answer" in lines


def test_a_part_that_the_station_does_not_take_is_named_with_the_reason_of_that(
    settings: Any, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def until_the_other_is_judged(sender: FrameSender, timeout_s: float) -> bool:
        assert timeout_s == 40
        while not (sender.done and sender.put_off):
            sender.attend(0.01)
        return False  # as if the time were over now

    monkeypatch.setattr(FrameSender, "wait_until_done", until_the_other_is_judged)
    with judging(settings) as station:
        station.refusals["bent/000"] = ["NOT_READY"] * 1000
        result = run_replay(recording, "--timeout-s", "40")
    assert result.exit_code == 1
    assert "replay: bent/000 not taken yet: NOT_READY: as the test asked\n" in result.stdout
    assert "2 sent, 1 judged, 0 refused, 0 unreadable, 1 unanswered" in result.stdout


def test_a_replay_without_a_station_says_so_soon_and_in_the_end(settings: Any, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "SILENT_AFTER_S", 0.1)
    result = run_replay(recording, "--timeout-s", "0.5")
    assert result.stderr == f"replay: no station answers at {settings.camera.endpoint}; it is waited for\n"
    assert re.fullmatch(r"ipc://.*: no station answered within 0.5 s; frame \w+ cannot be sent", str(result.exception))


@pytest.mark.parametrize("is_there", [True, False])
def test_a_replay_that_is_interrupted_before_it_could_send_a_part_has_judged_none_and_ends_at_once(
    settings: Any, recording: Path, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend_until = FrameSender._attend_until
    ctrl_c = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))

    def first_attend(sender: FrameSender, *until: Any) -> bool:
        monkeypatch.setattr(FrameSender, "_attend_until", attend_until)
        ctrl_c.start()  # from here on it waits until then, for credit or for a station
        return attend_until(sender, *until)

    monkeypatch.setattr(FrameSender, "_attend_until", first_attend)
    with FakeStation(settings.camera.endpoint, credit=0) if is_there else nullcontext():
        summary = json.loads(run_replay(recording, "--json").stdout)
    assert [summary[name] for name in ("sent", "done", "unanswered", "parts_per_s")] == [0, 0, 0, 0.0]
    assert summary["seconds"] < 20  # of 60 for which it would wait for a verdict


def test_a_refused_part_is_named_with_its_reason(settings: Any, recording: Path) -> None:
    with judging(settings) as station:
        station.refusals["good/000"] = ["UNKNOWN_RECIPE"]
        result = run_replay(recording)
    assert result.exit_code == 1
    assert "good/000 refused: UNKNOWN_RECIPE: as the test asked" in result.stdout


@pytest.mark.parametrize(
    ("evaluations", "code", "line"),
    [
        ({"bent/000": "NotOK"}, 0, "1 OK, 1 NotOK"),
        ({"bent/000": "NotDecidable"}, 0, "1 OK, 1 NotDecidable"),
        ({"bent/000": "NotDecidable", "good/000": "NotDecidable"}, 1, "2 NotDecidable"),
        ({"bent/000": "Undefined"}, 1, "1 OK, 1 Undefined"),
    ],
)
def test_the_exit_code_says_whether_the_station_judged(
    settings: Any, recording: Path, evaluations: Mapping[str, Evaluation], code: int, line: str
) -> None:
    with judging(settings, evaluations):
        result = run_replay(recording)
    assert result.exit_code == code
    assert f"\nreplay: verdicts: {line}\n" in f"\n{result.stdout}"
    assert ("replay: bent/000 Undefined: LATE: sdf did not answer\n" in result.stdout) is ("Undefined" in line)


def test_verdicts_that_the_station_does_not_tell_are_not_taken_for_good(
    settings: Any, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_verdicts, "ANSWER_WITHIN_S", 0.1)
    with FakeStation(settings.camera.endpoint):
        result = run_replay(recording)
    assert result.exit_code == 1
    assert "replay: verdicts: 2 that the station does not tell\n" in result.stdout


def test_a_verdict_that_cannot_be_read_any_more_is_not_waited_for(settings: Any, recording: Path) -> None:
    with judging(settings) as station:
        record = station.record
        station.record = lambda frame, sequence: None if sequence == 1 else record(frame, sequence)
        result = run_replay(recording)
    assert result.exit_code == 1
    assert "replay: verdicts: 1 OK, 1 that the station does not tell\n" in result.stdout


def test_a_long_replay_asks_before_its_oldest_frames_are_forgotten(settings: Any, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MOST_REMEMBERED", 4)
    monkeypatch.setattr(replay, "ASK_EVERY", 2)
    for number in range(1, 10):
        for folder, suffix in (("rgb", "png"), ("xyz", "tiff")):
            first = recording / "test" / "good" / folder / f"000.{suffix}"
            first.with_stem(f"{number:03d}").write_bytes(first.read_bytes())
    with judging(settings, {"good/002": "Undefined"}):
        result = run_replay(recording)
    assert result.exit_code == 1
    assert "replay: verdicts: 10 OK, 1 Undefined\n" in result.stdout


def verdict() -> Verdict:
    region = Region(
        area_px=9, area_mm2=4.0, bbox_px=(1, 1, 3, 3), centroid_px=(2.0, 2.0), centroid_mm=(1.0, -2.5, 300.0), peak=8.0, branch="sdf"
    )
    return Verdict(
        result_id="r", boot_id="b", sequence=1, station="s", source_id="c", frame_sequence=1, frame_id="f", part_id="bent/000",
        job_id="none", recipe_id="gland", configuration_id="k", model=None, evaluation="NotOK", code=None, reasons=("above",),
        is_partial=False, is_simulated=True, score=7.5, threshold=ThresholdReference(value=3.0, method="quantile", calibrated_at="now"),
        branches={"sdf": BranchResult(score=2.0, model_version="v")}, regions=(region,), invalid_point_ratio=0.1, deadline_missed=False,
        attempt=1, times=Times(captured=0, received=0, rgb=1, sdf=1, fusion=2, published=120_000_000), evidence=None,
    )  # fmt: skip


@pytest.fixture
def snapshots(settings: Any, tmp_path: Path) -> Iterator[None]:
    """Tell who asks of the one verdict there is."""
    with closing(VerdictPort(tmp_path)) as outer:
        outer.journal.append(verdict())
        yield


@pytest.mark.usefixtures("snapshots")
def test_watch_prints_a_line_per_verdict_and_ends_after_count() -> None:
    result = CliRunner().invoke(watch.watch, ["--config", "station.yaml", "--since", "0", "--count", "1"])
    assert result.exit_code == 0, result.output
    for word in ("NotOK", "bent/000", "score 7.5 / 3", "sdf at 1.0, -2.5, 300.0 mm", "120 ms", "above"):
        assert word in result.stdout


@pytest.mark.usefixtures("snapshots")
def test_watch_from_a_sequence_that_the_station_does_not_have_shows_all_and_says_so() -> None:
    result = CliRunner().invoke(watch.watch, ["--config", "station.yaml", "--since", "1000", "--count", "1", "--json"])
    assert msgspec.json.decode(result.stdout, type=Verdict) == verdict()
    expected = "all of its verdicts follow"
    assert result.stderr == f"watch: the station's journal is a new one, or ends before the sequence that was known; {expected}\n"


@pytest.mark.usefixtures("settings")
def test_watch_says_that_no_station_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENT_AFTER_S", 0.1)
    monkeypatch.setattr(VerdictStream, "receive", until_ctrl_c(3))
    result = CliRunner().invoke(watch.watch, ["--config", "station.yaml"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "watch: no heartbeat for 0.1 s; expected one each second from a station that runs\n"


@pytest.mark.usefixtures("snapshots")
def test_watch_prints_json_that_a_program_reads_back() -> None:
    result = CliRunner().invoke(watch.watch, ["--config", "station.yaml", "--since", "0", "--count", "1", "--json"])
    assert msgspec.json.decode(result.stdout, type=Verdict) == verdict()
