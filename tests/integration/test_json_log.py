"""With `logs.format: json` whatever the station's processes say is JSON, down to the line that says why one ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daemon.spawn import lock_folder
from demo.station import free_port
from tests.pages import chapter

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "station.yaml"
    path.write_text(f"station: {{state_directory: state, runtime_directory: run}}\nhttp: {{port: {free_port()}}}\nlogs: {{format: json}}\n")
    return path


def said_by(*words: str, code: int) -> str:
    """Run Python with these words; return what it says on stderr when it ends with this exit code."""
    ended = subprocess.run([sys.executable, *words], stderr=subprocess.PIPE, text=True, check=False, timeout=30)
    assert ended.returncode == code, ended.stderr
    return ended.stderr


def events(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


def test_a_process_that_an_error_ends_says_why_in_json(config: Path) -> None:
    (config.parent / "state" / "journal.sqlite").mkdir(parents=True)
    last = events(said_by("-m", "daemon.alerts", "--config", str(config), code=3))[-1]
    assert (last["event"], last["process"], last["level"]) == ("ended by an error", "alerts", "error")
    assert last["reason"].startswith(f"journal {config.parent}/state/journal.sqlite: ")
    assert last["timestamp"].endswith("Z")


def test_a_station_that_cannot_start_says_why_in_json(config: Path) -> None:
    lock = lock_folder("station.state_directory", config.parent / "state", "station.lock")
    last = events(said_by("-m", "mdss.cli", "run", "--config", str(config), code=1))[-1]
    os.close(lock)
    assert (last["event"], last["process"], last["level"]) == ("ended by an error", "supervisor", "error")
    assert last["reason"].startswith("station.state_directory") and "another station runs here" in last["reason"]


def test_what_a_person_asked_is_answered_in_plain_words_and_so_is_a_file_of_which_nobody_knows_what_log_it_wants(config: Path) -> None:
    assert said_by("-m", "mdss.cli", "status", "--config", str(config), code=1).startswith("mdss: http://127.0.0.1:")
    config.write_text("logs: {format: json, level: loud}\n")
    assert said_by("-m", "mdss.cli", "run", "--config", str(config), code=2).startswith(f"mdss: {config}:1: logs.level: found ")
    assert said_by("-m", "daemon.alerts", "--config", str(config), code=2).startswith(f"alerts: {config}:1: logs.level: found ")


@pytest.mark.parametrize("thread", ["the main one", "another"])
def test_an_error_that_nobody_handled_is_one_line_of_json_with_its_traceback(config: Path, thread: str) -> None:
    broken = "broken()" if thread == "the main one" else "threading.Thread(target=broken).start()"
    script = (
        "import sys, threading\n"
        "from pathlib import Path\n"
        "from mdss.logs import configure_logs\n"
        "from mdss.settings import load_settings\n"
        "configure_logs(load_settings(Path(sys.argv[1])), 'fusion')\n"
        "def broken(): raise ValueError('as the test asked')\n"
    )
    (line,) = events(said_by("-c", script + broken, str(config), code=1 if thread == "the main one" else 0))
    assert (line["event"], line["process"], line["level"]) == ("ended by an error that nobody handled", "fusion", "critical")
    assert line["reason"] == "ValueError('as the test asked')"
    assert line["exception"].startswith("Traceback") and "in broken" in line["exception"]


def test_the_page_on_operations_names_what_is_in_every_line(config: Path) -> None:
    (config.parent / "state" / "journal.sqlite").mkdir(parents=True)
    every = re.findall(r"^\| `(\w+)` \| text, in every line", chapter("The log"), re.MULTILINE)
    said = events(said_by("-m", "daemon.alerts", "--config", str(config), code=3))
    assert said and all(set(every) <= set(line) and all(isinstance(line[name], str) for name in every) for line in said)
    assert set(said[-1]) == {*every, "reason"}
