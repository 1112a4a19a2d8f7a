"""Calls of the system that Python has no name for; small, for every process that loads it does so before its first step."""

from __future__ import annotations

import ctypes
import signal

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent dies, however that comes to pass; one call, fit for `preexec_fn`."""
    LIBC.prctl(PR_SET_PDEATHSIG, by)
