"""The training beside a station: what is said when it ends by itself, and that it does not outlive the bench."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.bench_line import Product
from bench.chaos_faults import is_alive
from bench.retrain_beside import BackgroundTraining
from mdss.errors import MdssError
from tests.benches import idle_station
from tests.lines import write_tiny_line
from tests.station import wait_until


def training_in(folder: Path) -> BackgroundTraining:
    """Start the training of a tiny line; its station's settings are a pipe, at which the training waits until somebody writes."""
    write_tiny_line(folder / "line")
    station = idle_station(folder, Product(folder / "line", folder / "models", "flange"))
    settings = folder / "station.yaml"
    settings.unlink()
    os.mkfifo(settings)
    return BackgroundTraining(station, threads=1)


def test_a_training_that_refuses_to_start_is_said_and_not_missed_at_the_end(tmp_path: Path) -> None:
    training = training_in(tmp_path)
    (tmp_path / "station.yaml").write_text("no: settings\n")
    with pytest.raises(MdssError, match=r"the training ended with code 2 \(see .*retrain.log\)"):
        wait_until(lambda: training.is_learning)
    training.end()


def test_a_training_that_ends_while_it_is_measured_is_said(tmp_path: Path) -> None:
    training = training_in(tmp_path)

    def window() -> bool:
        training.note(training.processor_s(), 1.0)
        return False

    (tmp_path / "station.yaml").write_text("no: settings\n")
    with pytest.raises(MdssError, match="the training ended with code 2"):
        wait_until(window)


def test_a_process_that_got_the_id_of_a_training_that_has_ended_is_left_alone(tmp_path: Path) -> None:
    training = training_in(tmp_path)
    (tmp_path / "station.yaml").write_text("no: settings\n")
    with pytest.raises(MdssError, match="the training ended with code 2"):
        wait_until(lambda: training.is_learning)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        training._process.pid = other.pid
        training.end()
        other.communicate(b"\n")
    assert other.returncode == 0


def test_a_training_does_not_outlive_its_bench(tmp_path: Path) -> None:
    program = (
        "import sys, signal; from pathlib import Path; from tests.unit.bench.test_retrain_beside import training_in;"
        "training = training_in(Path(sys.argv[1])); print(flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as bench:
        assert bench.stdout is not None
        bench.stdout.readline()
        (training,) = psutil.Process(bench.pid).children()
        bench.terminate()
    wait_until(lambda: not is_alive(training))
