"""How a retraining ends: its exit code, its record, and who may be at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import psutil
import pytest

from mdss.errors import MdssError
from mdss.retraining import RetrainRecord, read_record, write_record
from mdss.settings import Settings
from trainer.retrain_order import RetrainOrder
from trainer.retrain_outcome import EXIT_CODES, MEANINGS, AttemptRecord, End, RetrainEnded, only_training
from trainer.retrain_run import Run

HOUR_NS = 3600 * 10**9


class Clock:
    """Tells a time that goes on by an hour whenever it is asked."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += HOUR_NS
        return self.now_ns


def record(folder: Path) -> RetrainRecord:
    found = read_record(folder, "cap")
    assert found is not None
    return found


def test_an_attempt_that_made_no_plan_has_found_and_refused_nothing(tmp_path: Path) -> None:
    result = Run(RetrainOrder(Settings(), "cap"), AttemptRecord(tmp_path, "cap")).result("nothing_new", "why")
    assert (result.exit_code, result.sentence, result.version) == (EXIT_CODES["nothing_new"], "why", "")
    assert (result.parts_used, result.parts_new, result.parts_refused, result.refused) == (0, 0, {}, ())


def test_every_end_has_an_exit_code_of_its_own_that_is_explained() -> None:
    assert EXIT_CODES.keys() == set(get_args(End))
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
    assert {*EXIT_CODES.values(), 1, 2, 130} == MEANINGS.keys()


def test_while_it_runs_the_record_says_so_and_what_is_known(tmp_path: Path) -> None:
    attempt = AttemptRecord(tmp_path, "cap", Clock())
    with attempt:
        assert (record(tmp_path).outcome, record(tmp_path).started_ns, record(tmp_path).seconds) == ("running", HOUR_NS, 0)
        attempt.note(parts_used=12, parts_refused=3)
        assert (record(tmp_path).parts_used, record(tmp_path).parts_refused) == (12, 3)
    assert (record(tmp_path).outcome, record(tmp_path).seconds, record(tmp_path).parts_used) == ("candidate", 3600, 12)
    assert record(tmp_path).last_success_ns == 2 * HOUR_NS


@pytest.mark.parametrize(
    ("error", "outcome", "is_success"),
    [
        (RetrainEnded("nothing_new", "found 0"), "nothing_new", True),
        (RetrainEnded("refused_data", "found 0"), "refused_data", False),
        (RetrainEnded("held_back", "worse"), "held_back", False),
        (MdssError("no disk"), "failed", False),
        (OSError(28, "No space left on device"), "failed", False),
        (KeyboardInterrupt(), "interrupted", False),
    ],
)
def test_the_record_says_how_it_ended_and_keeps_the_last_success(
    tmp_path: Path, error: BaseException, outcome: str, is_success: bool
) -> None:
    write_record(tmp_path, RetrainRecord(recipe="cap", outcome="candidate", started_ns=1, ended_ns=2, last_success_ns=2))
    with pytest.raises(type(error)), AttemptRecord(tmp_path, "cap", Clock()):
        raise error
    assert record(tmp_path).outcome == outcome
    assert record(tmp_path).last_success_ns == (2 * HOUR_NS if is_success else 2)
    assert record(tmp_path).ended_ns == 2 * HOUR_NS


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RetrainEnded("held_back", "worse"), "worse"),
        (MdssError("no disk"), "no disk"),
        (NotImplementedError(), "NotImplementedError"),
        (KeyboardInterrupt(), "stopped; the next run goes on with it"),
    ],
)
def test_the_record_says_why_nothing_came_of_it(tmp_path: Path, error: BaseException, reason: str) -> None:
    with pytest.raises(type(error)), AttemptRecord(tmp_path, "cap"):
        raise error
    assert record(tmp_path).reason == reason


def test_a_second_ctrl_c_does_not_keep_the_end_of_an_attempt_from_being_written(tmp_path: Path) -> None:
    clock = Clock()

    def pressed_at_the_end() -> int:
        if clock.now_ns:
            signal.raise_signal(signal.SIGINT)
        return clock()

    attempt = AttemptRecord(tmp_path, "cap", pressed_at_the_end)
    with pytest.raises(KeyboardInterrupt), attempt:
        raise KeyboardInterrupt
    assert (record(tmp_path).outcome, record(tmp_path).ended_ns) == ("interrupted", 2 * HOUR_NS)


def test_the_success_of_an_attempt_that_ended_while_this_one_came_to_the_lock_is_kept(tmp_path: Path) -> None:
    waiting = AttemptRecord(tmp_path, "cap", Clock())
    with AttemptRecord(tmp_path, "cap", Clock()):
        pass
    with pytest.raises(MdssError), waiting:
        raise MdssError("no disk")
    assert (record(tmp_path).outcome, record(tmp_path).last_success_ns) == ("failed", 2 * HOUR_NS)


def test_a_record_that_was_damaged_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "cap.json").write_bytes(b"{")
    with AttemptRecord(tmp_path, "cap", Clock()):
        pass
    assert record(tmp_path).outcome == "candidate"


def test_the_second_is_told_who_is_at_it_and_since_when(tmp_path: Path) -> None:
    says = rf"cap is being trained already: .*held by process {os.getpid()} of .*, mdss retrain, since 20"
    with only_training(tmp_path / "cap", "cap"), pytest.raises(RetrainEnded, match=says) as refused, only_training(tmp_path / "cap", "cap"):
        pass
    assert refused.value.outcome == "busy"
    with only_training(tmp_path / "cap", "cap"):
        pass


def test_it_gives_way_with_every_thread_that_it_has() -> None:
    program = """
import os, threading
from pathlib import Path
import psutil
from trainer.low_priority import lower_priority
end = threading.Event()
thread = threading.Thread(target=end.wait); thread.start()
lower_priority()
for task in Path("/proc/self/task").iterdir():
    print(os.sched_getscheduler(int(task.name)) == os.SCHED_IDLE, os.getpriority(os.PRIO_PROCESS, int(task.name)))
print(psutil.Process().ionice().ioclass == psutil.IOPRIO_CLASS_IDLE, Path("/proc/self/oom_score_adj").read_text().strip())
end.set()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    *threads, rest = done.stdout.splitlines()
    assert len(threads) > 1 and set(threads) == {"True 19"}
    assert rest == "True 900"
    assert psutil.Process().nice() < 19  # the tests themselves do not
