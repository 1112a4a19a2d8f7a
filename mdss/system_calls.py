"""Calls of the system that Python has no name for; small, for every process that loads it does so before its first step."""

from __future__ import annotations

import ctypes
import os
import signal

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def end_with_parent(by: signal.Signals = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel to send this process a signal when its parent dies, however that comes to pass; two calls, fit for `preexec_fn`.

    A parent that is named and has died before that is none any more: the kernel would not tell.
    """
    LIBC.prctl(PR_SET_PDEATHSIG, by)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), by)
