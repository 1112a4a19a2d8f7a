"""A terminal that is closed while a model is trained in it: an interruption, and not the loss of what was learned."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.retraining import FEW, NEW, Plant, record_of, work_of
from tests.station import NAME, PATIENCE_S
from trainer.branch_inputs import BRANCHES
from trainer.checkpoint import Checkpoint
from trainer.retrain_outcome import only_training

pytestmark = pytest.mark.timeout(180)
STEPS = 100_000


def hear_hangups() -> None:
    """Have the terminal on stdin as one's own, and hear when it is closed, also where whoever runs the tests does not."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def in_a_terminal(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `mdss` in a terminal of its own; yield the process and our side of the terminal, which the block closes."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mdss.cli", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm"},
        start_new_session=True,
        preexec_fn=hear_hangups,  # noqa: PLW1509 - two system calls
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()


def read_until_both_learn(terminal: int) -> None:
    """Read what is shown until each branch has done a step."""
    shown = ""
    while not all(re.search(rf"{branch} branch[^\r]* loss ", shown) for branch in ("colour", "shape")):
        shown += os.read(terminal, 1 << 16).decode(errors="replace")


def test_a_retraining_whose_terminal_is_closed_is_interrupted_and_both_branches_keep_what_they_learned(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    shares = "--validation-share", str(FEW.shares.validation), "--gate-share", str(FEW.shares.gate)
    steps = "--set", f"rgb.steps={STEPS}", "--set", f"sdf.steps={STEPS}"
    options = "--config", str(own.config), "--recipe", NAME, "--least-new", str(NEW), "--full-speed"
    with in_a_terminal("retrain", *options, *shares, *steps) as (process, terminal):
        read_until_both_learn(terminal)
        os.close(terminal)
        process.wait(PATIENCE_S)
    assert record_of(own).outcome == "interrupted"
    assert all(Checkpoint.read(work_of(own) / f"{branch}.checkpoint").losses for branch in BRANCHES)
    with only_training(own.store / NAME, NAME):
        pass
