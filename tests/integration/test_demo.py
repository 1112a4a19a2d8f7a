"""`mdss demo`, the first thing anybody runs: from a synthetic line to a page of alerts, and what its exit code promises."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demo import run as demo
from demo.run import Outcome
from demo.station import camera_of, free_port
from mdss.cli import main
from mdss.errors import BadInput, MdssError
from mdss.method.presets import PRESETS
from mdss.settings import CameraSettings, Settings
from mdss.wire.verdict import Verdict
from tests.alerts import verdict
from tests.lines import write_tiny_line
from tests.station import small_recipe, write_teacher

pytestmark = pytest.mark.timeout(180)
SIZE = {"TRAIN": 6, "VALIDATION": 6, "GOOD_PARTS": 3, "DEFECTIVE_PARTS": 4}
PARTS = SIZE["GOOD_PARTS"] + SIZE["DEFECTIVE_PARTS"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the line be short and the model small, which rejects about half of all parts, as it has learned so little."""
    for name, count in SIZE.items():
        monkeypatch.setattr(demo, name, count)
    teacher = write_teacher(tmp_path / "teacher.safetensors")
    monkeypatch.setitem(PRESETS, "demo", small_recipe(teacher, "threshold.method=conformal", "threshold.false_reject_rate=0.49"))


def test_the_demo_judges_every_part_reads_its_alerts_back_and_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"^(?:OK|NotOK|NotDecidable|Undefined) +part-0", said, re.MULTILINE)) == PARTS
    alerts, rejected, pictures = map(int, re.findall(r"^(\d+) alerts for (\d+) parts that are not OK, (\d+) with", said, re.MULTILINE)[0])
    assert 0 < alerts == rejected == pictures
    assert f"{PARTS} verdicts for {PARTS} parts: " in said
    page = (out / "index.html").read_text()
    assert page.count("<h3>") == alerts
    assert "<!--" not in page
    clouds = [json.loads(found) for found in re.findall(r"data-cloud='([^']+)'", page)]
    assert len(clouds) == alerts
    assert all(cloud["xyz"] and len(cloud["grey"]) == len(cloud["score"]) for cloud in clouds)


def without_work(monkeypatch: pytest.MonkeyPatch, judged: dict[str, Verdict]) -> None:
    """Let every step be done already, and the station have judged these parts of three."""
    names = ["part-001", "part-002", "part-003"]
    scan = SimpleNamespace(rgb_path=Path("line/test/good/rgb/000.png"))
    steps: dict[str, Callable[..., object]] = {
        "make_line": lambda *_: None,
        "train_model": lambda *_: SimpleNamespace(recipe=PRESETS["demo"]),
        "mixed_parts": lambda *_: dict.fromkeys(names, scan),
        "run_line": lambda *_: Outcome(verdicts=judged),
    }
    for name, step in steps.items():
        monkeypatch.setattr(demo, name, step)


def test_a_demo_that_loses_a_part_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    without_work(monkeypatch, {name: verdict(name, part_id=name) for name in ("part-001", "part-003")})
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 1
    assert capsys.readouterr().err == "mdss: 3 parts were sent, 2 got a verdict\n"


def test_parts_without_a_score_are_shown_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: dict[str, Any] = {
        "score": None,
        "threshold": None,
        "regions": (),
        "evaluation": "Undefined",
        "reasons": ("<no part> in view",),
    }
    without_work(monkeypatch, {name: verdict(name, part_id=name, **nothing) for name in ("part-001", "part-002", "part-003")})
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    page = (tmp_path / "demo" / "index.html").read_text()
    assert page.count("&lt;no part&gt; in view") == 3
    assert "No part has a score." in page


def test_a_folder_of_another_origin_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "found files of another origin" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_the_demo_before_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_work(monkeypatch, {name: verdict(name, part_id=name) for name in ("part-001", "part-002", "part-003")})
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    (tmp_path / "demo" / "old.txt").touch()
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    assert not (tmp_path / "demo" / "old.txt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_asked_to_stop_says_so_and_the_next_one_takes_its_folder(number: int, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    asked = subprocess.Popen([sys.executable, "-m", "mdss.cli", "demo", "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not any(path.is_dir() for path in out.glob("*")):  # at work: Python may overhear a signal that comes as it loads modules
        assert asked.poll() is None
        time.sleep(0.01)
    asked.send_signal(number)
    _, said = asked.communicate()
    assert asked.returncode in (130, -signal.SIGINT)  # Python ends by the signal where it came within an exec(); a shell says 130 of both
    assert (said.decode().splitlines()[-1], b"Traceback" in said) == ("mdss: interrupted", False)
    with demo.empty_folder_locked(out):
        assert [path.name for path in out.iterdir()] == [demo.MARKER]


def test_two_demos_never_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    with demo.empty_folder_locked(out):
        (out / "line").mkdir()
        refused = pytest.raises(BadInput, match=f"^--out {out}: another demo is at work in it, expected a folder for each$")
        with refused, demo.empty_folder_locked(out):
            pass
        assert (out / "line").is_dir()


def test_the_camera_ends_with_the_demo_and_hears_no_ctrl_c_of_its_own(tmp_path: Path) -> None:
    write_tiny_line(tmp_path / "line")  # for which it finds no station
    nobody = ["--data", str(tmp_path / "line"), "--endpoint", f"ipc://{tmp_path}/nobody", "--recipe", "cap", "--seed", "1"]
    with demo.running_camera(*nobody) as camera:
        assert camera.poll() is None
        assert os.getpgid(camera.pid) != os.getpgid(0)
    assert camera.returncode == -signal.SIGKILL


def test_no_port_is_given_twice_and_each_can_be_opened() -> None:
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == len(ports)
    socket.create_server(("127.0.0.1", ports[0])).close()


def test_a_station_that_has_gone_is_given_up_by_the_camera_of_a_demo_or_a_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.station.CREDIT_WITHIN_S", 0.2)
    settings = Settings(camera=CameraSettings(endpoint=f"ipc://{tmp_path}/nobody.sock"))
    with camera_of(settings, "camera-1") as camera, pytest.raises(MdssError, match=r"no station answered within 0\.2 s"):
        camera.send(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 3), np.float32), part_id="a", recipe_id="r")
