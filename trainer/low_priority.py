"""Lets everything else on the machine go first: a station beside a training must not feel it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

NICEST = 19
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # how many threads a process that is started then uses
OWN_GROUP = Path("/proc/self/autogroup")  # where the kernel groups by session, what is below counts only within one
FIRST_TO_GO = 900  # of 1000: who is ended when memory runs out


def give_way() -> None:
    """Put this process, with all threads that it has by now, behind everything else: processor, disk and memory.

    What a kernel or a sandbox does not permit is left out: in the unit, systemd has set the same.
    """
    for thread in Path("/proc/self/task").iterdir():
        number = int(thread.name)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, number, NICEST)
        with suppress(OSError):
            os.sched_setscheduler(number, os.SCHED_IDLE, os.sched_param(0))
    if os.getsid(0) == os.getpid():  # nobody else is in this session, and so in this group
        with suppress(OSError):
            OWN_GROUP.write_text(str(NICEST), "ascii")
    with suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO), "ascii")


def use_threads(count: int) -> None:
    """Let torch compute in so many threads, and cv2 in one: the other cores are the station's."""
    import cv2  # here with torch, for `--help` must wait for neither
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(count)
