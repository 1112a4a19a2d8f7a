"""Lets everything else on the machine go first, so that a station beside a training does not feel it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

NICEST = 19
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # environment: threads of a process that is started later
OWN_GROUP = Path("/proc/self/autogroup")  # if the kernel groups by session, priorities count within a group
FIRST_TO_GO = 900  # of 1000: which process is ended first when memory runs out


def lower_priority() -> None:
    """Put this process, with all its present threads, behind everything else: processor, disk and memory.

    What the kernel or a sandbox does not permit is skipped; in the service unit, systemd has set the same already.
    """
    for thread in Path("/proc/self/task").iterdir():
        number = int(thread.name)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, number, NICEST)
        with suppress(OSError):
            os.sched_setscheduler(number, os.SCHED_IDLE, os.sched_param(0))
    if os.getsid(0) == os.getpid():  # this process leads its session, so nobody else's group is changed
        with suppress(OSError):
            OWN_GROUP.write_text(str(NICEST), "ascii")
    with suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO), "ascii")


def use_threads(count: int) -> None:
    """Let torch compute in `count` threads, and cv2 in one: the other cores are the station's."""
    import cv2  # imported here, so that `--help` waits for neither
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(count)
