"""Real processes: their threads are set, they hear no Ctrl-C, and they do not outlive their supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from daemon.process_table import ProcessSpec
from daemon.spawn import lock_folder, start_process
from mdss.errors import BadInput, MdssError
from mdss.wire.process import FAILED, HINDERED

pytestmark = pytest.mark.timeout(60)
ROOT = Path(__file__).resolve().parents[2]


def test_a_child_keeps_to_its_threads_and_is_in_a_group_of_its_own(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"import os; open({str(said)!r}, 'w').write(os.environ['OMP_NUM_THREADS'] + ' ' + str(os.getpgid(0) == os.getpid()))"
    child = start_process(ProcessSpec("test", ("-c", script), threads=3))
    assert isinstance(child, subprocess.Popen)
    assert child.wait(30) == 0
    assert said.read_text() == "3 True"


def test_a_child_has_its_row_s_threads_whatever_the_shell_says_and_no_way_to_speak_to_systemd_or_hear_of_a_reload_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, "1")
    said = tmp_path / "said"
    script = (
        "import os, signal\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "found = sorted(os.environ.keys() & {'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'})\n"
        f"open({str(said)!r}, 'w').write(f\"{{os.environ['OMP_NUM_THREADS']}} {{found}}\")"
    )
    child = start_process(ProcessSpec("test", ("-c", script), threads=3))
    assert isinstance(child, subprocess.Popen)
    assert child.wait(30) == 0
    assert said.read_text() == "3 []"


def test_a_child_may_keep_the_memory_that_it_needs_again_and_again(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = (
        "import resource\n"
        "from array import array\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def part(): return [array('b', [1]) * (30 << 20) for _ in range(3)]\n"
        "for _ in range(3): part()\n"
        "before = faults()\n"
        "for _ in range(5): part()\n"
        f"open({str(said)!r}, 'w').write(str(faults() - before))"
    )
    child = start_process(ProcessSpec("test", ("-c", script), threads=1, keeps_memory=True))
    assert isinstance(child, subprocess.Popen)
    assert child.wait(30) == 0
    pages = 5 * 3 * (30 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert int(said.read_text()) < pages / 10


@pytest.mark.parametrize(("is_damaged", "code"), [(False, HINDERED), (True, FAILED)])
def test_a_process_whose_journal_fails_says_by_its_code_whether_that_may_pass_also_where_its_log_has_no_room(
    tmp_path: Path, is_damaged: bool, code: int
) -> None:
    (config := tmp_path / "station.yaml").write_text("station: {state_directory: ., runtime_directory: run}\n")
    if is_damaged:
        (tmp_path / "journal.sqlite").write_bytes(b"no journal" * 1000)
    else:
        (tmp_path / "journal.sqlite").mkdir()
    for log in ("/dev/null", "/dev/full"):
        with Path(log).open("w") as stderr:
            command = [sys.executable, "-m", "daemon.alerts", "--config", str(config)]
            assert subprocess.run(command, stderr=stderr, check=False, timeout=30).returncode == code


def left_by_a_killed_supervisor(script: str) -> tuple[psutil.Process, list[psutil.Process], list[psutil.Process]]:
    """Run a supervisor that says its child's number, kill it, and return the child, and among which it is: gone or still alive."""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as supervisor:
        assert supervisor.stdout is not None
        child = psutil.Process(int(supervisor.stdout.readline()))
        os.kill(supervisor.pid, signal.SIGKILL)
        gone, alive = psutil.wait_procs([child], timeout=30)
        for left in alive:
            left.kill()
    return child, gone, alive


def test_a_child_dies_with_its_supervisor() -> None:
    script = (
        "import sys, time; from daemon.process_table import ProcessSpec; from daemon.spawn import start_process;"
        "child = start_process(ProcessSpec('test', ('-c', 'import time; time.sleep(600)'), 1));"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    child, gone, alive = left_by_a_killed_supervisor(script)
    assert alive == []
    assert gone == [child]


def test_a_child_whose_supervisor_dies_before_it_has_begun_dies_too() -> None:
    script = (
        "import os, time; import daemon.spawn as spawn; from daemon.process_table import ProcessSpec; ask = spawn.end_with_parent;"
        "spawn.end_with_parent = lambda **whose: (print(os.getpid(), flush=True), time.sleep(3), ask(**whose));"
        "spawn.start_process(ProcessSpec('test', ('-c', 'import time; time.sleep(600)'), 1))"
    )
    _, _, alive = left_by_a_killed_supervisor(script)
    assert alive == []


def test_two_stations_never_share_a_runtime_directory(tmp_path: Path) -> None:
    own = "station.runtime_directory", tmp_path / "run", "supervisor.lock"
    lock = lock_folder(*own)
    with pytest.raises(MdssError, match="another station runs here"):
        lock_folder(*own)
    os.close(lock)
    os.close(lock_folder(*own))


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "supervisor.lock").mkdir()
    with pytest.raises(BadInput, match=r"station\.runtime_directory: .*supervisor\.lock cannot be opened \(Is a directory\)"):
        lock_folder("station.runtime_directory", tmp_path, "supervisor.lock")


def test_a_child_that_does_not_listen_yet_is_not_ended_by_a_hang_up() -> None:
    script = "import signal, sys; signal.raise_signal(signal.SIGHUP); sys.exit(7)"
    child = start_process(ProcessSpec("test", ("-c", script), threads=1))
    assert isinstance(child, subprocess.Popen)
    assert child.wait(30) == 7
