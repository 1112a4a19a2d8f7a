"""Verbs that are stopped at a certain place: a process that stands still where its progress says it is, or Ctrl-C at certain lines."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

Process = subprocess.Popen[str]
HALTS = """
import os, signal, sys
import click
from mdss.cli import main
from trainer import progress

def echo(message, **options):
    global until
    say(message, **options)
    if until and str(message).startswith(until):
        until = ""
        os.kill(os.getpid(), signal.SIGSTOP)

until, say = sys.argv.pop(1), click.echo
click.echo, progress.LINE_EVERY_S = echo, 0
sys.exit(main())
"""


def run(words: Sequence[str], until: str = "", then: Callable[[Process], None] = lambda _: None) -> tuple[int, list[str]]:
    """Run a verb that tells of every step; where `until` is given, it stands still after the first line that begins so, until `then` ends.

    Return the exit code and all lines that it said.
    """
    command = [sys.executable, "-c", HALTS, until, *words]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # a training then learns one branch after the other
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=one_thread) as process:
        assert process.stderr is not None
        said = list[str]()
        for line in process.stderr:
            said.append(line.strip())
            if until and line.startswith(until):
                until = ""  # it halts once: what it says of the stage that is cut off begins so, too
                os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # the line comes a moment before
                then(process)
                process.send_signal(signal.SIGCONT)
    return process.returncode, said


def with_ctrl_c(action: Callable[[], Any], is_time: Callable[[CodeType], bool]) -> Any:
    """Do something, and press Ctrl-C at each line of the functions for which it is time, until it is heard; return what comes of it."""
    presses = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        if event == "line" and is_time(frame.f_code):
            next(presses)
            signal.raise_signal(signal.SIGINT)  # Python ends the tracing where this raises
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return action()
    finally:
        sys.settrace(before)
        assert next(presses) > 0
